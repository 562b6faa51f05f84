package import AggCore
import Synchronization

/// Syncs one store for many batches at once: those that come while a sync runs share the next one.
package final class GroupSync: Sendable {
  private struct State {
    var isRunning = false
    var waiting: [(generation: Int, continuation: CheckedContinuation<Void, any Error>)] = []
  }
  private let state = Mutex(State())
  private let store: any ChunkStore
  private let lane: Lane
  private let pool: BlockingPool

  package init(_ store: any ChunkStore, _ lane: Lane, _ pool: BlockingPool) {
    self.store = store
    self.lane = lane
    self.pool = pool
  }

  /// Returns when what was appended in `generation`, before this call, survives power loss. At once where the store does not promise it.
  package func wait(for generation: Int) async throws {
    guard store.needsSync else { return }
    try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
      let starts = state.withLock { s in
        s.waiting.append((generation, continuation))
        defer { s.isRunning = true }
        return !s.isRunning
      }
      if starts { Task(executorPreference: pool) { await self.rounds() } }
    }
  }

  private func rounds() async {
    while true {
      let waiting = state.withLock { s in
        defer { s.waiting = [] }
        if s.waiting.isEmpty { s.isRunning = false }
        return s.waiting
      }
      if waiting.isEmpty { return }
      var failure: (any Error)?
      do { try store.sync() } catch {
        failure = error
        // Between appends, so that none is cut off that nobody knows of.
        try? await lane.run { [store] in store.revert() }
      }
      let generation = store.generation
      for (theirs, continuation) in waiting {
        if let failure { continuation.resume(throwing: failure) } else if theirs == generation { continuation.resume() } else {
          continuation.resume(throwing: StoreError("an earlier sync failed, and took what was appended with it"))
        }
      }
    }
  }
}
