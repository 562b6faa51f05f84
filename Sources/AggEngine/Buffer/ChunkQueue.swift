import AggCore

/// Chunks that wait to be taken, in the order they were closed: 56 bytes each, so that there may be a million.
struct ChunkQueue: Sendable {
  struct Entry: Sendable {
    var id: ChunkID
    var bytes: Int
    var records: Int
    var since: MonotonicTime
    private var first: MonotonicTime
    private var slice: Int64
    /// When the first of its events came in; nil where that is not known.
    var arrived: MonotonicTime? { first.nanoseconds == .max ? nil : first }
    var timekey: Int64? { slice == .min ? nil : slice }

    init(id: ChunkID, bytes: Int, records: Int, since: MonotonicTime, arrived: MonotonicTime?, timekey: Int64?) {
      (self.id, self.bytes, self.records, self.since) = (id, bytes, records, since)
      // Optionals would take eight bytes more each.
      first = arrived ?? MonotonicTime(nanoseconds: .max)
      slice = timekey ?? .min
    }
  }
  private var entries: [Entry] = []
  /// Saves shifting a long queue.
  private var head = 0

  var count: Int { entries.count - head }
  func contains(_ id: ChunkID) -> Bool { entries[head...].contains { $0.id == id } }
  mutating func reserve(_ n: Int) { entries.reserveCapacity(entries.count + n) }
  mutating func append(_ entry: Entry) { entries.append(entry) }
  mutating func popFirst() -> Entry? {
    guard head < entries.count else { return nil }
    defer { trim() }
    head += 1
    return entries[head - 1]
  }
  private mutating func trim() {
    if head == entries.count {
      // Short ones keep their room.
      entries.removeAll(keepingCapacity: entries.capacity <= 1024)
      head = 0
    } else if head > 1024, head * 2 > entries.count {
      entries.removeFirst(head)
      head = 0
    }
  }
}

/// Staged chunks in the order they were begun. Those that left the stage are skipped, and swept out when they are the most.
struct StagedOrder: Sendable {
  private var ids: [ChunkID] = []
  private var head = 0

  mutating func append(_ id: ChunkID, staged: Int, of chunks: [ChunkID: BufferPlan.Chunk]) {
    ids.append(id)
    guard ids.count > 2 * staged + 1024 else { return }
    ids = ids[head...].filter { chunks[$0]?.state == .staged }
    head = 0
  }
  /// Goes through them from the oldest until `body` says no. Where it went over many that are not staged, they are swept out: the first may
  /// stay for long.
  mutating func forEach(of chunks: [ChunkID: BufferPlan.Chunk], _ body: (BufferPlan.Chunk) -> Bool) {
    while head < ids.count, chunks[ids[head]]?.state != .staged { head += 1 }
    var gone = 0
    var place = head
    while place < ids.count {
      let chunk = chunks[ids[place]]
      place += 1
      guard let chunk, chunk.state == .staged else {
        gone += 1
        continue
      }
      if !body(chunk) { break }
    }
    if gone > 1024 {
      let kept = ids[head..<place].filter { chunks[$0]?.state == .staged }
      head = place - kept.count
      ids.replaceSubrange(head..<place, with: kept)
    }
  }
}

/// When the chunks that there are were begun, by the second.
struct ChunkAges: Sendable {
  private var seconds: [UInt64: (count: Int, first: MonotonicTime)] = [:]
  private func second(_ time: MonotonicTime) -> UInt64 { time.nanoseconds / 1_000_000_000 }

  /// True to a second: the first of the oldest second may be gone already.
  var oldest: MonotonicTime? { seconds.min { $0.key < $1.key }?.value.first }
  mutating func add(_ time: MonotonicTime) {
    let known = seconds[second(time)] ?? (0, time)
    seconds[second(time)] = (known.count + 1, min(known.first, time))
  }
  mutating func remove(_ time: MonotonicTime) {
    guard let known = seconds[second(time)] else { return }
    seconds[second(time)] = known.count > 1 ? (known.count - 1, known.first) : nil
  }
}
