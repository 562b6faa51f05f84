extension ConfigJSON {
  /// Where and why a text is not JSON.
  struct Mistake: Error {
    var offset: Int
    var message: String
  }

  /// Reads one JSON text as Ruby's JSON does: `//` and `/* */` comments are allowed, trailing commas are not.
  public init(parsing text: String) throws(ConfigValueError) {
    do throws(Mistake) { self = try ConfigJSON.parse(Array(text.utf8)) } catch { throw ConfigValueError("is not valid JSON: \(error.message)") }
  }

  static func parse(_ bytes: [UInt8]) throws(Mistake) -> ConfigJSON {
    var reader = JSONReader(bytes: bytes)
    let value = try reader.value(depth: 0)
    try reader.space()
    if reader.at < bytes.count { throw reader.mistake("something follows its end") }
    return value
  }
}

private struct JSONReader {
  let bytes: [UInt8]
  var at = 0

  func mistake(_ message: String, _ offset: Int? = nil) -> ConfigJSON.Mistake { ConfigJSON.Mistake(offset: offset ?? at, message: message) }
  var byte: UInt8? { at < bytes.count ? bytes[at] : nil }

  mutating func space() throws(ConfigJSON.Mistake) {
    while let c = byte {
      if c == 0x20 || (c >= 0x09 && c <= 0x0d && c != 0x0b) { at += 1; continue }
      guard c == UInt8(ascii: "/") else { return }
      let start = at
      if at + 1 < bytes.count, bytes[at + 1] == UInt8(ascii: "/") {
        while let c = byte, c != 0x0a { _ = c; at += 1 }
      } else if at + 1 < bytes.count, bytes[at + 1] == UInt8(ascii: "*") {
        at += 2
        while at + 1 < bytes.count, !(bytes[at] == UInt8(ascii: "*") && bytes[at + 1] == UInt8(ascii: "/")) { at += 1 }
        guard at + 1 < bytes.count else { throw mistake("a comment is not closed", start) }
        at += 2
      } else {
        throw mistake("unexpected '/'")
      }
    }
  }

  // 100 levels is the limit of Ruby's JSON too.
  mutating func value(depth: Int) throws(ConfigJSON.Mistake) -> ConfigJSON {
    try space()
    guard let c = byte else { throw mistake("a value is missing") }
    switch c {
    case UInt8(ascii: "{"), UInt8(ascii: "["):
      guard depth < 100 else { throw mistake("it is nested more than 100 levels deep") }
      return c == UInt8(ascii: "{") ? try object(depth + 1) : try array(depth + 1)
    case UInt8(ascii: "\""): return .string(try string())
    case UInt8(ascii: "-"), 0x30...0x39: return try number()
    default:
      let start = at
      while let c = byte, isWord(c) { _ = c; at += 1 }
      switch String(decoding: bytes[start..<at], as: UTF8.self) {
      case "true": return .bool(true)
      case "false": return .bool(false)
      case "null": return .null
      case "":
        if c == UInt8(ascii: "]") || c == UInt8(ascii: "}") { throw mistake("a value is missing before '\(Character(UnicodeScalar(c)))'; remove the comma before it") }
        throw mistake("unexpected '\(printable(c))'; strings stand in double quotes", start)
      case let word: throw mistake("'\(word)' is no value; strings stand in double quotes", start)
      }
    }
  }

  func isWord(_ c: UInt8) -> Bool { c >= 0x80 || c == 0x5f || (c >= 0x30 && c <= 0x39) || (c | 0x20 >= 0x61 && c | 0x20 <= 0x7a) }
  func printable(_ c: UInt8) -> String { c >= 0x20 && c < 0x7f ? String(UnicodeScalar(c)) : "byte \(c)" }

  mutating func array(_ depth: Int) throws(ConfigJSON.Mistake) -> ConfigJSON {
    at += 1
    var items: [ConfigJSON] = []
    try space()
    if byte == UInt8(ascii: "]") { at += 1; return .array(items) }
    while true {
      items.append(try value(depth: depth))
      try space()
      if byte == UInt8(ascii: "]") { at += 1; return .array(items) }
      guard byte == UInt8(ascii: ",") else { throw mistake("',' or ']' is missing between items") }
      at += 1
    }
  }

  mutating func object(_ depth: Int) throws(ConfigJSON.Mistake) -> ConfigJSON {
    at += 1
    var pairs: [ConfigJSON.Pair] = []
    var index: [String: Int] = [:]
    try space()
    if byte == UInt8(ascii: "}") { at += 1; return .object(pairs) }
    while true {
      try space()
      guard byte == UInt8(ascii: "\"") else {
        throw mistake(byte == UInt8(ascii: "}") ? "a key is missing before '}'; remove the comma before it" : "keys stand in double quotes")
      }
      let key = try string()
      try space()
      guard byte == UInt8(ascii: ":") else { throw mistake("':' is missing after \"\(key)\"") }
      at += 1
      let value = try value(depth: depth)
      if let i = index[key] { pairs[i].value = value } else {
        index[key] = pairs.count
        pairs.append(.init(key, value))
      }
      try space()
      if byte == UInt8(ascii: "}") { at += 1; return .object(pairs) }
      guard byte == UInt8(ascii: ",") else { throw mistake("',' or '}' is missing between pairs") }
      at += 1
    }
  }

  mutating func number() throws(ConfigJSON.Mistake) -> ConfigJSON {
    let start = at
    var isInteger = true
    if byte == UInt8(ascii: "-") { at += 1 }
    let first = at
    while let c = byte, c >= 0x30, c <= 0x39 { _ = c; at += 1 }
    guard at > first else { throw mistake("'-' stands without digits", start) }
    if at - first > 1, bytes[first] == 0x30 { throw mistake("a number cannot start with 0; use a string", start) }
    if byte == UInt8(ascii: ".") {
      isInteger = false
      at += 1
      let fraction = at
      while let c = byte, c >= 0x30, c <= 0x39 { _ = c; at += 1 }
      if at == fraction { throw mistake("a digit is missing after '.'") }
    }
    if let c = byte, c | 0x20 == UInt8(ascii: "e") {
      isInteger = false
      at += 1
      if byte == UInt8(ascii: "+") || byte == UInt8(ascii: "-") { at += 1 }
      let exponent = at
      while let c = byte, c >= 0x30, c <= 0x39 { _ = c; at += 1 }
      if at == exponent { throw mistake("a digit is missing in the exponent") }
    }
    let text = String(decoding: bytes[start..<at], as: UTF8.self)
    if isInteger, let value = Int(text) { return .int(value) }
    guard let value = Double(text) else { throw mistake("'\(text)' is no number", start) }
    return .double(value)
  }

  mutating func string() throws(ConfigJSON.Mistake) -> String {
    let start = at
    at += 1
    var out: [UInt8] = []
    while let c = byte {
      at += 1
      if c == UInt8(ascii: "\"") { return String(decoding: out, as: UTF8.self) }
      if c == UInt8(ascii: "\\") { try escape(&out); continue }
      if c < 0x20 { throw mistake("a line break or control character stands in a string; write \\n", at - 1) }
      out.append(c)
    }
    throw mistake("a string is not closed", start)
  }

  mutating func escape(_ out: inout [UInt8]) throws(ConfigJSON.Mistake) {
    guard let c = byte else { throw mistake("a string is not closed") }
    at += 1
    switch c {
    case UInt8(ascii: "n"): out.append(0x0a)
    case UInt8(ascii: "t"): out.append(0x09)
    case UInt8(ascii: "r"): out.append(0x0d)
    case UInt8(ascii: "b"): out.append(0x08)
    case UInt8(ascii: "f"): out.append(0x0c)
    case UInt8(ascii: "u"):
      guard var code = unit() else { throw mistake("\\u needs four hexadecimal digits") }
      if code & 0xfc00 == 0xd800, at + 1 < bytes.count, bytes[at] == UInt8(ascii: "\\"), bytes[at + 1] == UInt8(ascii: "u") {
        let before = at
        at += 2
        if let low = unit(), low & 0xfc00 == 0xdc00 { code = 0x10000 + ((code & 0x3ff) << 10 | (low & 0x3ff)) } else { at = before }
      }
      out += Array(String(UnicodeScalar(code) ?? "\u{fffd}").utf8)
    default: out.append(c)  // `\"`, `\\`, `\/`, and Ruby passes any other character through
    }
  }

  mutating func unit() -> UInt32? {
    guard at + 4 <= bytes.count else { return nil }
    var code: UInt32 = 0
    for i in at..<at + 4 {
      guard let digit = hexValue(bytes[i]) else { return nil }
      code = code << 4 | UInt32(digit)
    }
    at += 4
    return code
  }
}
