extension RubyParser {
  /// An assignment or what binds closer.
  mutating func expression() throws(ExpressionError) -> Node {
    try nested { p throws(ExpressionError) in try p.assignment() }
  }

  private mutating func assignment() throws(ExpressionError) -> Node {
    space()
    let start = at
    if let name = assignedName() {
      if isInputName(name) { throw error("'\(name)' cannot be assigned", at: start) }
      // Ruby knows the name from here on, its own right side included.
      let slot = try declare(name)
      blanks()
      let operation = try assignmentOperator()
      return try assigned(SlotNode(slot), operation)
    }
    if let targets = try multipleTargets() {
      let value = try arrayOrExpression()
      return try make(MultipleAssignNode(targets, value), value)
    }
    let node = try ternary()
    blanks()
    let before = at
    if node.isAssignable, startsAssignment() {
      let operation = try assignmentOperator()
      return try assigned(node, operation)
    }
    at = before
    return node
  }

  private mutating func assigned(_ place: Node, _ operation: UpdateNode.Operation?) throws(ExpressionError) -> Node {
    let target = (place as? PathNode)?.fallback ?? place
    space()
    if let literal = (target as? IndexNode)?.receiver as? Literal, case .module(let module) = literal.value {
      throw error("\(module.rawValue)[] cannot be assigned")
    }
    var value = operation == nil ? try arrayOrExpression() : try expression()
    blanks()
    if takeWord("rescue") {
      space()
      value = try rescued(value, try expression())
    }
    if !(target is SlotNode) { traits.changesRecord = true }
    if let operation { return try make(UpdateNode(target, operation, value), target, value) }
    return try make(AssignNode(target, value), target, value)
  }

  /// `a = 1, 2` makes an array.
  private mutating func arrayOrExpression() throws(ExpressionError) -> Node {
    space()
    let first = try expression()
    blanks()
    guard byte == UInt8(ascii: ","), nesting == statementNesting + 1 else { return first }
    var elements: [(node: Node, isSplat: Bool)] = [(first, false)]
    while take(",") {
      space()
      elements.append((try expression(), false))
      blanks()
    }
    return try make(ArrayNode(elements), of: elements.map(\.node))
  }

  /// `=`, but not `==`, `=~` or `=>`; or an operator with `=`.
  private func startsAssignment() -> Bool {
    if byte == UInt8(ascii: "=") { return !"=~>".utf8.contains(byte(1) ?? 0) }
    for text in ["||=", "&&=", "**=", "<<=", ">>="] as [StaticString] where starts(text) { return true }
    guard let c = byte, "+-*/%|&^".utf8.contains(c) else { return false }
    return byte(1) == UInt8(ascii: "=") && byte(2) != UInt8(ascii: "=")
  }

  private mutating func assignmentOperator() throws(ExpressionError) -> UpdateNode.Operation? {
    if take("||=") { return .or }
    if take("&&=") { return .and }
    let start = at
    while let c = byte, c != UInt8(ascii: "=") { _ = c; at += 1 }
    let name = String(decoding: bytes[start..<at], as: UTF8.self)
    at += 1
    if name.isEmpty { return nil }
    guard let method = Method(rawValue: name) else { throw error("'\(name)=' is not supported", at: start) }
    return .method(method)
  }

  /// A plain name before an assignment; leaves the position behind the name only then.
  private mutating func assignedName() -> String? {
    let start = at
    guard let c = byte, c == 0x5f || c >= 0x80 || (c >= 0x61 && c <= 0x7a) else { return nil }
    let name = word()
    let end = at
    blanks()
    if startsAssignment(), !Self.keywords.contains(name) {
      at = end
      return name
    }
    at = start
    return nil
  }

  /// `a, b = …`.
  private mutating func multipleTargets() throws(ExpressionError) -> BlockPattern? {
    let start = at
    var found: [(String, Bool)] = []
    while true {
      blanks()
      let isSplat = take("*")
      let name = word()
      guard let c = name.utf8.first, c == 0x5f || (c >= 0x61 && c <= 0x7a), !Self.keywords.contains(name) else { break }
      found.append((name, isSplat))
      blanks()
      if take(",") { continue }
      guard found.count > 1, byte == UInt8(ascii: "="), !"=~>".utf8.contains(byte(1) ?? 0) else { break }
      at += 1
      var pattern = BlockPattern()
      for (name, isSplat) in found {
        if isInputName(name) { throw error("'\(name)' cannot be assigned", at: start) }
        if isSplat { pattern.splat = pattern.targets.count }
        pattern.targets.append(.slot(try declare(name)))
      }
      return pattern
    }
    at = start
    return nil
  }

  /// `a ? b : c`.
  mutating func ternary() throws(ExpressionError) -> Node {
    let condition = try binary(0)
    let before = at
    blanks()
    guard byte == UInt8(ascii: "?"), byte(1) != nil else {
      // A '?' at the start of the next line goes on too.
      at = before
      return condition
    }
    at += 1
    space()
    let wasInTernary = isInTernary
    isInTernary = true
    let then = try expression()
    space()
    isInTernary = wasInTernary
    if !take(":") { throw at < bytes.count ? unexpected() : error("lacks the ':' of '? :'") }
    space()
    let otherwise = try expression()
    return try make(ConditionNode(condition, then, otherwise), condition, then, otherwise)
  }

  private struct Operator {
    let text: StaticString
    let level: Int
    let method: Method?
    var isRight = false
  }
  /// Longest first, where one begins another.
  private static let operators: [Operator] = [
    Operator(text: "...", level: 1, method: nil), Operator(text: "..", level: 1, method: nil),
    Operator(text: "||", level: 2, method: nil), Operator(text: "&&", level: 3, method: nil),
    Operator(text: "<=>", level: 5, method: .compare), Operator(text: "===", level: 5, method: .caseEqual),
    Operator(text: "==", level: 5, method: .equal), Operator(text: "!=", level: 5, method: .notEqual),
    Operator(text: "=~", level: 5, method: .matches), Operator(text: "!~", level: 5, method: .matchesNot),
    Operator(text: "<<", level: 9, method: .shiftLeft), Operator(text: ">>", level: 9, method: .shiftRight),
    Operator(text: "<=", level: 6, method: .lessOrEqual), Operator(text: ">=", level: 6, method: .greaterOrEqual),
    Operator(text: "<", level: 6, method: .less), Operator(text: ">", level: 6, method: .greater),
    Operator(text: "|", level: 7, method: .or), Operator(text: "^", level: 7, method: .xor), Operator(text: "&", level: 8, method: .and),
    Operator(text: "+", level: 10, method: .add), Operator(text: "-", level: 10, method: .subtract),
    Operator(text: "**", level: 13, method: .power, isRight: true), Operator(text: "*", level: 11, method: .multiply),
    Operator(text: "/", level: 11, method: .divide), Operator(text: "%", level: 11, method: .modulo),
  ]

  private func nextOperator() -> Operator? {
    guard let c = byte, ".|&<=>!^+-*/%".utf8.contains(c) else { return nil }
    for candidate in Self.operators where starts(candidate.text) {
      let n = candidate.text.utf8CodeUnitCount
      // `x ||= y` and `&.`, `!x`, `=` are not ours.
      if byte(n) == UInt8(ascii: "="), candidate.level != 5, candidate.level != 6, candidate.level != 1, byte(n + 1) != UInt8(ascii: "="),
        byte(n + 1) != UInt8(ascii: "~")
      {
        return nil
      }
      if candidate.text.description == "&", byte(1) == UInt8(ascii: ".") { return nil }
      return candidate
    }
    return nil
  }

  mutating func binary(_ level: Int) throws(ExpressionError) -> Node {
    var left: Node
    if starts("..") {
      left = try make(Literal(.null))
    } else {
      left = try unary()
    }
    while true {
      let before = at
      blanks()
      // An operator that begins the next line: only `&&` and `||`, which cannot begin an expression.
      if byte == 0x0a || byte == 0x0d {
        let lineEnd = at
        space()
        if !starts("&&") && !starts("||") { at = lineEnd }
      }
      guard let found = nextOperator(), found.level >= level else {
        at = before
        return left
      }
      at += found.text.utf8CodeUnitCount
      if found.level == 1 {
        blanks()
        let excludesEnd = found.text.utf8CodeUnitCount == 3
        let first: Node? = (left as? Literal)?.value.isNull == true ? nil : left
        if let c = byte, !")]};,".utf8.contains(c), c != 0x0a, !startsWord("then") {
          let last = try binary(2)
          left = try make(RangeNode(first, last, excludesEnd: excludesEnd), first, last)
        } else {
          left = try make(RangeNode(first, nil, excludesEnd: excludesEnd), first)
        }
        continue
      }
      space()
      let nextLevel = found.isRight ? found.level : found.level + 1
      let right = try nested { p throws(ExpressionError) in
        p.startsWord("not") ? try p.unsupportedNot() : try p.binary(nextLevel)
      }
      switch (found.level, found.method) {
      case (2, _): left = try make(OrNode(left, right), left, right)
      case (3, _): left = try make(AndNode(left, right), left, right)
      case (_, .shiftLeft?):
        traits.changesRecord = true
        left = try make(ChangeNode(left, .shiftLeft, [(right, false)], nil, .receiver), left, right)
      case (_, let method?): left = try make(BinaryNode(left, method, right), left, right)
      default: throw unexpected()
      }
    }
  }
  private func unsupportedNot() throws(ExpressionError) -> Node { throw unexpected() }

  private mutating func unary() throws(ExpressionError) -> Node {
    if byte == UInt8(ascii: "!"), byte(1) != UInt8(ascii: "~") {
      at += 1
      space()
      let operand = try nested { p throws(ExpressionError) in try p.unary() }
      return try make(NotNode(operand), operand)
    }
    if byte == UInt8(ascii: "-"), !Self.isDigit(byte(1)) {
      at += 1
      space()
      let operand = try nested { p throws(ExpressionError) in try p.binary(12) }
      return try make(CallNode(operand, .negate, [], nil, isSafe: false), operand)
    }
    if byte == UInt8(ascii: "+"), !Self.isDigit(byte(1)) {
      at += 1
      space()
      return try nested { p throws(ExpressionError) in try p.unary() }
    }
    if byte == UInt8(ascii: "-"), Self.isDigit(byte(1)) {
      // -2 ** 2 is -(2 ** 2), any other -2 is a number.
      let start = at
      at += 1
      let value = try number(isNegative: true)
      blanks()
      if starts("**") {
        at = start + 1
        let operand = try binary(13)
        return try make(CallNode(operand, .negate, [], nil, isSafe: false), operand)
      }
      return try postfix(make(Literal(value)))
    }
    return try postfix(primary())
  }
}
