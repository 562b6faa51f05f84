import Glibc

/// Builds one batch: per event `begin()`, write one MessagePack map to `writer`, then `commit(time:)` or `cancel()`.
///
///     builder.begin()
///     … builder.writer …           // exactly one map
///     builder.commit(time: now)    // patches the time in
public struct BatchBuilder: ~Copyable {
  /// Bytes before a record: fixarray(2), fixext8, type 0, seconds, nanoseconds.
  public static let header = 11

  public var writer: ByteWriter
  public internal(set) var count = 0
  @usableFromInline var lowest = UInt32.max
  @usableFromInline var highest: UInt32 = 0
  /// Where the event under construction starts.
  @usableFromInline var start = 0

  public init(capacity: Int = 64 * 1024) { writer = ByteWriter(capacity: capacity) }

  @inlinable public var byteCount: Int { writer.count }

  /// Starts an event with room for `room` bytes of record and leaves space for its time.
  @inlinable public mutating func begin(room: Int = 256) {
    start = writer.count
    writer.reserve(Self.header + room)
    writer.count &+= Self.header
  }

  @inlinable public mutating func commit(time: EventTime) {
    guard let seconds = UInt32(exactly: time.seconds) else { return commitWide(time) }
    let p = writer.mutableBytes.baseAddress! + start  // allocated in init, never nil
    p.storeBytes(of: (0x92d7_0000 as UInt32).bigEndian, as: UInt32.self)
    p.storeBytes(of: seconds.bigEndian, toByteOffset: 3, as: UInt32.self)
    p.storeBytes(of: time.nanoseconds.bigEndian, toByteOffset: 7, as: UInt32.self)
    lowest = min(lowest, seconds)
    highest = max(highest, seconds)
    didCommit()
  }

  /// A time before 1970 or after 2106 has no EventTime form: whole seconds as an int 64, which takes one byte less.
  @usableFromInline mutating func commitWide(_ time: EventTime) {
    let p = writer.mutableBytes.baseAddress! + start  // allocated in init, never nil
    p.storeBytes(of: (0x92d3 as UInt16).bigEndian, as: UInt16.self)
    p.storeBytes(of: time.seconds.bigEndian, toByteOffset: 2, as: Int64.self)
    memmove(p + 10, p + Self.header, writer.count &- recordStart)
    writer.count &-= 1
    forgetTimes()
    didCommit()
  }
  @usableFromInline mutating func didCommit() { count &+= 1 }

  /// Takes back the event that was begun.
  @inlinable public mutating func cancel() { writer.count = start }

  /// Where the record of the event under construction starts in `writer`.
  @inlinable public var recordStart: Int { start + Self.header }

  /// Appends `count` complete, validated events with times within `times`.
  public mutating func append(events bytes: UnsafeRawBufferPointer, count n: Int, times: TimeBounds = .unknown) {
    writer.append(bytes)
    count += n
    lowest = min(lowest, times.low)
    highest = max(highest, times.high)
  }
  /// What the times of the events so far lie between.
  public var times: TimeBounds { TimeBounds(unchecked: lowest, highest) }
  @usableFromInline mutating func forgetTimes() { (lowest, highest) = (0, .max) }

  /// Events written by a block loop that stored through `writer` itself.
  @inlinable public mutating func add(events n: Int) {
    addCount(n)
    if n > 0 { forgetTimes() }
  }
  @usableFromInline mutating func addCount(_ n: Int) { count &+= n }

  public consuming func finish(tag: Tag) -> EventBatch {
    let (count, times) = (count, times)
    let block = Block(writer)
    return EventBatch(unchecked: block, range: 0..<block.count, count: count, tag: tag, times: times)
  }
}
