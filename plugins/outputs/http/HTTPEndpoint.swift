import AggCore

/// The parts of an absolute URL that decide where a request goes.
struct HTTPEndpoint {
  var scheme: String
  var host: String
  var port: Int
  var credentials: (user: String, password: String)?

  /// Nil for what is no `scheme://host…` or has characters that a URL cannot have.
  init?(_ text: String) {
    guard text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f && $0 != 0x22 && $0 != 0x3c && $0 != 0x3e && $0 != 0x5c }) else { return nil }
    let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
    guard parts.count == 2, parts[1].hasPrefix("//") else { return nil }
    scheme = parts[0].lowercased()
    var authority = parts[1].dropFirst(2).prefix { $0 != "/" && $0 != "?" && $0 != "#" }
    if let at = authority.lastIndex(of: "@") {
      let pair = authority[..<at].split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false).map { Self.decoded($0) }
      credentials = (pair[0], pair.count > 1 ? pair[1] : "")
      authority = authority[authority.index(after: at)...]
    }
    var name = authority
    var digits: Substring?
    if authority.hasPrefix("["), let close = authority.firstIndex(of: "]") {
      name = authority[authority.index(after: authority.startIndex)..<close]
      let rest = authority[authority.index(after: close)...]
      guard rest.isEmpty || rest.hasPrefix(":") else { return nil }
      digits = rest.isEmpty ? nil : rest.dropFirst()
    } else if let colon = authority.lastIndex(of: ":") {
      name = authority[..<colon]
      digits = authority[authority.index(after: colon)...]
    }
    guard !name.isEmpty else { return nil }
    host = name.lowercased()
    port = scheme == "https" ? 443 : 80
    if let digits, !digits.isEmpty {
      guard let number = UInt16(digits) else { return nil }
      port = Int(number)
    }
  }

  /// The URL with its password left out, for messages.
  static func masked(_ text: String) -> String {
    guard let at = text.lastIndex(of: "@"), let slashes = text.firstIndex(of: "/"), slashes < at else { return text }
    return text[..<slashes] + "//xxxxxx" + text[at...]
  }

  /// A value that stands in a URL: what could end its part (`?`, `#`, `&`, `%`, `@`, spaces) becomes `%XX`; `/` and `:` stay.
  static func encoded(_ value: String) -> String {
    var out = ""
    for byte in value.utf8 {
      switch byte {
      case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, 0x2d, 0x2e, 0x2f, 0x3a, 0x5f, 0x7e: out.unicodeScalars.append(UnicodeScalar(byte))
      default:
        let hex = String(byte, radix: 16, uppercase: true)
        out += byte < 16 ? "%0" + hex : "%" + hex
      }
    }
    return out
  }

  private static func decoded(_ text: Substring) -> String {
    var bytes: [UInt8] = []
    var rest = text.utf8[...]
    while let byte = rest.popFirst() {
      if byte == 0x25, let hex = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16), rest.count >= 2 {
        bytes.append(hex)
        rest = rest.dropFirst(2)
      } else {
        bytes.append(byte)
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }
}

extension ChunkMetadata {
  /// The same key with every value encoded for a URL.
  var encodedForURL: ChunkMetadata {
    ChunkMetadata(
      tag: tag.map { Tag(HTTPEndpoint.encoded($0.description)) }, timekey: timekey,
      variables: variables.map { Variable(name: $0.name, value: $0.value.map(HTTPEndpoint.encoded)) })
  }
}

/// Standard base64 with padding, for the Authorization header.
func base64(_ bytes: [UInt8]) -> String {
  let digits = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
  var out: [UInt8] = []
  out.reserveCapacity((bytes.count + 2) / 3 * 4)
  var i = 0
  while i < bytes.count {
    let n = bytes.count - i
    let word = UInt32(bytes[i]) << 16 | (n > 1 ? UInt32(bytes[i + 1]) << 8 : 0) | (n > 2 ? UInt32(bytes[i + 2]) : 0)
    out.append(digits[Int(word >> 18)])
    out.append(digits[Int(word >> 12 & 63)])
    out.append(n > 1 ? digits[Int(word >> 6 & 63)] : 0x3d)
    out.append(n > 2 ? digits[Int(word & 63)] : 0x3d)
    i += 3
  }
  return String(decoding: out, as: UTF8.self)
}
