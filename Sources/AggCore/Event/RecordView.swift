public import Glibc

/// One record (or any map in it), read in place: 2 to 4 ns an event, no allocation.
///
/// Valid as long as the bytes are: use it inside the closure that handed it out.
public struct RecordView: @unchecked Sendable {  // a view of immutable bytes
  public let value: ValueView

  /// The caller vouches that `value` is a validated map.
  @inlinable @inline(__always) public init(unchecked value: ValueView) { self.value = value }

  /// The record's first byte, its header.
  @inlinable public var pointer: UnsafeRawPointer { value.pointer }
  /// The record as it is encoded; finding its end walks over it.
  @inlinable public var bytes: UnsafeRawBufferPointer { value.bytes }
  /// How many pairs there are, duplicates included.
  @inlinable public var fieldCount: Int { value.count }
  @inlinable public var fields: FieldCursor { FieldCursor(value) }

  @inlinable public func forEachField<E: Error>(_ body: (_ key: ValueView, _ value: ValueView) throws(E) -> Void) throws(E) {
    var cursor = fields
    while let (key, value) = cursor.next() { try body(key, value) }
  }

  /// The value of the first field whose key is the string `key`.
  @inlinable public func find(_ key: UnsafeRawBufferPointer) -> ValueView? {
    let (count, header) = MessagePack.container(pointer)
    var p = pointer + header
    for _ in 0..<count {
      let first = p.byte()
      if first & 0xe0 == 0xa0 {
        let n = Int(first & 0x1f)
        if n == key.count, n == 0 || memcmp(p + 1, key.baseAddress!, n) == 0 { return ValueView(unchecked: p + (1 &+ n)) }
        p += 1 &+ n
      } else {
        let next = MessagePack.end(of: p)
        if let bytes = ValueView(unchecked: p).stringBytes, bytes.count == key.count,
          key.count == 0 || memcmp(bytes.baseAddress!, key.baseAddress!, key.count) == 0
        {
          return ValueView(unchecked: next)
        }
        p = next
      }
      p = MessagePack.end(of: p)
    }
    return nil
  }
  @inlinable public func find(_ key: StaticString) -> ValueView? {
    find(UnsafeRawBufferPointer(start: key.utf8Start, count: key.utf8CodeUnitCount))
  }
  @inlinable public func find(_ key: [UInt8]) -> ValueView? { key.withUnsafeBytes { find($0) } }
  public func find(_ key: String) -> ValueView? {
    var key = key
    return key.withUTF8 { find(UnsafeRawBufferPointer($0)) }
  }
}

/// Walks over the pairs of a map.
public struct FieldCursor {
  @usableFromInline var next_: UnsafeRawPointer
  @usableFromInline var left: Int

  @inlinable init(_ map: ValueView) {
    let (count, header) = MessagePack.container(map.pointer)
    next_ = map.pointer + header
    left = count
  }

  /// How many pairs are still to come.
  @inlinable public var remaining: Int { left }

  @inlinable public mutating func next() -> (key: ValueView, value: ValueView)? {
    guard left > 0 else { return nil }
    left &-= 1
    let key = ValueView(unchecked: next_)
    let value = ValueView(unchecked: key.end)
    next_ = value.end
    return (key, value)
  }
}

/// One `[time, record]` of a batch.
public struct EventView {
  /// The whole pair as it is encoded.
  public let bytes: UnsafeRawBufferPointer
  /// The time as it came: EventTime or integer.
  public let rawTime: ValueView
  public let record: RecordView

  @inlinable init(bytes: UnsafeRawBufferPointer, rawTime: ValueView, record: RecordView) {
    self.bytes = bytes
    self.rawTime = rawTime
    self.record = record
  }

  @inlinable public var time: EventTime { rawTime.eventTime ?? EventTime(seconds: 0) }
}

/// Walks over the events in validated bytes.
public struct EventCursor {
  /// Where the next event starts.
  public var position: UnsafeRawPointer
  @usableFromInline let limit: UnsafeRawPointer

  /// The caller vouches that `bytes` are validated events, and keeps them alive.
  @inlinable public init(unchecked bytes: UnsafeRawBufferPointer) {
    position = bytes.baseAddress!  // a block always has an address
    limit = position + bytes.count
  }

  @inlinable public mutating func next() -> EventView? {
    guard position < limit else { return nil }
    let start = position
    let time = ValueView(unchecked: start + 1)
    // fixext8 is what a batch normally holds: skip it without looking at its kind.
    let record = ValueView(unchecked: time.pointer.byte() == 0xd7 ? start + 11 : time.end)
    position = record.end
    return EventView(
      bytes: UnsafeRawBufferPointer(start: start, count: position - start), rawTime: time, record: RecordView(unchecked: record))
  }
}

extension EventBatch {
  /// Calls `body` for every event, in order.
  @inlinable public func forEachEvent<E: Error>(_ body: (EventTime, RecordView) throws(E) -> Void) throws(E) {
    try forEach { (event: EventView) throws(E) in try body(event.time, event.record) }
  }

  /// As `forEachEvent`, with the encoded pair for those that copy it.
  @inlinable public func forEach<E: Error>(_ body: (EventView) throws(E) -> Void) throws(E) {
    try withBytes { (bytes: UnsafeRawBufferPointer) throws(E) in
      guard bytes.count > 0 else { return }
      var cursor = EventCursor(unchecked: bytes)
      while let event = cursor.next() { try body(event) }
    }
  }
}
