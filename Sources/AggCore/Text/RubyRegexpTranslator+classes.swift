/// A Ruby character class: an intersection (`&&`) of unions of items and nested classes.
struct ClassSet {
  enum Node {
    /// Text that may stand between PCRE2's brackets.
    case item(String)
    case set(ClassSet)
  }
  var isNegated = false
  var unions: [[Node]] = [[]]

  init() {}
  init(_ node: Node) { unions = [[node]] }
  init(negating node: Node) {
    unions = [[node]]
    isNegated = true
  }
}

extension RubyRegexpTranslator {
  mutating func characterClass() throws(ConfigValueError) -> String { emit(try classSet()) }

  /// PCRE2 has neither nested classes nor intersections: they become alternatives and lookaheads around one character.
  func emit(_ set: ClassSet) -> String {
    if set.unions.count == 1, let items = simpleItems(set.unions[0]) {
      return set.isNegated ? "[^\(items)]" : "[\(items)]"
    }
    let unions = set.unions.map(union)
    let all = unions.dropLast().map { "(?=\($0))" }.joined() + (unions.last ?? "(?!)")
    return set.isNegated ? "(?:(?!\(all))(?s:.))" : "(?:\(all))"
  }

  private func union(_ nodes: [ClassSet.Node]) -> String {
    var items = ""
    var others: [String] = []
    for node in nodes {
      switch node {
      case .item(let text): items += text
      case .set(let set):
        if !set.isNegated, set.unions.count == 1, let inner = simpleItems(set.unions[0]) {
          items += inner
        } else {
          others.append(emit(set))
        }
      }
    }
    if !items.isEmpty { others.insert("[\(items)]", at: 0) }
    return others.isEmpty ? "(?!)" : others.count == 1 ? others[0] : "(?:\(others.joined(separator: "|")))"
  }

  private func simpleItems(_ nodes: [ClassSet.Node]) -> String? {
    var items = ""
    for node in nodes {
      switch node {
      case .item(let text): items += text
      case .set(let set):
        guard !set.isNegated, set.unions.count == 1, let inner = simpleItems(set.unions[0]) else { return nil }
        items += inner
      }
    }
    return items.isEmpty ? nil : items
  }

  private mutating func classSet() throws(ConfigValueError) -> ClassSet {
    try enter()
    defer { depth -= 1 }
    var set = ClassSet()
    i += 1
    if peek() == "^" {
      set.isNegated = true
      i += 1
    }
    var isFirst = true
    while let c = peek() {
      defer { isFirst = false }
      if c == "]", !isFirst {
        i += 1
        return set
      }
      var node: ClassSet.Node
      switch c {
      case "[":
        if let bracket = try posixBracket() { node = bracket } else { node = .set(try classSet()) }
      case "&" where peek(1) == "&":
        i += 2
        set.unions.append([])
        continue
      case "\\": node = try classEscape()
      default:
        i += 1
        node = try range(from: c.value)
      }
      set.unions[set.unions.count - 1].append(node)
    }
    throw error("premature end of char-class")
  }

  private mutating func classEscape() throws(ConfigValueError) -> ClassSet.Node {
    i += 1
    guard let c = peek() else { throw error("too short escape sequence") }
    i += 1
    switch c {
    case "d", "D", "w", "W", "s", "S": return .item("\\\(c)")
    case "h": return .item("0-9a-fA-F")
    case "H": return .set(ClassSet(negating: .item("0-9a-fA-F")))
    case "p", "P": return try property(isNegated: c == "P")
    default:
      i -= 1
      return try range(from: try codePoint(inClass: true))
    }
  }

  /// A character, or a range when `-` and another character follow.
  private mutating func range(from low: UInt32) throws(ConfigValueError) -> ClassSet.Node {
    let start = i
    guard peek() == "-", let next = peek(1), next != "]", next != "[" else { return .item(member(low)) }
    i += 1
    var high = next.value
    i += 1
    if next == "\\" {
      guard let kind = peek() else { throw error("too short escape sequence") }
      if "dDwWsShHpP".unicodeScalars.contains(kind) {
        i = start
        return .item(member(low))
      }
      high = try codePoint(inClass: true)
    }
    guard low <= high else { throw error("empty range in char class") }
    return .item("\(member(low))-\(member(high))")
  }

  private mutating func member(_ value: UInt32) -> String {
    if value >= 0x80 {
      needsUTF = true
      return utf ? "\\x{\(hex(value, 1))}" : ""
    }
    return "\\x\(hex(value, 2))"
  }

  /// The character that the escape after the backslash means; `i` stands on its first letter.
  mutating func codePoint(inClass: Bool = false) throws(ConfigValueError) -> UInt32 {
    guard let c = peek() else { throw error("too short escape sequence") }
    i += 1
    switch c {
    case "n": return 10
    case "t": return 9
    case "r": return 13
    case "f": return 12
    case "v": return 11
    case "a": return 7
    case "e": return 27
    case "b" where inClass: return 8
    case "0"..."7":
      i -= 1
      return try digits(radix: 8, maximum: 3) & 0xff
    case "x":
      let byte = try digits(radix: 16, maximum: 2)
      return byte < 0x80 ? byte : try multibyte(byte)
    case "u":
      if peek() == "{" {
        i += 1
        let value = try unicodeEscape(maximum: 6)
        guard peek() == "}" else { throw error("several characters in one \\u{} are not supported inside a class") }
        i += 1
        return value
      }
      let start = i
      let value = try unicodeEscape(maximum: 4)
      guard i - start == 4 else { throw error("invalid Unicode escape") }
      return value
    case "c":
      guard let control = peek() else { throw error("too short control sequence") }
      i += 1
      return control == "?" ? 127 : control.value & 0x1f
    case "C" where peek() == "-":
      guard let control = peek(1) else { throw error("too short control sequence") }
      i += 2
      return control == "?" ? 127 : control.value & 0x1f
    case "M" where peek() == "-": throw error("the escape \\M- is not supported")
    default: return c.value
    }
  }

  mutating func unicodeEscape(maximum: Int) throws(ConfigValueError) -> UInt32 {
    let value = try digits(radix: 16, maximum: maximum)
    guard Unicode.Scalar(value) != nil else { throw error("invalid Unicode escape") }
    return value
  }

  private mutating func digits(radix: UInt32, maximum: Int) throws(ConfigValueError) -> UInt32 {
    var value: UInt32 = 0
    var count = 0
    while count < maximum, let c = peek(), c.isASCII, let digit = Character(c).hexDigitValue, digit < Int(radix) {
      value = value * radix + UInt32(digit)
      i += 1
      count += 1
    }
    if count == 0 { throw error("invalid hex or octal escape") }
    return value
  }

  /// `\xE3\x81\x82` is one character in a UTF-8 expression.
  private mutating func multibyte(_ first: UInt32) throws(ConfigValueError) -> UInt32 {
    var bytes = [UInt8(truncatingIfNeeded: first)]
    while bytes.count < 4 {
      if let text = String(validating: bytes, as: UTF8.self), let scalar = text.unicodeScalars.first { return scalar.value }
      guard peek() == "\\", peek(1) == "x" else { break }
      i += 2
      bytes.append(UInt8(truncatingIfNeeded: try digits(radix: 16, maximum: 2)))
    }
    if let text = String(validating: bytes, as: UTF8.self), let scalar = text.unicodeScalars.first { return scalar.value }
    throw error("invalid multibyte escape")
  }
}
