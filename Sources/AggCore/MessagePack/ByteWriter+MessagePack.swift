public import Glibc

/// MessagePack as Ruby's msgpack writes it: the shortest form of every value, str8 included.
///
/// Every put reserves by itself. A map is `putMapHeader(n)` and n pairs, or `beginMap()` … `endMap(_:count:)`.
extension ByteWriter {
  @inlinable public mutating func putNil() { append(0xc0 as UInt8) }
  @inlinable public mutating func putBool(_ value: Bool) { append((value ? 0xc3 : 0xc2) as UInt8) }

  @inlinable public mutating func putInt(_ value: Int64) {
    reserve(9)
    advance(to: MessagePack.put(value, end))
  }
  @inlinable public mutating func putUInt(_ value: UInt64) {
    reserve(9)
    advance(to: MessagePack.put(value, end))
  }
  @inlinable public mutating func putDouble(_ value: Double) {
    reserve(9)
    uncheckedAppend(0xcb)
    uncheckedBigEndian(value.bitPattern)
  }

  /// The form that a record's time has: fixext8, type 0. Seconds are clamped to 32 bits unsigned.
  @inlinable public mutating func putEventTime(_ time: EventTime) {
    reserve(10)
    uncheckedBigEndian(0xd700 as UInt16)
    uncheckedBigEndian(UInt32(clamping: time.seconds))
    uncheckedBigEndian(time.nanoseconds)
  }

  /// A string of up to 4 GiB - 1; what is longer is cut there.
  @inlinable public mutating func putString(_ bytes: UnsafeRawBufferPointer) {
    let n = min(bytes.count, Int(UInt32.max))
    reserve(n &+ 5)
    advance(to: MessagePack.putStringHeader(n, end))
    if let source = bytes.baseAddress { memcpy(end, source, n) }
    count &+= n
  }
  @inlinable public mutating func putString(_ source: UnsafeRawPointer, _ n: Int) {
    putString(UnsafeRawBufferPointer(start: source, count: n))
  }
  @inlinable public mutating func putString(_ text: StaticString) {
    putString(UnsafeRawPointer(text.utf8Start), text.utf8CodeUnitCount)
  }
  public mutating func putString(_ text: String) {
    var text = text
    text.withUTF8 { putString(UnsafeRawBufferPointer($0)) }
  }
  public mutating func putString(_ bytes: [UInt8]) { bytes.withUnsafeBytes { putString($0) } }

  public mutating func putBinary(_ bytes: UnsafeRawBufferPointer) {
    let n = min(bytes.count, Int(UInt32.max))
    reserve(n &+ 5)
    switch n {
    case ..<0x100:
      uncheckedAppend(0xc4)
      uncheckedAppend(UInt8(truncatingIfNeeded: n))
    case ..<0x1_0000:
      uncheckedAppend(0xc5)
      uncheckedBigEndian(UInt16(truncatingIfNeeded: n))
    default:
      uncheckedAppend(0xc6)
      uncheckedBigEndian(UInt32(truncatingIfNeeded: n))
    }
    append(UnsafeRawBufferPointer(rebasing: bytes[..<n]))
  }

  public mutating func putExtension(type: Int8, _ bytes: UnsafeRawBufferPointer) {
    let n = min(bytes.count, Int(UInt32.max))
    reserve(n &+ 6)
    switch n {
    case 1, 2, 4, 8, 16: uncheckedAppend(0xd4 + UInt8(truncatingIfNeeded: n.trailingZeroBitCount))
    case ..<0x100:
      uncheckedAppend(0xc7)
      uncheckedAppend(UInt8(truncatingIfNeeded: n))
    case ..<0x1_0000:
      uncheckedAppend(0xc8)
      uncheckedBigEndian(UInt16(truncatingIfNeeded: n))
    default:
      uncheckedAppend(0xc9)
      uncheckedBigEndian(UInt32(truncatingIfNeeded: n))
    }
    uncheckedAppend(UInt8(bitPattern: type))
    append(UnsafeRawBufferPointer(rebasing: bytes[..<n]))
  }

  @inlinable public mutating func putMapHeader(_ n: Int) {
    reserve(5)
    advance(to: MessagePack.putHeader(fix: 0x80, n, end))
  }
  @inlinable public mutating func putArrayHeader(_ n: Int) {
    reserve(5)
    advance(to: MessagePack.putHeader(fix: 0x90, n, end))
  }
}

/// Where a map or an array began whose count was not known then.
public struct ContainerMark: Sendable {
  @usableFromInline let position: Int
  @usableFromInline let fix: UInt8
  @inlinable init(position: Int, fix: UInt8) {
    self.position = position
    self.fix = fix
  }
}

extension ByteWriter {
  /// Where a string begins whose length is not known yet; `endString` writes its header, and moves it when that is long.
  public mutating func beginString() -> Int {
    append(0xa0 as UInt8)
    return count
  }
  public mutating func endString(_ start: Int) {
    let length = count - start
    if length < 32 {
      mutableBytes[start - 1] = 0xa0 | UInt8(truncatingIfNeeded: length)
      return
    }
    let header = length < 0x100 ? 2 : length < 0x1_0000 ? 3 : 5
    reserve(header)
    let text = end - length
    memmove(text + (header - 1), text, length)
    count = start - 1
    advance(to: MessagePack.putStringHeader(length, end))
    count += length
  }

  /// Leaves one byte for the header; every `begin` is matched by one `end`, inner ones first.
  @inlinable public mutating func beginMap() -> ContainerMark { begin(fix: 0x80) }
  @inlinable public mutating func beginArray() -> ContainerMark { begin(fix: 0x90) }

  @inlinable mutating func begin(fix: UInt8) -> ContainerMark {
    let mark = ContainerMark(position: count, fix: fix)
    append(fix)
    return mark
  }

  /// Writes the header of a map of `count` pairs, or an array of `count` elements; over 15 the body moves.
  @inlinable public mutating func end(_ mark: ContainerMark, count n: Int) {
    if n < 16 {
      mutableBytes[mark.position] = mark.fix | UInt8(truncatingIfNeeded: n)
    } else {
      reserve(4)
      let header = mutableBytes.baseAddress! + mark.position  // never empty: begin wrote a byte
      advance(to: MessagePack.widenHeader(header, fix: mark.fix, n, end: end))
    }
  }
}
