import AggCore

/// Chunks that wait to be taken, in the order they were closed: 48 bytes each, so that there may be a million.
struct ChunkQueue: Sendable {
  struct Entry: Sendable {
    var id: ChunkID
    var bytes: Int
    var records: Int
    var since: MonotonicTime
    private var slice: Int64
    var timekey: Int64? { slice == .min ? nil : slice }

    init(id: ChunkID, bytes: Int, records: Int, since: MonotonicTime, timekey: Int64?) {
      (self.id, self.bytes, self.records, self.since) = (id, bytes, records, since)
      slice = timekey ?? .min
    }
  }
  private var entries: [Entry] = []
  /// Saves shifting a long queue.
  private var head = 0

  var count: Int { entries.count - head }
  func contains(_ id: ChunkID) -> Bool { entries[head...].contains { $0.id == id } }
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
  /// Goes through them from the oldest until `body` says no, and does not come back to those at the front that are not staged.
  mutating func forEach(of chunks: [ChunkID: BufferPlan.Chunk], _ body: (BufferPlan.Chunk) -> Bool) {
    while head < ids.count, chunks[ids[head]]?.state != .staged { head += 1 }
    for id in ids[head...] {
      if let chunk = chunks[id], chunk.state == .staged, !body(chunk) { return }
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
