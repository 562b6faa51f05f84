import CAgg

/// Reads an expression straight from its bytes: what a character means depends on where it stands, so there are no tokens.
struct RubyParser {
  /// Levels of nesting in the text, and of the tree that comes of it.
  static let maximumNesting = 100
  static let maximumDepth = 250

  let text: String
  let bytes: [UInt8]
  let names: ExpressionNames
  var at = 0
  var nesting = 0
  private let stackBase = Int(agg_stack_place())
  /// Bytes of stack that reading may take: three quarters of what the thread has, 4 MiB at most.
  private let stackRoom = min(4 << 20, Int(agg_stack_left()) / 4 * 3)
  /// Locals that can be seen here; a block adds a level.
  var scopes: [[String: Int]] = [[:]]
  var slotCount = 0
  var blocks: [Block] = []
  /// In `a ? b : c`, where `:c` is no symbol.
  var isInTernary = false
  /// What was met so far.
  var traits = ExpressionTraits()
  /// Where `record` stands as a whole.
  var wholeRecords = 0
  /// Names of `@x`; only `prepare_value` may set them.
  var variables: [String] = []
  var setsVariables = false
  /// The nesting at which the statement began: only there `a = 1, 2` makes an array.
  var statementNesting = 0

  init(_ text: String, _ names: ExpressionNames) throws(ExpressionError) {
    self.text = text
    self.names = names
    bytes = Array(text.utf8)
    if bytes.count > Expression.maximumLength { throw ExpressionError(String(text.prefix(60)) + "…", at: 0, "is longer than 64 KiB") }
  }

  // MARK: errors and nodes

  func error(_ message: String, at offset: Int? = nil) -> ExpressionError {
    ExpressionError(text.utf8.count > 200 ? String(text.prefix(200)) + "…" : text, at: offset ?? at, message)
  }
  func unexpected() -> ExpressionError {
    guard at < bytes.count else { return error("ends where more is needed") }
    let rest = String(decoding: bytes[at..<min(at + 12, bytes.count)], as: UTF8.self)
    return error("'\(rest)' is not understood here")
  }
  func make<N: Node>(_ node: N, _ children: Node?...) throws(ExpressionError) -> N { try make(node, of: children) }
  func make<N: Node>(_ node: N, of children: [Node?]) throws(ExpressionError) -> N {
    var depth = 0
    for child in children { if let child, child.depth > depth { depth = child.depth } }
    node.depth = depth + 1
    if node.depth > Self.maximumDepth { throw error("is nested too deep") }
    return node
  }
  mutating func nested<T>(_ body: (inout RubyParser) throws(ExpressionError) -> T) throws(ExpressionError) -> T {
    nesting += 1
    try checkNesting()
    let result = try body(&self)
    nesting -= 1
    return result
  }

  private func checkNesting() throws(ExpressionError) {
    let place = Int(agg_stack_place())
    if nesting > Self.maximumNesting || (stackBase > place && stackBase - place > stackRoom) { throw error("is nested too deep") }
  }

  // MARK: characters

  var byte: UInt8? { at < bytes.count ? bytes[at] : nil }
  func byte(_ n: Int) -> UInt8? { at + n >= 0 && at + n < bytes.count ? bytes[at + n] : nil }
  static func isWord(_ c: UInt8?) -> Bool {
    guard let c else { return false }
    return c == 0x5f || c >= 0x80 || (c >= 0x30 && c <= 0x39) || (c | 0x20 >= 0x61 && c | 0x20 <= 0x7a)
  }
  static func isDigit(_ c: UInt8?) -> Bool { c.map { $0 >= 0x30 && $0 <= 0x39 } ?? false }

  /// Blanks and continued lines, not the end of a line.
  mutating func blanks() {
    while let c = byte {
      if c == 0x20 || c == 0x09 { at += 1 } else if c == UInt8(ascii: "\\"), byte(1) == 0x0a { at += 2 } else { break }
    }
  }
  /// Blanks, line ends and comments.
  mutating func space() {
    while let c = byte {
      if c == 0x20 || (c >= 0x09 && c <= 0x0d) {
        at += 1
      } else if c == UInt8(ascii: "\\"), byte(1) == 0x0a {
        at += 2
      } else if c == UInt8(ascii: "#"),
        at == 0 || RubyText.isSpace(bytes[at - 1])
      {
        while let c = byte, c != 0x0a { _ = c; at += 1 }
      } else {
        break
      }
    }
  }
  func starts(_ text: StaticString) -> Bool {
    let n = text.utf8CodeUnitCount
    guard at + n <= bytes.count else { return false }
    for i in 0..<n where bytes[at + i] != text.utf8Start[i] { return false }
    return true
  }
  mutating func take(_ text: StaticString) -> Bool {
    guard starts(text) else { return false }
    at += text.utf8CodeUnitCount
    return true
  }
  mutating func expect(_ text: StaticString, _ what: String) throws(ExpressionError) {
    space()
    if !take(text) { throw at < bytes.count ? unexpected() : error("lacks the '\(text)' \(what)") }
  }
  /// A keyword that ends where a word ends.
  func startsWord(_ word: StaticString) -> Bool {
    starts(word) && !Self.isWord(byte(word.utf8CodeUnitCount))
      && !(byte(word.utf8CodeUnitCount) == UInt8(ascii: ":") && byte(word.utf8CodeUnitCount + 1) != UInt8(ascii: ":"))
      && !"?!".utf8.contains(byte(word.utf8CodeUnitCount) ?? 0)
  }
  mutating func takeWord(_ word: StaticString) -> Bool {
    guard startsWord(word) else { return false }
    at += word.utf8CodeUnitCount
    return true
  }
  mutating func word() -> String {
    let start = at
    while Self.isWord(byte) { at += 1 }
    return String(decoding: bytes[start..<at], as: UTF8.self)
  }

  // MARK: locals

  func local(_ name: String) -> Int? {
    for scope in scopes.reversed() { if let slot = scope[name] { return slot } }
    return nil
  }
  mutating func declare(_ name: String, isNew: Bool = false) throws(ExpressionError) -> Int {
    if !isNew, let slot = local(name) { return slot }
    if slotCount >= 200 { throw error("has more than 200 variables") }
    let slot = slotCount
    slotCount += 1
    scopes[scopes.count - 1][name] = slot
    return slot
  }

  // MARK: statements

  /// The whole text.
  mutating func program() throws(ExpressionError) -> Node {
    let node = try statements { _ in false }
    if at < bytes.count { throw unexpected() }
    finishTraits()
    return node
  }

  mutating func finishTraits() {
    if wholeRecords > 0 { traits.fields = nil }
    // What cannot be reached cannot be changed.
    if traits.fields?.isEmpty == true { traits.changesRecord = false }
  }

  /// Statements up to one of the closing words or brackets that `isEnd` knows.
  mutating func statements(_ isEnd: (borrowing RubyParser) -> Bool) throws(ExpressionError) -> Node {
    nesting += 1
    defer { nesting -= 1 }
    try checkNesting()
    let wasInTernary = isInTernary
    isInTernary = false
    defer { isInTernary = wasInTernary }
    var nodes: [Node] = []
    while true {
      while true {
        space()
        if byte == UInt8(ascii: ";") { at += 1 } else { break }
      }
      if at >= bytes.count || isEnd(self) { break }
      nodes.append(try statement())
      blanks()
      if at >= bytes.count || isEnd(self) { break }
      guard let c = byte, c == UInt8(ascii: ";") || c == 0x0a || c == 0x0d || c == UInt8(ascii: "#") else { throw unexpected() }
    }
    if nodes.count == 1 { return nodes[0] }
    return try make(SequenceNode(nodes), of: nodes)
  }

  /// An expression with its modifiers: `… if x`, `… unless x`, `… rescue y`.
  mutating func statement() throws(ExpressionError) -> Node {
    let outer = statementNesting
    statementNesting = nesting
    defer { statementNesting = outer }
    var node = try lowExpression()
    while true {
      blanks()
      if takeWord("if") {
        let condition = try lowExpression()
        node = try make(ConditionNode(condition, node, nil), condition, node)
      } else if takeWord("unless") {
        let condition = try lowExpression()
        node = try make(ConditionNode(condition, nil, node), condition, node)
      } else if takeWord("rescue") {
        node = try rescued(node, try lowExpression())
      } else if startsWord("while") || startsWord("until") {
        throw error("loops are not supported")
      } else {
        return node
      }
    }
  }

  func rescued(_ node: Node, _ other: Node) throws(ExpressionError) -> Node {
    try make(RescueNode(node, [.init(types: [.standardError], slot: nil, body: other)], nil, nil), node, other)
  }

  /// `not`, `and`, `or`.
  mutating func lowExpression() throws(ExpressionError) -> Node {
    var node = try notExpression()
    while true {
      blanks()
      if takeWord("and") {
        space()
        let right = try notExpression()
        node = try make(AndNode(node, right), node, right)
      } else if takeWord("or") {
        space()
        let right = try notExpression()
        node = try make(OrNode(node, right), node, right)
      } else {
        return node
      }
    }
  }

  private mutating func notExpression() throws(ExpressionError) -> Node {
    space()
    if takeWord("not") {
      let operand = try nested { p throws(ExpressionError) in try p.notExpression() }
      return try make(NotNode(operand), operand)
    }
    return try expression()
  }
}
