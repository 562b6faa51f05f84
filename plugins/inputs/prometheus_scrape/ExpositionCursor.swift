import AggCore

/// Walks over one line of a page of metrics.
struct ExpositionCursor {
  let bytes: UnsafeRawBufferPointer
  private var at = 0
  var isAfterBrace = false
  private(set) var lastPlainString: UnsafeRawBufferPointer?

  init(_ bytes: UnsafeRawBufferPointer) {
    // A page with \r\n is not in the format, and is common enough.
    self.bytes = bytes.last == 0x0d ? UnsafeRawBufferPointer(rebasing: bytes.dropLast()) : bytes
  }
  var peek: UInt8? { at < bytes.count ? bytes[at] : nil }
  mutating func advance(_ n: Int) { at = min(at + n, bytes.count) }

  @discardableResult mutating func skipBlanks() -> Bool {
    let start = at
    while at < bytes.count, bytes[at] == 0x20 || bytes[at] == 0x09 { at += 1 }
    return at > start
  }
  /// Up to a blank.
  mutating func word() -> UnsafeRawBufferPointer {
    let start = at
    while at < bytes.count, bytes[at] != 0x20, bytes[at] != 0x09 { at += 1 }
    return UnsafeRawBufferPointer(rebasing: bytes[start..<at])
  }
  /// The bytes of a metric's or label's name, perhaps none.
  mutating func name() -> UnsafeRawBufferPointer? {
    let start = at
    while at < bytes.count {
      switch bytes[at] {
      case 0x41...0x5a, 0x61...0x7a, UInt8(ascii: "_"), UInt8(ascii: ":"): break
      case 0x30...0x39 where at > start: break
      default: return UnsafeRawBufferPointer(rebasing: bytes[start..<at])
      }
      at += 1
    }
    return UnsafeRawBufferPointer(rebasing: bytes[start..<at])
  }
  /// A text in quotes, without its escapes; false where it does not end.
  mutating func string(into out: inout ByteWriter) -> Bool {
    out.removeAll()
    at += 1
    let start = at
    while at < bytes.count {
      let byte = bytes[at]
      if byte == UInt8(ascii: "\"") {
        lastPlainString = UnsafeRawBufferPointer(rebasing: bytes[start..<at])
        at += 1
        return true
      }
      if byte == UInt8(ascii: "\\"), at + 1 < bytes.count {
        switch bytes[at + 1] {
        case UInt8(ascii: "n"): out.append(0x0a as UInt8)
        case UInt8(ascii: "\\"), UInt8(ascii: "\""): out.append(bytes[at + 1])
        default:
          // As Prometheus: an unknown escape is both characters.
          out.append(byte)
          out.append(bytes[at + 1])
        }
        at += 2
        continue
      }
      out.append(byte)
      at += 1
    }
    return false
  }
}
