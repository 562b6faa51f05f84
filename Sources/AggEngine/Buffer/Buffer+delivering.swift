public import AggCore

/// The side of the flush tasks: chunks are taken, viewed, and leave in one of several ways.
extension Buffer {
  /// The next chunk to deliver, sealed and read; waits for one. Nil when the buffer is closed and nothing is due any more.
  func next() async -> BufferPlan.Chunk? {
    while true {
      let take = plan.withLock { $0.take(BufferPlan.Clock()) }
      switch take {
      case .chunk(let chunk):
        if chunk.records == 0 {
          discardEmpty(chunk)
          continue
        }
        if plan.withLock({ $0.hasMore }), config.flushThreadCount > 1 { flushers.wakeOne() }
        return chunk
      case .wait(let until):
        if closing.withLock({ $0 }) {
          flushers.wakeOne()  // the next flush task has to see it too
          return nil
        }
        await flushers.wait(until: until)
        if Task.isCancelled { return nil }
      }
    }
  }

  private func discardEmpty(_ chunk: BufferPlan.Chunk) { remove(chunk) }

  private func remove(_ chunk: BufferPlan.Chunk) {
    if foreign?.remove(chunk.id) != true { store.remove(chunk.id) }
    plan.withLock { $0.removed(chunk.id) }
    Faults.add(.staged, -chunk.records)
  }

  /// The chunk, sealed and read. What is damaged of it is dropped and counted here, so that `chunk.records` is what there is.
  func view(_ chunk: inout BufferPlan.Chunk) throws(StoreError) -> ChunkView {
    let view: ChunkView
    if let taken = try foreign?.view(chunk.id, timekeySeconds: divider.keys.timekey) { view = taken } else {
      try store.seal(chunk.id, records: chunk.records)
      let stored: StoredChunk
      do throws(StoreError) { stored = try store.read(chunk.id) } catch {
        guard error.isMissing else { throw error }
        log.error("\(error): somebody removed it; \(chunk.records) events are lost")
        stored = StoredChunk(metadata: nil, batches: [])
      }
      chunk.metadata = stored.metadata ?? chunk.metadata
      view = ChunkView(id: chunk.id, metadata: chunk.metadata, batches: stored.batches, timekeySeconds: divider.keys.timekey)
    }
    let (known, count, id) = (chunk.records, view.count, chunk.id)
    if count != known {
      plan.withLock { $0.counted(id, records: count) }
      if count < known { counters.drop(known - count, "chunk_damaged", from: .buffered) } else { counters.add(.recovered, .buffered, count - known) }
      Faults.add(.staged, count - known)
      chunk.records = count
    }
    return view
  }

  func delivered(_ chunk: BufferPlan.Chunk, count: Int) {
    rate.withLock { $0.delivered(chunk.bytes, at: .now()) }
    remove(chunk)
    counters.move(.buffered, to: .delivered, count)
    measure(chunk, delivered: count)
    producers.wakeAll()
  }
  /// Delivered but for `refused` events, which the caller has counted.
  func deliveredPartly(_ chunk: BufferPlan.Chunk, refused: Int, count: Int) {
    remove(chunk)
    counters.move(.buffered, to: .delivered, max(0, count - refused))
    measure(chunk, delivered: count - refused)
    producers.wakeAll()
  }
  /// Delivered but for `letters` events, which are in the dead letter store.
  func deadLettered(_ chunk: BufferPlan.Chunk, letters: Int, count: Int) {
    remove(chunk)
    counters.deadLettered(letters, delivered: count - letters)
    measure(chunk, delivered: count - letters)
    producers.wakeAll()
  }
  private func measure(_ chunk: BufferPlan.Chunk, delivered n: Int) { counters.add(.delivery, chunk.arrivals.ages(of: n, now: .now())) }
  func drop(_ chunk: BufferPlan.Chunk, reason: String) {
    remove(chunk)
    counters.drop(chunk.records, reason, from: .buffered)
    producers.wakeAll()
  }
  /// Kept under another name for a person to look at.
  func setAside(_ chunk: BufferPlan.Chunk, reason: String) {
    if foreign?.setAside(chunk.id) != true { store.setAside(chunk.id) }
    plan.withLock { $0.removed(chunk.id) }
    counters.drop(chunk.records, reason, from: .buffered)
    producers.wakeAll()
  }
  func failed(_ chunk: BufferPlan.Chunk) { plan.withLock { $0.failed(chunk.id) } }
  /// A chunk that was held back comes again.
  func requeue(_ chunk: BufferPlan.Chunk) {
    failed(chunk)
    flushers.wakeOne()
  }

  /// Everything staged is due now (USR1, shutdown).
  public func flush() {
    plan.withLock { $0.closeAll() }
    flushers.wakeAll()
  }
  /// `next` returns nil once nothing is due.
  func stopWhenIdle() {
    closing.withLock { $0 = true }
    flushers.wakeAll()
  }

  /// The deadline has passed and this is memory: what it holds is gone, and counted.
  func countLostAtShutdown() {
    let left = plan.withLock { $0.records }
    if left == 0 { return }
    counters.drop(left, "shutdown_lost", from: .buffered)
    log.error("\(left) events in memory were not delivered before the stop and are lost; a file buffer would keep them")
  }

  public struct Status: Sendable {
    public var stagedBytes: Int
    public var queuedBytes: Int
    /// Those that are being delivered, or wait to be tried again, included.
    public var queuedChunks: Int
    public var stagedChunks: Int
    public var records: Int
    public var limit: Int
    public var oldest: MonotonicTime?
    /// Ascending.
    public var timekeys: [Int64]
  }
  public var status: Status {
    plan.withLock {
      Status(
        stagedBytes: $0.stagedBytes, queuedBytes: $0.queuedBytes, queuedChunks: $0.chunkCount - $0.stagedCount, stagedChunks: $0.stagedCount, records: $0.records,
        limit: $0.limits.totalBytes, oldest: $0.oldest, timekeys: $0.timekeys)
    }
  }
  /// Returns when the lane has done all that was given to it.
  func answers() async { _ = try? await lane.run {} }
  public func close() { store.close() }
}
