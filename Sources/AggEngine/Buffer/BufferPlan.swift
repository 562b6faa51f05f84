public import AggCore

/// Decides what a buffer does next; does no I/O and reads no clock. Lives in a mutex; the I/O follows, and the plan is told.
///
///     staged --(full, old, asked)--> queued --(take)--> in flight --(delivered)--> gone
///                                      ^----(failed)-------'
///
/// A chunk with an open ticket (an append whose batch is not committed) is never taken.
public struct BufferPlan: Sendable {
  public struct Limits: Sendable {
    public var chunkBytes = 8 << 20
    public var chunkRecords: Int?
    public var totalBytes = 512 << 20
    public var fullThreshold = 0.95
    /// Of those that are due no more are closed than make so many queued ones: the rest go on growing. Full ones are always closed.
    public var queuedChunks: Int?
    public var mode = BufferConfig.FlushMode.interval
    public var flushInterval: Int64 = 60_000_000_000
    /// For lazy mode: slice length and wait, in seconds.
    public var timekey: Int64 = 0
    public var timekeyWait: Int64 = 600
    /// Of a store that keeps sealed chunks elsewhere than in memory: more staged ones than this are sealed before their time (`crowded`).
    /// One takes some 700 bytes here and in its store, a queued one 56.
    public var stagedChunks = 262_144
    public init() {}
  }
  public struct Clock: Sendable {
    public var now: MonotonicTime
    /// Wall time in seconds, for time slices only.
    public var wall: Int64
    public init(now: MonotonicTime = .now(), wall: Int64 = EventTime.now().seconds) {
      self.now = now
      self.wall = wall
    }
  }
  public struct Chunk: Sendable {
    public var id: ChunkID
    public var metadata: ChunkMetadata
    public var bytes = 0
    public var records = 0
    public var since: MonotonicTime
    /// How often it was taken, since the start.
    public var attempts = 0
    package var arrivals = Arrivals()
    var tickets = 0
    var state = State.staged
    enum State { case staged, closing, sealing, queued, inFlight }
  }
  /// One append: told back with `finished`.
  public struct Ticket: Sendable {
    public var chunk: ChunkID
    public var isNew: Bool
    public var bytes: Int
    public var records: Int
  }

  public let limits: Limits
  private var chunks: [ChunkID: Chunk] = [:]
  private var staged: [ChunkMetadata: ChunkID] = [:]
  private var order = StagedOrder()
  private var ages = ChunkAges()
  /// How many chunks there are of each time slice.
  private var slices: [Int64: Int] = [:]
  /// When something staged is due, where that is known to be later than now; for lazy mode.
  private var nextDue: MonotonicTime?
  private var started = MonotonicTime(nanoseconds: 0)
  /// Not delivered; the last is tried first.
  private var returned: [ChunkID] = []
  /// Closed chunks; before them those found at start.
  private var queue = ChunkQueue()
  /// Queued ones that are not among `chunks`: what there is to know of them is in the queue and in the store.
  private var storedCount = 0
  public private(set) var reservedBytes = 0
  public private(set) var stagedBytes = 0
  public private(set) var queuedBytes = 0
  public private(set) var records = 0

  public init(limits: Limits) { self.limits = limits }

  public var totalBytes: Int { stagedBytes + queuedBytes }
  public var queuedCount: Int { queue.count + returned.count }
  /// There may be something for another flush task: what is queued, and in immediate mode what is staged.
  public var hasMore: Bool { queuedCount > 0 || limits.mode == .immediate && !staged.isEmpty }
  public var stagedCount: Int { staged.count }
  public var isEmpty: Bool { chunkCount == 0 }
  public var chunkCount: Int { chunks.count + storedCount }
  public func holds(_ id: ChunkID) -> Bool { chunks[id] != nil || queue.contains(id) }

  // MARK: Appending

  /// Claims room for a batch. As in Fluentd a buffer below its limit takes one more append, however large.
  public mutating func reserve(_ bytes: Int) -> Bool {
    guard totalBytes + reservedBytes < limits.totalBytes else { return false }
    reservedBytes += bytes
    return true
  }
  public mutating func release(_ bytes: Int) { reservedBytes -= bytes }

  /// How many of `records` events with these sizes go into the next chunk; nil: all of them.
  public func fits(_ metadata: ChunkMetadata, bytes: Int, records n: Int) -> Bool {
    guard bytes <= limits.chunkBytes else { return false }
    return limits.chunkRecords.map { n <= $0 } ?? true
  }

  /// Room of the staged chunk under this key: (bytes, records).
  public func room(_ metadata: ChunkMetadata) -> (bytes: Int, records: Int) {
    guard let id = staged[metadata], let chunk = chunks[id] else { return (limits.chunkBytes, limits.chunkRecords ?? .max) }
    return (max(0, limits.chunkBytes - chunk.bytes), limits.chunkRecords.map { max(0, $0 - chunk.records) } ?? .max)
  }

  /// Gives the append its chunk, opening one (and closing a full one) where needed. Takes the reservation.
  public mutating func place(_ metadata: ChunkMetadata, bytes: Int, records n: Int, _ clock: Clock, arrived: MonotonicTime? = nil) -> Ticket {
    let arrived = arrived ?? clock.now
    reservedBytes -= bytes
    stagedBytes += bytes
    records += n
    if let id = staged[metadata], let chunk = chunks[id] {
      let tooMany = limits.chunkRecords.map { chunk.records + n > $0 } ?? false
      if chunk.bytes + bytes <= limits.chunkBytes && !tooMany || chunk.records == 0 {
        chunks[id]?.bytes += bytes
        chunks[id]?.records += n
        chunks[id]?.tickets += 1
        chunks[id]?.arrivals.add(n, at: arrived)
        return Ticket(chunk: id, isNew: false, bytes: bytes, records: n)
      }
      close(id)
    }
    let id = ChunkID.random()
    chunks[id] = Chunk(id: id, metadata: metadata, bytes: bytes, records: n, since: clock.now, tickets: 1)
    chunks[id]?.arrivals.add(n, at: arrived)
    staged[metadata] = id
    order.append(id, staged: staged.count, of: chunks)
    count(1, since: clock.now, metadata.timekey)
    if let due = nextDue, let chunk = chunks[id] { nextDue = Self.due(chunk, clock, limits).map { min($0, due) } ?? due }
    return Ticket(chunk: id, isNew: true, bytes: bytes, records: n)
  }

  /// The append's batch is committed (`kept`), or its frames were voided. True when a chunk became ready to take.
  public mutating func finished(_ ticket: Ticket, kept: Bool) -> Bool {
    guard var chunk = chunks[ticket.chunk] else { return false }
    chunk.tickets -= 1
    if !kept {
      chunk.bytes -= ticket.bytes
      chunk.records -= ticket.records
      chunk.arrivals.remove(ticket.records)
      stagedBytes -= ticket.bytes
      records -= ticket.records
    }
    chunks[ticket.chunk] = chunk
    if chunk.state == .closing, chunk.tickets == 0 {
      enqueue(ticket.chunk)
      return true
    }
    guard chunk.state == .staged, chunk.tickets == 0 else { return false }
    let full = Double(chunk.bytes) >= Double(limits.chunkBytes) * limits.fullThreshold || limits.chunkRecords.map { chunk.records >= $0 } ?? false
    if full {
      close(ticket.chunk)
      return true
    }
    return limits.mode == .immediate
  }

  // MARK: Delivering

  /// The next chunk to deliver, now in flight; or when to ask again.
  public enum Take: Sendable { case chunk(Chunk), wait(until: MonotonicTime?) }
  public mutating func take(_ clock: Clock) -> Take {
    if let id = popQueue() { return .chunk(fly(id)) }
    if limits.mode == .immediate {
      // The oldest staged chunk, so that one busy tag does not starve the rest.
      if let oldest = oldestStaged(where: { $0.tickets == 0 }) {
        close(oldest.id)
        if let id = popQueue() { return .chunk(fly(id)) }
      }
      return .wait(until: nil)
    }
    let next = closeDue(clock)
    if let id = popQueue() { return .chunk(fly(id)) }
    return .wait(until: next)
  }

  private mutating func fly(_ id: ChunkID) -> Chunk {
    chunks[id]?.state = .inFlight
    chunks[id]?.attempts += 1
    return chunks[id] ?? Chunk(id: id, metadata: ChunkMetadata(), since: MonotonicTime(nanoseconds: 0))
  }
  private mutating func popQueue() -> ChunkID? {
    if let id = returned.popLast() { return id }
    guard let entry = queue.popFirst() else { return nil }
    if chunks[entry.id] == nil {
      storedCount -= 1
      var chunk = Chunk(
        id: entry.id, metadata: ChunkMetadata(timekey: entry.timekey), bytes: entry.bytes, records: entry.records, since: entry.since, state: .queued)
      // When those of an earlier run came is not known.
      if let arrived = entry.arrived { chunk.arrivals.add(entry.records, at: arrived) }
      chunks[entry.id] = chunk
    }
    return entry.id
  }

  private mutating func oldestStaged(where isMeant: (Chunk) -> Bool) -> Chunk? {
    var found: Chunk?
    order.forEach(of: chunks) { chunk in
      if isMeant(chunk) { found = chunk }
      return found == nil
    }
    return found
  }

  /// Closes staged chunks whose time has come; returns when the next one's will.
  private mutating func closeDue(_ clock: Clock) -> MonotonicTime? {
    if limits.mode == .lazy, let next = nextDue, clock.now < next { return next }
    var next: MonotonicTime?
    var ready: [ChunkID] = []
    let isLazy = limits.mode == .lazy
    let most = limits.queuedChunks.map { max(1, $0) - queuedCount } ?? .max
    order.forEach(of: chunks) { [limits] chunk in
      guard let at = Self.due(chunk, clock, limits) else { return true }
      if at > clock.now {
        next = min(next ?? at, at)
        // Of the same interval each, those behind it are due later.
        return isLazy
      }
      // An empty one too: all that it had was voided, and who appends to it later would wake nobody.
      ready.append(chunk.id)
      if ready.count < most { return true }
      next = clock.now
      return false
    }
    for id in ready { close(id) }
    nextDue = isLazy ? next : nil
    return next
  }
  private static func due(_ chunk: Chunk, _ clock: Clock, _ limits: Limits) -> MonotonicTime? {
    guard limits.mode == .lazy else { return chunk.since.adding(nanoseconds: limits.flushInterval) }
    guard let timekey = chunk.metadata.timekey else { return nil }
    // The wall clock may have been set back: no slice of events that have happened ends later than this.
    let latest = chunk.since.adding(nanoseconds: Int64(clamping: Double(limits.timekey + limits.timekeyWait) * 1e9))
    let (end, overflow) = timekey.addingReportingOverflow(limits.timekey + limits.timekeyWait)
    let left = overflow ? Int64.max : end.subtractingReportingOverflow(clock.wall).partialValue
    // Asked again at least once a minute: the wall clock may be stepped.
    return left <= 0 || latest <= clock.now ? clock.now : min(latest, clock.now.adding(nanoseconds: min(left, 60) * 1_000_000_000))
  }

  // MARK: Crowds

  public var isCrowded: Bool { staged.count > limits.stagedChunks }
  /// Up to `most` of the oldest staged chunks that are more than `limits.stagedChunks`, to be sealed by the store now; each is then told of
  /// with `sealed`. Those with an open ticket stay.
  public mutating func crowded(most: Int) -> [Chunk] {
    let many = min(most, staged.count - limits.stagedChunks)
    guard many > 0 else { return [] }
    var found: [Chunk] = []
    order.forEach(of: chunks) { chunk in
      if chunk.tickets == 0 { found.append(chunk) }
      return found.count < many
    }
    for chunk in found {
      staged[chunk.metadata] = nil
      chunks[chunk.id]?.state = .sealing
    }
    return found
  }
  /// The chunk waits in the queue; where it is sealed (`done`), by no more than its entry there.
  public mutating func sealed(_ id: ChunkID, done: Bool) {
    guard chunks[id]?.state == .sealing else { return }
    enqueue(id)
    guard done else { return }
    chunks[id] = nil
    storedCount += 1
  }

  public mutating func closeAll() { for id in staged.values { close(id) } }

  private mutating func close(_ id: ChunkID) {
    guard let chunk = chunks[id], chunk.state == .staged else { return }
    staged[chunk.metadata] = nil
    if chunk.tickets == 0 { enqueue(id) } else { chunks[id]?.state = .closing }
  }
  private mutating func enqueue(_ id: ChunkID) {
    guard let chunk = chunks[id] else { return }
    chunks[id]?.state = .queued
    stagedBytes -= chunk.bytes
    queuedBytes += chunk.bytes
    queue.append(
      ChunkQueue.Entry(
        id: id, bytes: chunk.bytes, records: chunk.records, since: chunk.since, arrived: chunk.arrivals.entries.first?.at, timekey: chunk.metadata.timekey))
  }

  /// The chunk is gone: delivered, dropped or dead-lettered.
  public mutating func removed(_ id: ChunkID) {
    guard let chunk = chunks.removeValue(forKey: id) else { return }
    queuedBytes -= chunk.bytes
    records -= chunk.records
    count(-1, since: chunk.since, chunk.metadata.timekey)
  }
  /// The chunk was not delivered: it goes back to the front.
  public mutating func failed(_ id: ChunkID) {
    guard chunks[id]?.state == .inFlight else { return }
    chunks[id]?.state = .queued
    returned.append(id)
  }
  /// A chunk turned out to hold another number of events than it was said to.
  public mutating func counted(_ id: ChunkID, records n: Int) {
    guard let known = chunks[id]?.records else { return }
    chunks[id]?.records = n
    records += n - known
  }
  /// For `drop_oldest_chunk`: the oldest queued chunk, else the oldest staged one without open tickets.
  public mutating func takeOldest() -> Chunk? {
    if let id = popQueue() { return fly(id) }
    guard let oldest = oldestStaged(where: { $0.tickets == 0 }) else { return nil }
    close(oldest.id)
    return popQueue().map { fly($0) }
  }

  // MARK: Recovery

  /// Chunks found at start, oldest first; once, before anything else. Their metadata is read when they are delivered.
  public mutating func recovered(_ found: [FileChunkStore.Recovered], now: MonotonicTime) {
    started = now
    storedCount += found.count
    queue.reserve(found.count)
    for chunk in found {
      queue.append(ChunkQueue.Entry(id: chunk.id, bytes: chunk.bytes, records: chunk.records, since: now, arrived: nil, timekey: chunk.timekey))
      queuedBytes += chunk.bytes
      records += chunk.records
      count(1, since: now, chunk.timekey)
    }
  }

  // MARK: For the monitor

  private mutating func count(_ n: Int, since: MonotonicTime, _ timekey: Int64?) {
    if n > 0 { ages.add(since) } else { ages.remove(since) }
    guard let timekey else { return }
    let left = (slices[timekey] ?? 0) + n
    slices[timekey] = left > 0 ? left : nil
  }
  /// Time slices that chunks belong to, ascending.
  public var timekeys: [Int64] { slices.keys.sorted() }
  /// When the oldest chunk was begun, to a second.
  public var oldest: MonotonicTime? { ages.oldest }
}
