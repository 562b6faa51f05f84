import AggCore

extension RubyParser {
  /// A number whose sign was taken.
  mutating func number(isNegative: Bool = false) throws(ExpressionError) -> RubyValue {
    let sign = isNegative ? "-" : ""
    let start = at
    if byte == UInt8(ascii: "0"), let c = byte(1), let radix = [UInt8(ascii: "x"): 16, UInt8(ascii: "b"): 2, UInt8(ascii: "o"): 8][c | 0x20] {
      at += 2
      guard let value = Int64(sign + word().filter { $0 != "_" }, radix: radix) else { throw error("is no number of 64 bits", at: start) }
      return .int(value)
    }
    var digits = takeDigits()
    var isFloat = false
    if byte == UInt8(ascii: "."), Self.isDigit(byte(1)) {
      at += 1
      isFloat = true
      digits += "." + takeDigits()
    }
    if let c = byte, c | 0x20 == UInt8(ascii: "e"), Self.isDigit(byte(1)) || ("+-".utf8.contains(byte(1) ?? 0) && Self.isDigit(byte(2))) {
      at += 1
      isFloat = true
      digits += "e"
      if let sign = byte, !Self.isDigit(sign) {
        digits.unicodeScalars.append(UnicodeScalar(sign))
        at += 1
      }
      digits += takeDigits()
    }
    if Self.isWord(byte) { throw unexpected() }
    if isFloat { return .double(Double(sign + digits) ?? .infinity) }
    if digits.utf8.count > 1, digits.utf8.first == UInt8(ascii: "0") {
      guard let value = Int64(sign + digits, radix: 8) else { throw error("is no octal number", at: start) }
      return .int(value)
    }
    guard let value = Int64(sign + digits) else { throw error("a number above 64 bits is not supported", at: start) }
    return .int(value)
  }

  private mutating func takeDigits() -> String {
    var digits = ""
    while let c = byte {
      if Self.isDigit(c) { digits.unicodeScalars.append(UnicodeScalar(c)) } else if c != UInt8(ascii: "_") || !Self.isDigit(byte(1)) { break }
      at += 1
    }
    return digits
  }

  mutating func symbol() throws(ExpressionError) -> Node {
    at += 1
    if byte == UInt8(ascii: "\"") {
      at += 1
      let node = try text(close: UInt8(ascii: "\""), open: nil)
      if let literal = node as? Literal { return try make(Literal(.symbol(literal.value.displayBytes))) }
      guard let text = node as? InterpolationNode else { throw unexpected() }
      return try make(SymbolNode(text), text)
    }
    if byte == UInt8(ascii: "'") {
      at += 1
      return try make(Literal(.symbol(try rawText(close: UInt8(ascii: "'"), open: nil))))
    }
    let start = at
    _ = word()
    if at == start {
      while let c = byte, "+-*/%<>=~^|&[]!".utf8.contains(c) { _ = c; at += 1 }
    } else if let c = byte, c == UInt8(ascii: "?") || c == UInt8(ascii: "!"), byte(1) != UInt8(ascii: "=") {
      at += 1
    }
    if at == start || Self.isDigit(bytes[start]) { throw unexpected() }
    return try make(Literal(.symbol(Array(bytes[start..<at]))))
  }

  /// `%w[…]`, `%i[…]`, `%q(…)`, `%Q(…)`, `%(…)`, `%r{…}`.
  mutating func percent() throws(ExpressionError) -> Node {
    at += 1
    var kind = UInt8(ascii: "Q")
    if let c = byte, Self.isWord(c) {
      kind = c
      at += 1
    }
    guard let open = byte, !Self.isWord(open), open > 0x20 else { throw unexpected() }
    at += 1
    let pairs: [UInt8: UInt8] = [0x28: 0x29, 0x5b: 0x5d, 0x7b: 0x7d, 0x3c: 0x3e]
    let close = pairs[open] ?? open
    let nests = close == open ? nil : open
    switch kind {
    case UInt8(ascii: "Q"): return try text(close: close, open: nests)
    case UInt8(ascii: "q"): return try make(Literal(RubyValue(try rawText(close: close, open: nests))))
    case UInt8(ascii: "r"): return try regexp(close: close, open: nests)
    case UInt8(ascii: "w"), UInt8(ascii: "i"), UInt8(ascii: "W"):
      let words = try rawText(close: close, open: nests).split { RubyText.isSpace($0) }
      var elements: Arguments = []
      for word in words { elements.append((try make(Literal(kind == UInt8(ascii: "i") ? .symbol(Array(word)) : RubyValue(Array(word)))), false)) }
      return try make(ArrayNode(elements), of: elements.map(\.node))
    default: throw unexpected()
    }
  }

  /// In single quotes: only the quote and the backslash are escaped.
  mutating func rawText(close: UInt8, open: UInt8?) throws(ExpressionError) -> [UInt8] {
    let start = at
    var out: [UInt8] = []
    var level = 0
    while let c = byte {
      at += 1
      if c == UInt8(ascii: "\\"), let next = byte {
        at += 1
        if next != close, next != UInt8(ascii: "\\"), next != open { out.append(c) }
        out.append(next)
        continue
      }
      if c == close {
        if level == 0 { return out }
        level -= 1
      } else if c == open {
        level += 1
      }
      out.append(c)
    }
    throw error("lacks the end of the text that begins here", at: start - 1)
  }

  /// In double quotes, up to `close`.
  mutating func text(close: UInt8, open: UInt8?) throws(ExpressionError) -> Node {
    try nested { p throws(ExpressionError) in
      let parts = try p.textParts(close: close, open: open, isRegexp: false)
      return try p.textNode(parts)
    }
  }

  /// The whole text as if it stood in double quotes.
  mutating func interpolatedText() throws(ExpressionError) -> Node { try textNode(textParts(close: nil, open: nil, isRegexp: false)) }

  private func textNode(_ parts: [Node]) throws(ExpressionError) -> Node {
    if parts.isEmpty { return try make(Literal(RubyValue([UInt8]()))) }
    if parts.count == 1, let literal = parts[0] as? Literal, case .string = literal.value { return literal }
    return try make(InterpolationNode(parts), of: parts)
  }

  private mutating func textParts(close: UInt8?, open: UInt8?, isRegexp: Bool) throws(ExpressionError) -> [Node] {
    let start = at
    var parts: [Node] = []
    var out: [UInt8] = []
    var level = 0
    func flush(_ parser: borrowing RubyParser, _ parts: inout [Node], _ out: inout [UInt8]) throws(ExpressionError) {
      if !out.isEmpty { parts.append(try parser.make(Literal(RubyValue(out)))) }
      out = []
    }
    while let c = byte {
      at += 1
      if c == UInt8(ascii: "\\"), let next = byte {
        if isRegexp {
          at += 1
          if next != UInt8(ascii: "/") { out.append(c) }
          out.append(next)
        } else {
          try escape(&out)
        }
      } else if c == UInt8(ascii: "#"), byte == UInt8(ascii: "{") {
        at += 1
        try flush(self, &parts, &out)
        let node = try statements { $0.byte == UInt8(ascii: "}") }
        try expect("}", "of '#{'")
        parts.append(node)
      } else {
        if c == close {
          if level == 0 {
            try flush(self, &parts, &out)
            return parts
          }
          level -= 1
        } else if c == open {
          level += 1
        }
        out.append(c)
      }
    }
    if close != nil { throw error("lacks the end of the text that begins here", at: start - 1) }
    try flush(self, &parts, &out)
    return parts
  }

  /// After a backslash in double quotes.
  private mutating func escape(_ out: inout [UInt8]) throws(ExpressionError) {
    guard let c = byte else { return }
    at += 1
    func hex(_ c: UInt8?) -> Int? { c.flatMap { Int(String(decoding: [$0], as: UTF8.self), radix: 16) } }
    switch c {
    case UInt8(ascii: "n"): out.append(0x0a)
    case UInt8(ascii: "t"): out.append(0x09)
    case UInt8(ascii: "r"): out.append(0x0d)
    case UInt8(ascii: "e"): out.append(0x1b)
    case UInt8(ascii: "s"): out.append(0x20)
    case UInt8(ascii: "a"): out.append(0x07)
    case UInt8(ascii: "b"): out.append(0x08)
    case UInt8(ascii: "f"): out.append(0x0c)
    case UInt8(ascii: "v"): out.append(0x0b)
    case 0x0a: break
    case UInt8(ascii: "0")...UInt8(ascii: "7"):
      var value = Int(c - 48)
      var n = 1
      while n < 3, let d = byte, d >= 48, d <= 55 {
        value = value * 8 + Int(d - 48)
        at += 1
        n += 1
      }
      out.append(UInt8(truncatingIfNeeded: value))
    case UInt8(ascii: "x"):
      guard let high = hex(byte) else { throw error("'\\x' needs hexadecimal digits") }
      at += 1
      var value = high
      if let low = hex(byte) {
        value = value * 16 + low
        at += 1
      }
      out.append(UInt8(truncatingIfNeeded: value))
    case UInt8(ascii: "u"):
      var digits = ""
      if take("{") {
        while let d = byte, d != UInt8(ascii: "}") {
          digits.unicodeScalars.append(UnicodeScalar(d))
          at += 1
        }
        try expect("}", "of '\\u{'")
      } else {
        while digits.utf8.count < 4, let d = byte, hex(d) != nil {
          digits.unicodeScalars.append(UnicodeScalar(d))
          at += 1
        }
      }
      for part in digits.split(separator: " ") {
        guard let value = UInt32(part, radix: 16), let scalar = UnicodeScalar(value) else { throw error("'\\u' needs a character's number") }
        out += Array(String(Character(scalar)).utf8)
      }
    default: out.append(c)
    }
  }

  /// After the opening slash.
  mutating func regexp(close: UInt8, open: UInt8?) throws(ExpressionError) -> Node {
    let start = at
    let parts = try nested { p throws(ExpressionError) in try p.textParts(close: close, open: open, isRegexp: true) }
    var options: Regexp.Options = []
    while let c = byte, c >= 0x61, c <= 0x7a {
      switch c {
      case UInt8(ascii: "i"): options.insert(.ignoreCase)
      case UInt8(ascii: "m"): options.insert(.multiline)
      case UInt8(ascii: "x"): options.insert(.extended)
      case UInt8(ascii: "o"), UInt8(ascii: "u"), UInt8(ascii: "n"): break
      default: throw error("'\(UnicodeScalar(c))' is no option of a regular expression")
      }
      at += 1
    }
    let node = try textNode(parts)
    guard let literal = node as? Literal else {
      let text = if let found = node as? InterpolationNode { found } else { try make(InterpolationNode([node]), node) }
      return try make(RegexpNode(text, options), text)
    }
    do throws(ConfigValueError) {
      return Literal(.regexp(RubyRegexp(try Regexp(String(decoding: literal.value.displayBytes, as: UTF8.self), options: options))))
    } catch {
      throw self.error(error.message, at: start)
    }
  }
}
