/// Rewrites a Ruby (Onigmo) regular expression as PCRE2's, so that both match the same.
///
/// Twice for each expression: for text that is UTF-8, and for text that is not, where a byte is a character.
/// Names become `n0`, `n1` … because PCRE2 limits their length and alphabet.
struct RubyRegexpTranslator {
  /// The deepest nesting of groups and classes; recursion follows it.
  static let maximumDepth = 200
  static let maximumLength = 65_536

  let scalars: [Unicode.Scalar]
  let utf: Bool
  var i = 0
  var depth = 0
  /// Names in the order of their definition.
  private(set) var names: [String] = []
  private var ids: [String: Int] = [:]
  private var usesNumbers = false
  /// The expression speaks of characters that bytes cannot hold, so it has no byte form.
  var needsUTF = false
  /// A character beyond ASCII stands in it; some of them (ſ) are ASCII letters when case is ignored.
  private(set) var hasWideLiterals = false

  init(_ source: String, utf: Bool) throws(ConfigValueError) {
    guard source.utf8.count <= Self.maximumLength else {
      throw ConfigValueError("invalid regexp: longer than \(Self.maximumLength) bytes")
    }
    scalars = Array(source.unicodeScalars)
    self.utf = utf
  }

  mutating func translate(extended: Bool) throws(ConfigValueError) -> String {
    let text = try alternation(extended)
    if i < scalars.count { throw error("unmatched close parenthesis") }
    for name in ids.keys where !names.contains(name) { throw error("undefined name <\(name)> reference") }
    if usesNumbers, !names.isEmpty { throw error("numbered backref/call is not allowed beside named groups") }
    return text
  }

  func pcreName(at index: Int) -> String { "n\(ids[names[index]] ?? 0)" }

  func error(_ what: String) -> ConfigValueError {
    var source = String.UnicodeScalarView()
    source.append(contentsOf: scalars)
    return ConfigValueError("invalid regexp: \(what): /\(String(source))/")
  }

  func peek(_ ahead: Int = 0) -> Unicode.Scalar? { i + ahead < scalars.count ? scalars[i + ahead] : nil }

  mutating func enter() throws(ConfigValueError) {
    depth += 1
    if depth > Self.maximumDepth { throw error("nested deeper than \(Self.maximumDepth)") }
  }

  private mutating func skipBlank(_ extended: Bool) {
    guard extended else { return }
    while let c = peek() {
      if c == "#" {
        while let c = peek(), c != "\n" { i += 1 }
      } else if c.value == 32 || (9...13).contains(c.value) {
        i += 1
      } else {
        return
      }
    }
  }

  /// Up to the group's end, which is left for the caller.
  private mutating func alternation(_ extended: Bool) throws(ConfigValueError) -> String {
    try enter()
    defer { depth -= 1 }
    var out = ""
    while true {
      skipBlank(extended)
      guard let c = peek(), c != ")" else { return out }
      if c == "|" {
        out += "|"
        i += 1
        continue
      }
      out += try quantified(try atom(extended), extended)
    }
  }

  private mutating func atom(_ extended: Bool) throws(ConfigValueError) -> String {
    let c = scalars[i]
    switch c {
    case "(": return try group(extended)
    case "[": return try characterClass()
    case "\\": return try escape()
    case ".", "^", "$":
      i += 1
      return String(c)
    case "*", "+", "?": throw error("target of repeat operator is not specified")
    default:
      i += 1
      return literal(c.value)
    }
  }

  mutating func literal(_ value: UInt32) -> String {
    if value < 0x80, let c = Unicode.Scalar(value) {
      if c.properties.isAlphabetic || (48...57).contains(value) || c == "_" { return String(c) }
      return "\\x\(hex(value, 2))"
    }
    hasWideLiterals = true
    if utf { return "\\x{\(hex(value, 1))}" }
    guard let c = Unicode.Scalar(value) else { return "(?!)" }
    return "(?:" + String(c).utf8.map { "\\x\(hex(UInt32($0), 2))" }.joined() + ")"
  }

  func hex(_ value: UInt32, _ width: Int) -> String {
    let digits = String(value, radix: 16)
    return String(repeating: "0", count: max(0, width - digits.count)) + digits
  }

  // MARK: quantifiers

  /// Ruby's `{n}?` is "optionally n times", `{n,m}+` repeats what was repeated, and quantifiers stack.
  private mutating func quantified(_ first: String, _ extended: Bool) throws(ConfigValueError) -> String {
    var text = first
    var isQuantified = false
    while true {
      skipBlank(extended)
      guard let c = peek(), !first.isEmpty else { return text }
      var quantifier: String
      if c == "*" || c == "+" || c == "?" {
        i += 1
        quantifier = String(c)
        if let suffix = peek(), suffix == "?" || suffix == "+" {
          i += 1
          quantifier += String(suffix)
        }
      } else if c == "{", let interval = interval() {
        quantifier = interval.text
        if peek() == "?", !interval.isFixed {
          i += 1
          quantifier += "?"
        }
      } else {
        return text
      }
      text = (isQuantified ? "(?:\(text))" : text) + quantifier
      isQuantified = true
    }
  }

  private mutating func interval() -> (text: String, isFixed: Bool)? {
    let start = i
    i += 1
    let low = number()
    if low != nil, peek() == "}" {
      i += 1
      return ("{\(low ?? 0)}", true)
    }
    if peek() == "," {
      i += 1
      let high = number()
      if peek() == "}", low != nil || high != nil {
        i += 1
        return ("{\(low ?? 0),\(high.map(String.init) ?? "")}", false)
      }
    }
    i = start
    return nil
  }

  mutating func number() -> Int? {
    var value: Int?
    while let c = peek(), (48...57).contains(c.value) {
      value = min((value ?? 0) * 10 + Int(c.value - 48), 1_000_000)
      i += 1
    }
    return value
  }

  // MARK: groups

  private mutating func group(_ extended: Bool) throws(ConfigValueError) -> String {
    i += 1
    guard peek() == "?" else {
      if peek() == "*" { throw error("target of repeat operator is not specified") }
      return try closed("(", extended)
    }
    i += 1
    guard let c = peek() else { throw error("end pattern in group") }
    i += 1
    switch c {
    case ":", "=", "!", ">": return try closed("(?\(c)", extended)
    case "#":
      while let c = peek(), c != ")" { i += c == "\\" ? 2 : 1 }
      guard peek() != nil else { throw error("end pattern in group") }
      i += 1
      return ""
    case "<":
      if let next = peek(), next == "=" || next == "!" {
        i += 1
        return try closed("(?<\(next)", extended)
      }
      return try closed("(?<\(try define(until: ">"))>", extended)
    case "'": return try closed("(?<\(try define(until: "'"))>", extended)
    case "(": return try condition(extended)
    case "~": throw error("the absence operator (?~ is not supported")
    default:
      i -= 1
      return try options(extended)
    }
  }

  private mutating func closed(_ open: String, _ extended: Bool) throws(ConfigValueError) -> String {
    let body = try alternation(extended)
    guard peek() == ")" else { throw error("end pattern with unmatched parenthesis") }
    i += 1
    return open + body + ")"
  }

  /// `(?mix-mix)` holds to the end of its group, alternatives included; `(?mix-mix:…)` for its own text.
  private mutating func options(_ extended: Bool) throws(ConfigValueError) -> String {
    var extended = extended
    var isOn = true
    var on = ""
    var off = ""
    while let c = peek() {
      i += 1
      switch c {
      case "-": isOn = false
      case "x": extended = isOn
      case "i": if isOn { on += "i" } else { off += "i" }
      case "m": if isOn { on += "s" } else { off += "s" }
      case "a", "d": break
      case "u": throw error("the option (?u) is not supported")
      case ":", ")":
        let open = "(?\(on)\(off.isEmpty ? "" : "-" + off):"
        if c == ":" { return try closed(open, extended) }
        return open + (try alternation(extended)) + ")"
      default: throw error("undefined group option")
      }
    }
    throw error("end pattern in group")
  }

  private mutating func condition(_ extended: Bool) throws(ConfigValueError) -> String {
    var test: String
    if let value = number() {
      usesNumbers = true
      test = String(value)
    } else if let c = peek(), c == "<" || c == "'" {
      i += 1
      test = "<\(try reference(until: c == "<" ? ">" : "'"))>"
    } else {
      throw error("invalid conditional pattern")
    }
    guard peek() == ")" else { throw error("invalid conditional pattern") }
    i += 1
    return try closed("(?(\(test))", extended)
  }

  private mutating func name(until end: Unicode.Scalar) throws(ConfigValueError) -> String {
    var view = String.UnicodeScalarView()
    while let c = peek(), c != end, c != ")" {
      view.append(c)
      i += 1
    }
    guard peek() == end, !view.isEmpty else { throw error("group name is empty or not closed") }
    i += 1
    return String(view)
  }

  private mutating func define(until end: Unicode.Scalar) throws(ConfigValueError) -> String {
    let name = try name(until: end)
    guard let first = name.unicodeScalars.first, !(48...57).contains(first.value), first != "-" else {
      throw error("invalid group name <\(name)>")
    }
    if !names.contains(name) { names.append(name) }
    return identifier(name)
  }

  private mutating func reference(until end: Unicode.Scalar) throws(ConfigValueError) -> String {
    identifier(try name(until: end))
  }

  private mutating func identifier(_ name: String) -> String {
    let id = ids[name] ?? ids.count
    ids[name] = id
    return "n\(id)"
  }

  // MARK: escapes

  private mutating func escape() throws(ConfigValueError) -> String {
    i += 1
    guard let c = peek() else { throw error("too short escape sequence") }
    i += 1
    switch c {
    case "A", "z", "Z", "G", "b", "B", "d", "D", "w", "W", "s", "S", "K", "X": return "\\\(c)"
    case "R": return utf ? "\\R" : "(?>\\r\\n|[\\n-\\r])"
    case "h": return "[0-9a-fA-F]"
    case "H": return "[^0-9a-fA-F]"
    case "p", "P": return emit(ClassSet(try property(isNegated: c == "P")))
    case "k":
      guard let open = peek(), open == "<" || open == "'" else { throw error("invalid backref") }
      i += 1
      let end: Unicode.Scalar = open == "<" ? ">" : "'"
      if let number = try groupNumber(until: end) { return "\\g{\(number)}" }
      return "\\k<\(try reference(until: end))>"
    case "g":
      guard let open = peek(), open == "<" || open == "'" else { throw error("invalid group call") }
      i += 1
      let end: Unicode.Scalar = open == "<" ? ">" : "'"
      if let number = try groupNumber(until: end) { return number == "0" ? "(?R)" : "(?\(number))" }
      return "(?&\(try reference(until: end)))"
    case "1"..."9":
      i -= 1
      let start = i
      let value = number() ?? 0
      if value <= 9 || value <= groupsSoFar(start) {
        usesNumbers = true
        return "\\g{\(value)}"
      }
      i = start
      return literal(try codePoint())
    case "u" where peek() == "{":
      i += 1
      return try codePointList()
    default:
      i -= 1
      return literal(try codePoint())
    }
  }

  /// `\u{3042 3044}`; a quantifier after it takes the last character.
  private mutating func codePointList() throws(ConfigValueError) -> String {
    var text = ""
    while let c = peek(), c != "}" {
      if c == " " || c == "\t" {
        i += 1
        continue
      }
      text += literal(try unicodeEscape(maximum: 6))
    }
    guard peek() == "}", !text.isEmpty else { throw error("invalid Unicode escape") }
    i += 1
    return text
  }

  private mutating func groupNumber(until end: Unicode.Scalar) throws(ConfigValueError) -> String? {
    let start = i
    var sign = ""
    if let c = peek(), c == "-" || c == "+" {
      sign = String(c)
      i += 1
    }
    if let value = number(), peek() == end {
      i += 1
      if value != 0 { usesNumbers = true }
      return sign + String(value)
    }
    i = start
    return nil
  }

  /// Plain groups opened before `end`, near enough to tell a two-digit back reference from an octal escape.
  private func groupsSoFar(_ end: Int) -> Int {
    var count = 0
    for j in 0..<end where scalars[j] == "(" && (j == 0 || scalars[j - 1] != "\\") {
      if j + 1 < scalars.count, scalars[j + 1] != "?" { count += 1 }
    }
    return count
  }
}
