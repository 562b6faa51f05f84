public import AggCore
import Glibc
import Synchronization

/// The dead letters of one output: segments of a directory, written by one process (`lock`).
///
/// A group goes in before its chunk goes away, and all of it or nothing: after a kill in between, `open` tells which chunks are
/// finished. Everything that changes a segment runs on one lane; nothing of it is on the way of events that are delivered.
public final class DeadLetterStore: Sendable {
  public struct Options: Sendable {
    public var directory: String
    /// Bytes of all segments.
    public var limit = 1 << 30
    public var durability = BufferConfig.Durability.os
    public var permission = 0o600
    public var directoryPermission = 0o755
    /// Where the chunks are that a group may finish; nil for memory buffers.
    public var chunkDirectory: String?
    /// A segment that is longer takes no more groups.
    public var segmentBytes = 8 << 20
    public init(directory: String) { self.directory = directory }
  }
  public struct Full: Error {}

  private struct State: ~Copyable {
    var lock: File?
    var current: File?
    var nonce: UInt64 = 0
    var size = 0
    var number: UInt64 = 0
    /// Of all segments.
    var bytes = 0
    /// Chunks that the current segment finishes: its number of events.
    var finished: [ChunkID: Int] = [:]
    var isClosed = false
  }
  public let options: Options
  private let state = Mutex(State())
  private let lane: Lane
  private let log: Log
  /// Called when the directory is there: requests may come.
  private let opened = Mutex<(@Sendable (String) -> Void)?>(nil)

  public init(_ options: Options, pool: BlockingPool, log: Log) {
    self.options = options
    self.log = log
    lane = Lane(pool)
  }
  public var bytes: Int { state.withLock { $0.bytes } }

  /// Takes the directory, where there is one, and cuts off what a kill left unfinished. Returns the chunks that need no delivery any
  /// more, with their numbers of dead letters. Blocks; before anything is added.
  public func open(onDirectory: (@Sendable (String) -> Void)? = nil) throws(StoreError) -> [ChunkID: Int] {
    opened.withLock { $0 = onDirectory }
    guard File.status(options.directory)?.isDirectory ?? false else { return [:] }
    do {
      try take()
      return state.withLock { $0.finished }
    } catch let error as StoreError { throw error } catch { throw StoreError("\(error)") }
  }

  private func take() throws {
    try File.makeDirectories(options.directory, permission: options.directoryPermission)
    let lock = try File(options.directory + "/lock", [.readWrite, .create], permission: options.permission)
    var tries = 0
    // `agg dlq drop` holds it for moments.
    while !lock.tryLock() {
      tries += 1
      if tries > 100 { throw StoreError("\(options.directory): another process works on these dead letters") }
      usleep(50_000)
    }
    var (bytes, last) = (0, UInt64(0))
    for (number, path) in Self.segments(in: options.directory) {
      bytes += File.status(path)?.size ?? 0
      last = max(last, number)
    }
    // Answers that nobody took.
    let now = EventTime.now().seconds
    for name in try File.list(options.directory) where name.hasSuffix(DeadLetterRequest.resultSuffix) {
      let path = options.directory + "/" + name
      if let status = File.status(path), now &- status.modified.seconds > 3600 { try? File.remove(path) }
    }
    state.withLock { s in
      s.lock = lock
      s.bytes = bytes
      s.number = last
    }
    if last > 0 { try resume(Self.path(options.directory, last)) }
    opened.withLock { $0 }?(options.directory)
  }

  /// Goes on in the newest segment, where it is one of ours.
  private func resume(_ path: String) throws {
    let segment = try DeadLetterSegment(path: path)
    guard let nonce = segment.nonce else {
      if case .otherVersion(let version) = segment.header {
        log.warn("\(path): of format version \(version), which this agg does not know; left alone")
      } else {
        log.error("\(path): not a readable segment of dead letters; left where it is")
      }
      return
    }
    // After a power failure the last group may have a hole in it and yet an end, as pages are written in any order. Its chunk, which goes
    // only when the group is synced, is there then and is delivered again.
    let there = segment.groups.contains { $0.isDamaged } ? try chunksThere() : []
    let refuted = segment.groups.filter { $0.isDamaged && there.contains($0.chunk) }
    var end = segment.wholeEnd
    if let last = refuted.last, last.range.upperBound == end { end = last.range.lowerBound }
    for range in segment.damaged where range.upperBound <= end {
      log.error("\(path): bytes \(range.lowerBound)..<\(range.upperBound) are damaged and skipped")
    }
    let file = try File(path, [.readWrite])
    if end < segment.block.count { try file.truncate(to: end) }
    var finished: [ChunkID: Int] = [:]
    for group in segment.groups { finished[group.chunk] = group.givenUp }
    for group in refuted { finished[group.chunk] = nil }
    state.withLock { s in
      s.bytes -= segment.block.count - end
      s.current = file
      s.nonce = nonce
      s.size = end
      s.finished = finished
    }
  }

  public func close() {
    state.withLock { s in
      s.isClosed = true
      s.current = nil
      s.lock = nil
    }
    opened.withLock { $0 = nil }
  }

  // MARK: Adding

  /// Stores what was given up of a chunk, then has `remove` take the chunk away. Throws `Full` where there is no room; nothing of
  /// the group is kept then, nor on another error.
  package func add(_ group: DeadLetterGroup, _ remove: @escaping @Sendable () -> Void) async throws {
    try await lane.run { [self] in
      try append(group)
      Faults.hit(.dlq)
      remove()
    }
  }

  private func append(_ group: DeadLetterGroup) throws {
    // Stored before, and the chunk could not be removed.
    if state.withLock({ $0.finished[group.view.id] != nil }) { return }
    let least = group.rejections == nil || group.view.formatted != nil ? group.view.byteCount : 0
    if state.withLock({ $0.bytes + least >= options.limit }) { throw Full() }
    let (file, nonce, start) = try segment()
    var size = start
    var out = ByteWriter(capacity: 64 << 10)
    do {
      func flush(_ out: inout ByteWriter) throws {
        if state.withLock({ $0.bytes + (size - start) + out.count > options.limit }) { throw Full() }
        if Faults.isArmed(.tornLetter) {
          try file.write(at: size, UnsafeRawBufferPointer(rebasing: out.bytes.prefix(out.count / 2)))
        }
        Faults.hit(.tornLetter)
        try file.write(at: size, out.bytes)
        size += out.count
        out.removeAll()
      }
      DeadLetterFormat.writeGroup(group, nonce: nonce, into: &out)
      try group.writeLetters(nonce, into: &out, flush)
      DeadLetterFormat.writeEnd(group.view.id, givenUp: group.count, events: group.view.count, nonce: nonce, into: &out)
      try flush(&out)
      if options.durability == .fsync { try file.sync() }
    } catch {
      // What was written of it has no end, so it does not count even if it stays.
      try? file.truncate(to: start)
      throw error
    }
    state.withLock { s in
      s.bytes += size - start
      s.size = size
      s.finished[group.view.id] = group.count
    }
  }

  /// Where the next group goes; begins a segment where the last one is long enough.
  private func segment() throws -> (File, nonce: UInt64, size: Int) {
    if state.withLock({ $0.isClosed }) { throw StoreError("\(options.directory): is closed") }
    if state.withLock({ $0.lock == nil }) { try take() }
    let (file, nonce, size) = state.withLock { ($0.current, $0.nonce, $0.size) }
    if let file, size < options.segmentBytes || holdsUnremoved() { return (file, nonce, size) }
    var random = SystemRandomNumberGenerator()
    let (fresh, number) = (random.next() as UInt64, state.withLock { $0.number } + 1)
    var out = ByteWriter(capacity: 64)
    let now = EventTime.now()
    DeadLetterFormat.writeFile(nonce: fresh, created: now.seconds &* 1_000_000_000 &+ Int64(now.nanoseconds), into: &out)
    let next = try File(Self.path(options.directory, number), [.readWrite, .create, .exclusive], permission: options.permission)
    // Without a whole header it is put aside as unreadable, and the next number is taken.
    state.withLock { $0.number = number }
    try next.write(at: 0, out.bytes)
    if options.durability == .fsync {
      try next.sync()
      try File.syncDirectory(options.directory)
      try File.syncDirectory(File.directory(of: options.directory))
    }
    let length = out.count
    state.withLock { s in
      s.current = next
      s.nonce = fresh
      s.size = length
      s.bytes += length
      s.finished = [:]
    }
    return (next, fresh, length)
  }

  /// Makes a request that is there survive power loss: what is done for it must not be done twice.
  func secure(_ request: String) async throws {
    guard options.durability == .fsync else { return }
    try await lane.run { [options] in
      try File(request, .read).sync()
      try File.syncDirectory(options.directory)
    }
  }

  /// Whether a chunk that the current segment finishes is still there: only the newest segment is read at start.
  private func holdsUnremoved() -> Bool {
    guard let there = try? chunksThere() else { return true }
    return state.withLock { s in s.finished.keys.contains { there.contains($0) } }
  }

  func onLane<R: Sendable>(_ body: @escaping @Sendable () throws -> R) async throws -> R { try await lane.run(body) }

  /// Chunks that are there, also after a power failure.
  private func chunksThere() throws -> Set<ChunkID> {
    guard let directory = options.chunkDirectory else { return [] }
    if options.durability == .fsync { try File.syncDirectory(directory) }
    return Self.chunks(in: directory)
  }

  // MARK: Changing

  /// The segments there are, oldest first; groups that come from now on go into others. On the lane.
  package func closedSegments() async throws -> [String] {
    try await lane.run { [self] in
      if state.withLock({ $0.lock == nil }) { return [] }
      _ = try chunksThere()
      state.withLock { s in
        s.current = nil
        s.finished = [:]
      }
      return Self.segments(in: options.directory).map(\.path)
    }
  }

  /// Writes a closed segment anew without some letters, or removes it; returns how many events went.
  package func rewrite(_ path: String, without selected: @escaping @Sendable (DeadLetterSegment, DeadLetter) -> Bool) async throws -> Int
  {
    try await lane.run { [self] in
      let before = File.status(path)?.size ?? 0
      let present = try chunksThere()
      let n = try Self.rewrite(path, keeping: present, sync: options.durability == .fsync, without: selected)
      let after = File.status(path)?.size ?? 0
      state.withLock { $0.bytes += after - before }
      return n
    }
  }
}
