extension RubyParser {
  private static func isEnd(_ parser: borrowing RubyParser, _ words: [StaticString]) -> Bool {
    for word in words where parser.startsWord(word) { return true }
    return false
  }

  private mutating func body(_ ends: [StaticString]) throws(ExpressionError) -> Node {
    try statements { Self.isEnd($0, ends) }
  }

  private mutating func end(_ what: String) throws(ExpressionError) {
    space()
    if !takeWord("end") { throw at < bytes.count ? unexpected() : error("lacks the 'end' of '\(what)'") }
  }

  /// After `if`, `unless` or `elsif`.
  mutating func condition(isNegated: Bool) throws(ExpressionError) -> Node {
    space()
    let condition = try lowExpression()
    separator("then")
    let then = try body(["elsif", "else", "end"])
    var otherwise: Node?
    space()
    if !isNegated, takeWord("elsif") {
      otherwise = try nested { p throws(ExpressionError) in try p.condition(isNegated: false) }
      return try make(ConditionNode(condition, then, otherwise), condition, then, otherwise)
    }
    if takeWord("else") { otherwise = try body(["end"]) }
    try end("if")
    if isNegated { return try make(ConditionNode(condition, otherwise, then), condition, then, otherwise) }
    return try make(ConditionNode(condition, then, otherwise), condition, then, otherwise)
  }

  private mutating func separator(_ word: StaticString) {
    blanks()
    while let c = byte, c == UInt8(ascii: ";") || RubyText.isSpace(c) { _ = c; at += 1 }
    _ = takeWord(word)
  }

  mutating func caseExpression() throws(ExpressionError) -> Node {
    space()
    var subject: Node?
    if !startsWord("when"), byte != UInt8(ascii: ";") { subject = try lowExpression() }
    separator("")
    var branches: [(tests: [(node: Node, isSplat: Bool)], body: Node)] = []
    if startsWord("in") { throw error("'case … in' is not supported") }
    while takeWord("when") {
      var tests: [(node: Node, isSplat: Bool)] = []
      repeat {
        space()
        let isSplat = take("*")
        tests.append((try expression(), isSplat))
        blanks()
      } while take(",")
      separator("then")
      branches.append((tests, try body(["when", "else", "end"])))
      space()
    }
    var otherwise: Node?
    if takeWord("else") { otherwise = try body(["end"]) }
    try end("case")
    if branches.isEmpty { throw error("'case' needs a 'when'") }
    let children = branches.flatMap { $0.tests.map(\.node) + [$0.body] }
    return try make(CaseNode(subject, branches, otherwise), of: children + [subject, otherwise])
  }

  mutating func beginExpression() throws(ExpressionError) -> Node {
    let ends: [StaticString] = ["rescue", "else", "ensure", "end"]
    let main = try body(ends)
    var handlers: [RescueNode.Handler] = []
    space()
    while takeWord("rescue") {
      var types: [RubyModule] = []
      blanks()
      while let c = byte, c >= 0x41, c <= 0x5a {
        let start = at
        var name = word()
        while starts("::") {
          at += 2
          name += "::" + word()
        }
        guard let type = RubyModule.byName[name], type.inherits(.exception) else { throw error("the error '\(name)' is not known", at: start) }
        types.append(type)
        blanks()
        if !take(",") { break }
        space()
      }
      var slot: Int?
      if take("=>") {
        blanks()
        let name = word()
        guard let c = name.utf8.first, c == 0x5f || (c >= 0x61 && c <= 0x7a) else { throw unexpected() }
        slot = try declare(name)
      }
      separator("then")
      handlers.append(.init(types: types.isEmpty ? [.standardError] : types, slot: slot, body: try body(ends)))
      space()
    }
    var otherwise: Node?
    var cleanup: Node?
    if takeWord("else") {
      otherwise = try body(["ensure", "end"])
      space()
    }
    if takeWord("ensure") { cleanup = try body(["end"]) }
    try end("begin")
    if handlers.isEmpty, otherwise == nil, cleanup == nil { return main }
    return try make(RescueNode(main, handlers, otherwise, cleanup), of: handlers.map(\.body) + [main, otherwise, cleanup])
  }
}
