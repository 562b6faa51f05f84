package import AggCore

/// The `chunk` option as Fluentd and agg write it: 16 random bytes in Base64, with a line feed.
package enum ForwardChunkID {
  private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

  /// As Ruby's `Base64.encode64`, which ends with a line feed.
  package static func text(_ id: ChunkID) -> [UInt8] {
    let bytes = id.bytes + [0, 0]
    var out: [UInt8] = []
    out.reserveCapacity(25)
    for start in stride(from: 0, to: 18, by: 3) {
      let word = UInt32(bytes[start]) << 16 | UInt32(bytes[start + 1]) << 8 | UInt32(bytes[start + 2])
      for shift in stride(from: 18, through: 0, by: -6) { out.append(alphabet[Int(word >> UInt32(shift) & 63)]) }
    }
    return out.prefix(22) + [0x3d, 0x3d, 0x0a]
  }

  /// The 16 bytes; nil for any other text. What others put there (Fluent Bit: a hash of the content) does not name one chunk only.
  package static func parse(_ text: UnsafeRawBufferPointer) -> ChunkID? {
    var text = text
    if text.last == 0x0a { text = UnsafeRawBufferPointer(rebasing: text[..<(text.count - 1)]) }
    guard text.count == 24, text[22] == 0x3d, text[23] == 0x3d else { return nil }
    var value: UInt128 = 0
    for byte in text[..<21] {
      guard let digit = digit(byte) else { return nil }
      value = value << 6 | UInt128(digit)
    }
    // 22 digits are 132 bits: the last four are none of the id's.
    guard let last = digit(text[21]), last & 15 == 0 else { return nil }
    value = value << 2 | UInt128(last >> 4)
    return ChunkID(high: UInt64(truncatingIfNeeded: value >> 64), low: UInt64(truncatingIfNeeded: value))
  }

  private static func digit(_ byte: UInt8) -> UInt64? {
    switch byte {
    case 0x41...0x5a: UInt64(byte) - 0x41
    case 0x61...0x7a: UInt64(byte) - 0x61 + 26
    case 0x30...0x39: UInt64(byte) - 0x30 + 52
    case 0x2b: 62
    case 0x2f: 63
    default: nil
    }
  }
}
