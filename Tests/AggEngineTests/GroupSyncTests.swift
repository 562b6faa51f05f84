import AggCore
import AggEngine
import Synchronization
import Testing

@Suite struct GroupSyncTests {
  /// Counts syncs; each takes until `open` says so, and may fail.
  private final class SlowStore: ChunkStore {
    struct State {
      var syncs = 0
      var appended = 0
      var synced = 0
      var generation = 0
      var fails = 0
    }
    let state = Mutex(State())
    let gate = Mutex(true)
    var isPersistent: Bool { true }
    var needsSync: Bool { true }
    func append() -> Int {
      state.withLock {
        $0.appended += 1
        return $0.generation
      }
    }
    func sync() throws(StoreError) {
      let (appended, fails) = state.withLock { s in
        s.syncs += 1
        s.fails -= 1
        return (s.appended, s.fails >= 0)
      }
      while gate.withLock({ !$0 }) {}
      if fails { throw StoreError("no disk") }
      state.withLock { $0.synced = appended }
    }
    func revert() { state.withLock { $0.generation += 1 } }
    var generation: Int { state.withLock { $0.generation } }
    func append(_ batches: [EventBatch], to chunk: ChunkID, _ metadata: ChunkMetadata, id: BatchID) throws(StoreError) {}
    func void(_ id: BatchID, in chunk: ChunkID) throws(StoreError) {}
    func seal(_ chunk: ChunkID, records: Int) throws(StoreError) {}
    func read(_ chunk: ChunkID) throws(StoreError) -> StoredChunk { StoredChunk(metadata: nil, batches: []) }
    func remove(_ chunk: ChunkID) {}
    func setAside(_ chunk: ChunkID) {}
    func close() {}
  }

  @Test func `appends that wait while a sync runs share the next one`() async throws {
    let pool = BlockingPool()
    let store = SlowStore()
    let syncs = GroupSync(store, Lane(pool), pool)
    store.gate.withLock { $0 = false }
    try await withThrowingTaskGroup(of: Void.self) { group in
      let first = store.append()
      group.addTask { try await syncs.wait(for: first) }
      while store.state.withLock({ $0.syncs }) == 0 { await Task.yield() }
      for _ in 0..<50 {
        let generation = store.append()
        group.addTask { try await syncs.wait(for: generation) }
      }
      // All of them wait by the time that the first sync ends, or come into a third.
      try await Task.sleep(for: .milliseconds(100))
      store.gate.withLock { $0 = true }
      try await group.waitForAll()
    }
    #expect(store.state.withLock { $0.syncs } <= 3)
    #expect(store.state.withLock { $0.synced } == 51)
  }

  @Test func `what was appended before a failed sync is refused, even if it waits for the next one`() async throws {
    let pool = BlockingPool()
    let store = SlowStore()
    let syncs = GroupSync(store, Lane(pool), pool)
    store.state.withLock { $0.fails = 1 }
    let first = store.append()
    let late = store.append()
    await #expect(throws: StoreError.self) { try await syncs.wait(for: first) }
    await #expect(throws: StoreError.self) { try await syncs.wait(for: late) }
    try await syncs.wait(for: store.append())
    #expect(store.state.withLock { $0.generation } == 1)
  }
}
