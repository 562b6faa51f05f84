/// `upcase`, `downcase`, `capitalize`, `swapcase`.
enum RubyCase {
  static func convert(_ text: RubyString, _ method: Method) -> [UInt8] {
    if text.isBinary || RubyText.isASCII(text.bytes) { return ascii(text.bytes, method) }
    guard RubyText.isValid(text.bytes) else { return ascii(text.bytes, method) }
    let string = String(decoding: text.bytes, as: UTF8.self)
    var out = ""
    out.reserveCapacity(text.bytes.count)
    var isFirst = true
    for scalar in string.unicodeScalars {
      let properties = scalar.properties
      switch method {
      case .upcase: out += properties.uppercaseMapping
      case .downcase: out += properties.lowercaseMapping
      case .capitalize: out += isFirst ? properties.titlecaseMapping : properties.lowercaseMapping
      default: out += properties.isUppercase ? properties.lowercaseMapping : properties.uppercaseMapping
      }
      isFirst = false
    }
    return Array(out.utf8)
  }

  private static func ascii(_ bytes: [UInt8], _ method: Method) -> [UInt8] {
    @inline(__always) func upper(_ c: UInt8) -> UInt8 { c &- 0x61 < 26 ? c & 0xdf : c }
    @inline(__always) func lower(_ c: UInt8) -> UInt8 { c &- 0x41 < 26 ? c | 0x20 : c }
    return [UInt8](unsafeUninitializedCapacity: bytes.count) { out, count in
      count = bytes.count
      switch method {
      case .upcase: for i in bytes.indices { out.initializeElement(at: i, to: upper(bytes[i])) }
      case .downcase: for i in bytes.indices { out.initializeElement(at: i, to: lower(bytes[i])) }
      case .capitalize: for i in bytes.indices { out.initializeElement(at: i, to: i == 0 ? upper(bytes[i]) : lower(bytes[i])) }
      default: for i in bytes.indices { out.initializeElement(at: i, to: bytes[i] &- 0x61 < 26 ? upper(bytes[i]) : lower(bytes[i])) }
      }
    }
  }
}
