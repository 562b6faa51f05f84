import Synchronization

/// Runs closures one after the other, in order, on the blocking pool; at most one thread at a time.
///
/// A caller that is on a pool thread and finds the lane free runs its closure in place: no hop on the hot path.
public final class Lane: Sendable {
  private struct State {
    var busy = false
    var waiting: [@Sendable () -> Void] = []
  }
  private let state = Mutex(State())
  private let pool: BlockingPool

  public init(_ pool: BlockingPool) { self.pool = pool }

  /// Runs `body` after everything that was given before, and returns its result.
  public func run<R: Sendable>(_ body: @escaping @Sendable () throws -> R) async throws -> R {
    if BlockingPool.isCurrent, enter() {
      defer { leave() }
      return try body()
    }
    return try await withCheckedThrowingContinuation { continuation in
      add { continuation.resume(with: Result { try body() }) }
    }
  }

  private func enter() -> Bool {
    state.withLock { s in
      guard !s.busy, s.waiting.isEmpty else { return false }
      s.busy = true
      return true
    }
  }

  private func add(_ body: @escaping @Sendable () -> Void) {
    let start = state.withLock { s in
      s.waiting.append(body)
      if s.busy { return false }
      s.busy = true
      return true
    }
    if start { pool.run { self.drain() } }
  }

  private func leave() {
    let more = state.withLock { s in
      if s.waiting.isEmpty { s.busy = false }
      return s.busy
    }
    if more { pool.run { self.drain() } }
  }

  private func drain() {
    while true {
      let work = state.withLock { s in
        let work = s.waiting
        s.waiting = []
        if work.isEmpty { s.busy = false }
        return work
      }
      if work.isEmpty { return }
      for body in work { body() }
    }
  }
}
