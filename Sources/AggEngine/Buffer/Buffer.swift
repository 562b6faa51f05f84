public import AggCore
import Synchronization

/// The staged and queued chunks of one output.
///
/// Appending: `reserve` at all outputs of a batch, then `append`, then `finish` once the batch is committed (or not).
/// Delivering: flush tasks call `next` and then `delivered` or `failed`. Shared by both sides; the plan is in a mutex,
/// file I/O is on the buffer's lane (appends) or the flush task's own thread (reads).
public final class Buffer: Sendable {
  public let name: String
  public let config: BufferConfig
  public let divider: ChunkDivider
  let store: any ChunkStore
  let counters: Counters
  let log: Log
  let plan: Mutex<BufferPlan>
  let lane: Lane
  private let syncs: GroupSync
  let flushers: Waker
  let producers: Waker
  let closing = Mutex(false)
  let rate = Mutex(Pace())
  private let observer: (any StagingObserver)?
  /// What Fluentd left in the directory of a file buffer.
  let foreign: FluentdBuffer?
  /// A memory buffer's part of memory_limit.
  private let share: MemoryShare?
  private let isCrowdTold = Atomic(false)

  public convenience init(
    name: String, config: BufferConfig, limits: BufferPlan.Limits, divider: ChunkDivider, store: any ChunkStore, counters: Counters, log: Log,
    pool: BlockingPool, timers: TimerQueue, observer: (any StagingObserver)? = nil, foreign: FluentdBuffer? = nil
  ) {
    self.init(
      name: name, config: config, limits: limits, divider: divider, store: store, counters: counters, log: log, pool: pool, timers: timers,
      observer: observer, foreign: foreign, share: nil)
  }

  init(
    name: String, config: BufferConfig, limits: BufferPlan.Limits, divider: ChunkDivider, store: any ChunkStore, counters: Counters, log: Log,
    pool: BlockingPool, timers: TimerQueue, observer: (any StagingObserver)?, foreign: FluentdBuffer?, share: MemoryShare?
  ) {
    self.share = share
    self.foreign = foreign
    self.name = name
    self.observer = observer
    self.config = config
    self.divider = divider
    self.store = store
    self.counters = counters
    self.log = log
    plan = Mutex(BufferPlan(limits: limits))
    lane = Lane(pool)
    syncs = GroupSync(store, lane, pool)
    flushers = Waker(timers)
    producers = Waker(timers)
  }

  public var isPersistent: Bool { store.isPersistent }

  /// Finds what an earlier run left, before anything is appended. False when the commit log has to remember the earlier runs.
  /// `finished` are chunks whose events are delivered or dead letters (so many), though a kill left them there.
  @discardableResult public func open(committed: (BatchID) -> Bool, finished: [ChunkID: Int] = [:]) throws(StoreError) -> Bool {
    guard let store = store as? FileChunkStore else { return true }
    let now = MonotonicTime.now()
    var own = try store.open(committed: committed)
    let (others, lost) = foreign?.open() ?? ([], 0)
    counters.add(.recovered, .buffered, own.records + own.lost + others.reduce(lost) { $0 + $1.records })
    counters.drop(own.lost + lost, "chunk_damaged", from: .buffered)
    if !own.chunks.isEmpty {
      log.info(
        "found \(own.chunks.count) chunks with \(own.records) events in \(MonotonicTime.now().since(now) / 1_000_000) ms: "
          + "read \(own.bytesRead) bytes, went through \(own.scanned) chunks")
    }
    if !others.isEmpty { own.chunks.insert(contentsOf: others, at: 0) }
    if !finished.isEmpty {
      for chunk in own.chunks { if let letters = finished[chunk.id] { removeFinished(chunk, letters) } }
      own.chunks.removeAll { finished[$0.id] != nil }
    }
    let (chunks, isSealed) = (own.chunks, own.unsealed == 0)
    plan.withLock { $0.recovered(chunks, now: now) }
    return isSealed
  }

  private func removeFinished(_ chunk: FileChunkStore.Recovered, _ letters: Int) {
    if foreign?.remove(chunk.id) != true { store.remove(chunk.id) }
    let known = min(letters, chunk.records)
    counters.deadLettered(known, delivered: chunk.records - known)
  }

  // MARK: Appending

  /// Files that one batch may leave unsynced.
  private static let unsyncedFiles = 64

  /// One batch's part for this buffer, between `reserve` and `finish`.
  public struct Append: Sendable {
    var tickets: [BufferPlan.Ticket] = []
    var isCounted = false
    var reserved: Int
    var count: Int
    /// When the batch was taken in, before any wait for room.
    var arrived: MonotonicTime
  }

  /// Claims room, or nil when the buffer is full.
  public func reserve(_ batches: [EventBatch], arrived: MonotonicTime = .now()) -> Append? {
    guard share?.hasRoom ?? true else { return nil }
    let (bytes, count) = batches.reduce((0, 0)) { ($0.0 + $1.byteCount, $0.1 + $1.count) }
    return plan.withLock { $0.reserve(bytes) } ? Append(reserved: bytes, count: count, arrived: arrived) : nil
  }
  public func release(_ append: Append) {
    plan.withLock { $0.release(append.reserved) }
    producers.wakeAll()
  }
  /// Waits while more is queued than a fast output needs to be busy; for half a second at most. Of a buffer in memory.
  func pace() async {
    guard !store.isPersistent else { return }
    var now = MonotonicTime.now()
    let end = now.adding(nanoseconds: 500_000_000)
    while now < end {
      let mayGoOn = plan.withLock { [now] plan in
        plan.queuedBytes <= max(Pace.least, Pace.chunks * plan.limits.chunkBytes) || !rate.withLock { $0.isFast(at: now) }
      }
      if mayGoOn { return }
      await producers.wait(until: now.adding(nanoseconds: 100_000_000))
      now = .now()
    }
  }
  /// Waits until something left the buffer (or a second passed: a limit may have been lifted otherwise).
  public func waitForRoom() async { await producers.wait(until: .now().adding(nanoseconds: 1_000_000_000)) }

  /// Stores the frames of what one emit has for this buffer. On an error what was stored is voided; `append.tickets` then only needs
  /// `finish(kept: false)`.
  public func append(_ batches: [EventBatch], _ append: inout Append, id: BatchID) async throws(StoreError) {
    let clock = BufferPlan.Clock()
    var work: [(ChunkID, ChunkMetadata, [EventBatch])] = []
    for (metadata, parts) in parts(of: batches) {
      for pieces in pieces(parts, metadata) {
        let (bytes, count) = pieces.reduce((0, 0)) { ($0.0 + $1.byteCount, $0.1 + $1.count) }
        let ticket = plan.withLock { plan in
          append.reserved -= bytes
          return plan.place(metadata, bytes: bytes, records: count, clock, arrived: append.arrived)
        }
        append.tickets.append(ticket)
        if !store.isPersistent {
          try store.append(pieces, to: ticket.chunk, metadata, id: id)
        } else {
          work.append((ticket.chunk, metadata, pieces))
        }
      }
    }
    if store.isPersistent {
      do {
        // With `fsync` every file stays open until it is synced: few at a time.
        let step = store.needsSync ? Self.unsyncedFiles : max(1, work.count)
        for start in stride(from: 0, to: work.count, by: step) {
          let some = work[start..<min(start + step, work.count)]
          let generation = try await lane.run { [store, observer] in
            for (chunk, metadata, pieces) in some {
              try store.append(pieces, to: chunk, metadata, id: id)
              if let observer { for piece in pieces { observer.staged(piece, in: chunk, metadata) } }
            }
            return store.generation
          }
          try await syncs.wait(for: generation)
        }
        await thinOut(after: append.tickets.count)
      } catch { throw error as? StoreError ?? StoreError("\(error)") }
    }
    append.isCounted = true
    let bytes = batches.reduce(0) { $0 + $1.byteCount }
    counters.offered(append.count, bytes: bytes, to: .buffered, emits: batches.count)
    Faults.add(.staged, append.count)
  }

  /// Where there are too many staged chunks, some of the oldest are sealed at once: a queued one takes little memory. What cannot be sealed
  /// now is when its turn comes. At most twice as many as an append began, or a few milliseconds' worth: its batch waits for this.
  private func thinOut(after opened: Int) async {
    var left = max(store.needsSync ? 16 : 256, 2 * opened)
    while left > 0, plan.withLock({ $0.isCrowded }) {
      let most = min(left, 64)
      // Chosen on the lane: what is appended to their keys from then on comes behind them.
      let count = try? await lane.run { [self] in
        let crowd = plan.withLock { $0.crowded(most: most) }
        for chunk in crowd {
          let isSealed = (try? store.seal(chunk.id, records: chunk.records)) != nil
          plan.withLock { $0.sealed(chunk.id, done: isSealed) }
        }
        return crowd.count
      }
      guard let count, count > 0 else { return }
      left -= count
      flushers.wakeOne()
      if !isCrowdTold.exchange(true, ordering: .relaxed) {
        let most = plan.withLock { $0.limits.stagedChunks }
        log.warn("more than \(most) chunks are staged: the oldest are closed before their time; fewer chunk keys, or a shorter flush_interval, make fewer; told once")
      }
    }
  }

  /// The batches by chunk key; neighbours that share a key are one entry, as the tags of a syslog block are where tag is no key.
  private func parts(of batches: [EventBatch]) -> [(metadata: ChunkMetadata, batches: [EventBatch])] {
    var result: [(metadata: ChunkMetadata, batches: [EventBatch])] = []
    for batch in batches {
      for (metadata, part) in divider.divide(batch) {
        if let last = result.indices.last, result[last].metadata == metadata { result[last].batches.append(part) } else { result.append((metadata, [part])) }
      }
    }
    return result
  }

  /// What goes into a chunk at once: all of it where that fits, else batch by batch.
  private func pieces(_ parts: [EventBatch], _ metadata: ChunkMetadata) -> [[EventBatch]] {
    if parts.count > 1 {
      let (limits, room) = plan.withLock { ($0.limits, $0.room(metadata)) }
      let (bytes, count) = parts.reduce((0, 0)) { ($0.0 + $1.byteCount, $0.1 + $1.count) }
      // Not where it would close a chunk before it is full.
      if bytes <= min(limits.chunkBytes, room.bytes), count <= room.records { return [parts] }
    }
    return parts.flatMap { pieces($0, metadata) }.map { [$0] }
  }

  /// Cuts a part so that no chunk passes `chunk_limit_size` or `chunk_limit_records`; a single event is never cut.
  private func pieces(_ part: EventBatch, _ metadata: ChunkMetadata) -> [EventBatch] {
    let limits = plan.withLock { $0.limits }
    let room = plan.withLock { $0.room(metadata) }
    if part.byteCount <= limits.chunkBytes, part.count <= room.records || part.count <= limits.chunkRecords ?? .max && room.records == 0 { return [part] }
    var result: [EventBatch] = []
    var rest = part
    var space = room.records > 0 && room.bytes > 0 ? room : (limits.chunkBytes, limits.chunkRecords ?? .max)
    while !rest.isEmpty {
      var n = 0
      var bytes = 0
      rest.withBytes { all in
        var cursor = EventCursor(unchecked: all)
        var last = cursor.position
        while n < space.1, cursor.next() != nil {
          let size = cursor.position - last
          if bytes + size > space.0, n > 0 { break }
          last = cursor.position
          bytes += size
          n += 1
        }
      }
      let (first, remaining) = rest.split(at: max(1, n))
      result.append(first)
      rest = remaining
      space = (limits.chunkBytes, limits.chunkRecords ?? .max)
    }
    return result
  }

  /// Tells the outcome: the batch is committed, or its frames are voided.
  public func finish(_ append: Append, kept: Bool) {
    let ready = plan.withLock { plan in
      var ready = false
      for ticket in append.tickets where plan.finished(ticket, kept: kept) { ready = true }
      if append.reserved != 0 { plan.release(append.reserved) }
      return ready
    }
    if ready { flushers.wakeOne() } else if append.tickets.contains(where: \.isNew) { flushers.wakeOne() }
  }

  /// Voids the batch's frames. Throws when that could not be stored: the batch must then stay undecided.
  public func void(_ append: Append, id: BatchID) async throws {
    let chunks = Set(append.tickets.map(\.chunk))
    let generation = try await lane.run { [store] in
      for chunk in chunks { try store.void(id, in: chunk) }
      return store.generation
    }
    try await syncs.wait(for: generation)
  }

  /// For `drop_oldest_chunk`: true when a chunk was dropped.
  public func dropOldest() -> Bool {
    guard let chunk = plan.withLock({ $0.takeOldest() }) else { return false }
    drop(chunk, reason: "overflow_dropped")
    log.error("buffer full: the oldest chunk (\(chunk.records) events, \(chunk.bytes) bytes) was dropped, as overflow_action drop_oldest_chunk says")
    return true
  }

  func holds(_ chunk: ChunkID) -> Bool { plan.withLock { $0.holds(chunk) } }
}
