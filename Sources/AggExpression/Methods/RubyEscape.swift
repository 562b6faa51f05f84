/// URI, CGI and Base64 forms, and `Regexp.escape`.
enum RubyEscape {
  private static let digits = Array("0123456789ABCDEF".utf8)

  static func regexp(_ bytes: [UInt8]) -> String {
    var out: [UInt8] = []
    for c in bytes {
      switch c {
      case 0x0a: out += Array("\\n".utf8)
      case 0x09: out += Array("\\t".utf8)
      case 0x0d: out += Array("\\r".utf8)
      case 0x0c: out += Array("\\f".utf8)
      case 0x0b: out += Array("\\v".utf8)
      default:
        if " #$()*+-.?[\\]^{|}".utf8.contains(c) { out.append(UInt8(ascii: "\\")) }
        out.append(c)
      }
    }
    return String(decoding: out, as: UTF8.self)
  }

  static func convert(_ bytes: [UInt8], _ module: RubyModule, _ method: Method) -> [UInt8]? {
    switch method {
    case .encodeWWWFormComponent: percent(bytes, keeping: "*-._", plus: true)
    case .escape: percent(bytes, keeping: "-._~*", plus: true)
    case .encodeURIComponent: percent(bytes, keeping: "*-._", plus: false)
    case .decodeWWWFormComponent: unpercent(bytes, plus: true, isStrict: true)
    case .decodeURIComponent: unpercent(bytes, plus: false, isStrict: true)
    case .unescape: unpercent(bytes, plus: true, isStrict: false)
    case .escapeHTML: html(bytes)
    case .unescapeHTML: unhtml(bytes)
    case .encode64: RubyBase64.encode(bytes, lineLength: 45)
    case .strictEncode64: RubyBase64.encode(bytes)
    case .urlsafeEncode64:
      RubyBase64.encode(bytes).map { $0 == UInt8(ascii: "+") ? UInt8(ascii: "-") : $0 == UInt8(ascii: "/") ? UInt8(ascii: "_") : $0 }
    case .decode64: RubyBase64.decode(bytes, isStrict: false)
    case .strictDecode64: RubyBase64.decode(bytes, isStrict: true)
    case .urlsafeDecode64:
      RubyBase64.decode(bytes.map { $0 == UInt8(ascii: "-") ? UInt8(ascii: "+") : $0 == UInt8(ascii: "_") ? UInt8(ascii: "/") : $0 }, isStrict: false)
    default: nil
    }
  }

  private static func percent(_ bytes: [UInt8], keeping: String, plus: Bool) -> [UInt8] {
    let kept = Array(keeping.utf8)
    var out: [UInt8] = []
    for c in bytes {
      if (c >= 48 && c <= 57) || (c | 0x20 >= 0x61 && c | 0x20 <= 0x7a) || kept.contains(c) {
        out.append(c)
      } else if plus, c == 0x20 {
        out.append(UInt8(ascii: "+"))
      } else {
        out += [UInt8(ascii: "%"), digits[Int(c >> 4)], digits[Int(c & 15)]]
      }
    }
    return out
  }

  private static func unpercent(_ bytes: [UInt8], plus: Bool, isStrict: Bool) -> [UInt8]? {
    func value(_ i: Int) -> UInt8? {
      guard i < bytes.count else { return nil }
      switch bytes[i] {
      case 48...57: return bytes[i] - 48
      case 0x61...0x66: return bytes[i] - 0x61 + 10
      case 0x41...0x46: return bytes[i] - 0x41 + 10
      default: return nil
      }
    }
    var out: [UInt8] = []
    var i = 0
    while i < bytes.count {
      if bytes[i] == UInt8(ascii: "%") {
        if let high = value(i + 1), let low = value(i + 2) {
          out.append(high << 4 | low)
          i += 3
          continue
        }
        if isStrict { return nil }
      }
      out.append(plus && bytes[i] == UInt8(ascii: "+") ? 0x20 : bytes[i])
      i += 1
    }
    return out
  }

  private static let entities: [(UInt8, String)] = [
    (UInt8(ascii: "&"), "&amp;"), (UInt8(ascii: "<"), "&lt;"), (UInt8(ascii: ">"), "&gt;"), (UInt8(ascii: "\""), "&quot;"),
    (UInt8(ascii: "'"), "&#39;"),
  ]
  private static func html(_ bytes: [UInt8]) -> [UInt8] {
    bytes.flatMap { c in entities.first { $0.0 == c }.map { Array($0.1.utf8) } ?? [c] }
  }
  private static func unhtml(_ bytes: [UInt8]) -> [UInt8] {
    var out: [UInt8] = []
    var i = 0
    while i < bytes.count {
      if bytes[i] == UInt8(ascii: "&"), let entity = entities.first(where: { bytes[i...].starts(with: $0.1.utf8) }) {
        out.append(entity.0)
        i += entity.1.utf8.count
      } else {
        out.append(bytes[i])
        i += 1
      }
    }
    return out
  }
}

enum RubyBase64 {
  private static let letters = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
  private static let places: [UInt8] = {
    var table = [UInt8](repeating: 255, count: 256)
    for (i, c) in letters.enumerated() { table[Int(c)] = UInt8(i) }
    return table
  }()

  static func hex(_ bytes: [UInt8]) -> [UInt8] {
    let digits = Array("0123456789abcdef".utf8)
    return bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }
  }

  /// `lineLength` source bytes make a line; Ruby's encode64 has 45.
  static func encode(_ bytes: [UInt8], lineLength: Int? = nil) -> [UInt8] {
    var out: [UInt8] = []
    var i = 0
    while i < bytes.count {
      let a = bytes[i]
      let b = i + 1 < bytes.count ? bytes[i + 1] : 0
      let c = i + 2 < bytes.count ? bytes[i + 2] : 0
      out.append(letters[Int(a >> 2)])
      out.append(letters[Int((a & 3) << 4 | b >> 4)])
      out.append(i + 1 < bytes.count ? letters[Int((b & 15) << 2 | c >> 6)] : UInt8(ascii: "="))
      out.append(i + 2 < bytes.count ? letters[Int(c & 63)] : UInt8(ascii: "="))
      i += 3
      if let lineLength, i % lineLength == 0 || i >= bytes.count { out.append(0x0a) }
    }
    return out
  }

  static func decode(_ bytes: [UInt8], isStrict: Bool) -> [UInt8]? {
    var out: [UInt8] = []
    var bits: UInt32 = 0
    var n = 0
    var seen = 0
    for c in bytes {
      if c == UInt8(ascii: "=") { break }
      let value = places[Int(c)]
      if value == 255 {
        if isStrict { return nil }
        continue
      }
      bits = bits << 6 | UInt32(value)
      n += 6
      seen += 1
      if n >= 8 {
        n -= 8
        out.append(UInt8(truncatingIfNeeded: bits >> UInt32(n)))
      }
    }
    if isStrict, bytes.count % 4 != 0 || bytes.count - seen > 2 { return nil }
    return out
  }
}
