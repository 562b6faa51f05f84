import AggCore

/// Writes protocol buffers' binary form: what a remote-write request needs of it, some eighty lines instead of a dependency
/// with a code generator. Source: the encoding page of protobuf.dev.
struct ProtobufWriter: ~Copyable {
  var out: ByteWriter
  init(capacity: Int = 4096) { out = ByteWriter(capacity: capacity) }

  enum Wire: UInt64 {
    case varint = 0
    case fixed64 = 1
    case bytes = 2
  }

  mutating func varint(_ value: UInt64) { Self.varint(value, into: &out) }

  static func varint(_ value: UInt64, into out: inout ByteWriter) {
    var rest = value
    out.reserve(10)
    while rest >= 0x80 {
      out.uncheckedAppend(UInt8(truncatingIfNeeded: rest) | 0x80)
      rest >>= 7
    }
    out.uncheckedAppend(UInt8(truncatingIfNeeded: rest))
  }
  static func varintSize(_ value: UInt64) -> Int { max(1, (64 - value.leadingZeroBitCount + 6) / 7) }

  mutating func key(_ field: UInt64, _ wire: Wire) { varint(field << 3 | wire.rawValue) }

  /// A zero is proto3's default and is not written.
  mutating func int64(_ field: UInt64, _ value: Int64) {
    if value == 0 { return }
    key(field, .varint)
    varint(UInt64(bitPattern: value))
  }
  /// All bits of it: NaN has a payload that says "stale". A positive zero is not written.
  mutating func double(_ field: UInt64, _ value: Double) {
    if value.bitPattern == 0 { return }
    key(field, .fixed64)
    out.reserve(8)
    out.uncheckedBigEndian(value.bitPattern.byteSwapped)
  }
  mutating func bytes(_ field: UInt64, _ value: UnsafeRawBufferPointer) {
    key(field, .bytes)
    varint(UInt64(value.count))
    out.append(value)
  }
  mutating func string(_ field: UInt64, _ value: String) {
    var value = value
    value.withUTF8 { bytes(field, UnsafeRawBufferPointer($0)) }
  }
  /// An embedded message, built beside: its length comes before it.
  mutating func message(_ field: UInt64, _ scratch: borrowing ProtobufWriter) { bytes(field, scratch.out.bytes) }
  mutating func removeAll() { out.removeAll() }
}
