public import Glibc

/// One value inside validated MessagePack bytes, read in place.
///
/// Valid as long as the bytes are: use it inside the closure that handed it out. Nothing is checked again.
public struct ValueView: @unchecked Sendable {  // a view of immutable bytes
  /// The value's first byte.
  public let pointer: UnsafeRawPointer

  @inlinable @inline(__always) public init(unchecked pointer: UnsafeRawPointer) { self.pointer = pointer }

  public enum Kind: Sendable { case null, bool, int, uint, double, string, binary, array, map, ext }

  /// What the value is; `uint` only for what does not fit an Int64.
  @inlinable public var kind: Kind {
    let first = pointer.byte()
    switch first {
    case 0x00...0x7f, 0xe0...0xff, 0xcc, 0xcd, 0xce, 0xd0, 0xd1, 0xd2, 0xd3: return .int
    case 0x80...0x8f, 0xde, 0xdf: return .map
    case 0x90...0x9f, 0xdc, 0xdd: return .array
    case 0xa0...0xbf, 0xd9, 0xda, 0xdb: return .string
    case 0xcf: return pointer.byte(1) < 0x80 ? .int : .uint
    case 0xc2, 0xc3: return .bool
    case 0xca, 0xcb: return .double
    case 0xc4, 0xc5, 0xc6: return .binary
    case 0xc7, 0xc8, 0xc9, 0xd4...0xd8: return .ext
    default: return .null
    }
  }

  /// Where the next value starts.
  @inlinable public var end: UnsafeRawPointer { MessagePack.end(of: pointer) }
  /// The value as it is encoded.
  @inlinable public var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: pointer, count: end - pointer) }

  @inlinable public var isNull: Bool { pointer.byte() == 0xc0 }
  @inlinable public var isMap: Bool { let first = pointer.byte(); return first & 0xf0 == 0x80 || first >= 0xde && first <= 0xdf }

  @inlinable public var bool: Bool? {
    switch pointer.byte() {
    case 0xc2: false
    case 0xc3: true
    default: nil
    }
  }

  /// The integer, when it is one and fits.
  @inlinable public var int64: Int64? {
    let first = pointer.byte()
    switch first {
    case 0x00...0x7f, 0xe0...0xff: return Int64(Int8(bitPattern: first))
    case 0xcc: return Int64(pointer.byte(1))
    case 0xcd: return Int64(pointer.bigEndian(1, as: UInt16.self))
    case 0xce: return Int64(pointer.bigEndian(1, as: UInt32.self))
    case 0xcf: return Int64(exactly: pointer.bigEndian(1, as: UInt64.self))
    case 0xd0: return Int64(Int8(bitPattern: pointer.byte(1)))
    case 0xd1: return Int64(pointer.bigEndian(1, as: Int16.self))
    case 0xd2: return Int64(pointer.bigEndian(1, as: Int32.self))
    case 0xd3: return pointer.bigEndian(1, as: Int64.self)
    default: return nil
    }
  }
  @inlinable public var uint64: UInt64? {
    pointer.byte() == 0xcf ? pointer.bigEndian(1, as: UInt64.self) : int64.flatMap { UInt64(exactly: $0) }
  }
  /// The float, when it is one: an integer is not converted.
  @inlinable public var double: Double? {
    switch pointer.byte() {
    case 0xca: Double(Float(bitPattern: pointer.bigEndian(1, as: UInt32.self)))
    case 0xcb: Double(bitPattern: pointer.bigEndian(1, as: UInt64.self))
    default: nil
    }
  }
  /// Integer or float as a Double.
  @inlinable public var number: Double? {
    if let double { return double }
    if let int64 { return Double(int64) }
    return uint64.map { Double($0) }
  }

  /// The content of a string.
  @inlinable public var stringBytes: UnsafeRawBufferPointer? {
    let first = pointer.byte()
    if first & 0xe0 == 0xa0 { return UnsafeRawBufferPointer(start: pointer + 1, count: Int(first & 0x1f)) }
    switch first {
    case 0xd9: return UnsafeRawBufferPointer(start: pointer + 2, count: Int(pointer.byte(1)))
    case 0xda: return UnsafeRawBufferPointer(start: pointer + 3, count: pointer.length16(1))
    case 0xdb: return UnsafeRawBufferPointer(start: pointer + 5, count: pointer.length32(1))
    default: return nil
    }
  }
  @inlinable public var binaryBytes: UnsafeRawBufferPointer? {
    switch pointer.byte() {
    case 0xc4: UnsafeRawBufferPointer(start: pointer + 2, count: Int(pointer.byte(1)))
    case 0xc5: UnsafeRawBufferPointer(start: pointer + 3, count: pointer.length16(1))
    case 0xc6: UnsafeRawBufferPointer(start: pointer + 5, count: pointer.length32(1))
    default: nil
    }
  }
  /// The content of a string or a binary: both are a String to Ruby.
  @inlinable public var textBytes: UnsafeRawBufferPointer? { stringBytes ?? binaryBytes }
  /// The string, with U+FFFD for what is not UTF-8.
  public var string: String? { textBytes.map { String(decoding: $0, as: UTF8.self) } }

  @inlinable public func equals(_ text: StaticString) -> Bool {
    guard let bytes = stringBytes, bytes.count == text.utf8CodeUnitCount else { return false }
    return memcmp(bytes.baseAddress!, text.utf8Start, bytes.count) == 0  // a view's bytes always have an address
  }

  public var ext: (type: Int8, bytes: UnsafeRawBufferPointer)? {
    let first = pointer.byte()
    let header: Int
    switch first {
    case 0xd4...0xd8: header = 2
    case 0xc7: header = 3
    case 0xc8: header = 4
    case 0xc9: header = 6
    default: return nil
    }
    let n = end - pointer - header
    return (Int8(bitPattern: pointer.byte(header - 1)), UnsafeRawBufferPointer(start: pointer + header, count: n))
  }

  /// The value as a time: EventTime (ext type 0 of 8 bytes), an integer or a float of seconds.
  @inlinable public var eventTime: EventTime? {
    let first = pointer.byte()
    if first == 0xd7, pointer.byte(1) == 0 { return EventTime(wire: pointer + 2) }
    if first == 0xc7, pointer.byte(1) == 8, pointer.byte(2) == 0 { return EventTime(wire: pointer + 3) }
    if let seconds = int64 { return EventTime(seconds: seconds) }
    if let seconds = uint64 { return EventTime(seconds: Int64(clamping: seconds)) }
    return double.map { EventTime($0) }
  }

  /// How many elements an array or pairs a map has; 0 for anything else.
  @inlinable public var count: Int { MessagePack.container(pointer).count }

  @inlinable public var map: RecordView? { isMap ? RecordView(unchecked: self) : nil }

  /// Element `index` of an array.
  public func element(_ index: Int) -> ValueView? {
    guard kind == .array, index >= 0 else { return nil }
    let (count, header) = MessagePack.container(pointer)
    guard index < count else { return nil }
    var p = pointer + header
    for _ in 0..<index { p = MessagePack.end(of: p) }
    return ValueView(unchecked: p)
  }

  @inlinable public func forEachElement<E: Error>(_ body: (ValueView) throws(E) -> Void) throws(E) {
    guard kind == .array else { return }
    let (count, header) = MessagePack.container(pointer)
    var p = pointer + header
    for _ in 0..<count {
      let value = ValueView(unchecked: p)
      p = value.end
      try body(value)
    }
  }
}

extension EventTime {
  /// From the 8 bytes of the forward protocol: seconds and nanoseconds, big endian, unsigned.
  @inlinable init(wire p: UnsafeRawPointer) {
    self.init(seconds: Int64(p.bigEndian(0, as: UInt32.self)), nanoseconds: min(p.bigEndian(4, as: UInt32.self), 999_999_999))
  }
}

extension MessagePack {
  /// Where the value at `p` ends; only for validated bytes.
  @inlinable @inline(__always) static func end(of start: UnsafeRawPointer) -> UnsafeRawPointer {
    let first = start.byte()
    if first < 0x80 || first >= 0xe0 { return start + 1 }
    if first >= 0xa0, first < 0xc0 { return start + (1 &+ Int(first & 0x1f)) }
    if first >= 0xc0 {
      let size = fixedSize(first)
      if size != 0 { return start + size }
      if first == 0xd9 { return start + (2 &+ Int(start.byte(1))) }
    }
    return endOfLong(start)
  }

  @inlinable @inline(never) static func endOfLong(_ start: UnsafeRawPointer) -> UnsafeRawPointer {
    var p = start
    var left = 1
    while left > 0 {
      left &-= 1
      let first = p.byte()
      switch first {
      case 0x00...0x7f, 0xe0...0xff, 0xc0...0xc3: p += 1
      case 0xa0...0xbf: p += 1 &+ Int(first & 0x1f)
      case 0xcc, 0xd0: p += 2
      case 0xcd, 0xd1: p += 3
      case 0xce, 0xd2, 0xca: p += 5
      case 0xcf, 0xd3, 0xcb: p += 9
      case 0xd4...0xd8: p += 2 &+ (1 << Int(first &- 0xd4))
      case 0xd9, 0xc4: p += 2 &+ Int(p.byte(1))
      case 0xda, 0xc5: p += 3 &+ p.length16(1)
      case 0xdb, 0xc6: p += 5 &+ p.length32(1)
      case 0xc7: p += 3 &+ Int(p.byte(1))
      case 0xc8: p += 4 &+ p.length16(1)
      case 0xc9: p += 6 &+ p.length32(1)
      default:
        let (count, header) = container(p)
        left &+= first & 0xf0 == 0x80 || first >= 0xde ? count &* 2 : count
        p += header
      }
    }
    return p
  }

  /// Elements or pairs, and the header's size; (0, 1) for what is no container.
  @inlinable @inline(__always) static func container(_ p: UnsafeRawPointer) -> (count: Int, header: Int) {
    let first = p.byte()
    if first & 0xe0 == 0x80 { return (Int(first & 0x0f), 1) }
    switch first {
    case 0xdc, 0xde: return (p.length16(1), 3)
    case 0xdd, 0xdf: return (p.length32(1), 5)
    default: return (0, 1)
    }
  }
}
