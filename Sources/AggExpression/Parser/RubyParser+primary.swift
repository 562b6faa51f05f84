extension RubyParser {
  static let keywords: Set<String> = [
    "if", "unless", "while", "until", "case", "when", "then", "else", "elsif", "end", "do", "and", "or", "not", "nil", "true", "false", "self",
    "begin", "rescue", "ensure", "in", "next", "break", "return", "redo", "retry", "def", "class", "module", "yield", "super", "defined?", "for",
    "alias", "undef", "BEGIN", "END", "__FILE__", "__LINE__", "__method__",
  ]
  /// Words that go on with what came before, so that they begin no argument.
  static let followers: Set<String> = [
    "if", "unless", "while", "until", "when", "then", "else", "elsif", "end", "do", "and", "or", "rescue", "ensure", "in",
  ]
  private static let libraries: Set<String> = [
    "json", "time", "socket", "date", "digest", "uri", "cgi", "cgi/escape", "base64", "securerandom", "yajl", "pathname",
  ]
  private static let functions: Set<String> = ["Integer", "Float", "String", "Array", "format", "sprintf", "rand"]

  /// Names that are given and stay as they are.
  func isInputName(_ name: String) -> Bool {
    switch BoundName(rawValue: name) {
    case .hostname: names.contains(.hostname)
    case .workerID: names.contains(.workerID)
    case .some: names.contains(.event)
    case nil: false
    }
  }

  mutating func primary() throws(ExpressionError) -> Node {
    guard let c = byte else { throw error("ends where a value is needed") }
    switch c {
    case UInt8(ascii: "\""), UInt8(ascii: "'"):
      var parts: [Node] = [try quoted()]
      // Texts side by side are one.
      while true {
        let before = at
        blanks()
        guard byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "'") else {
          at = before
          break
        }
        parts.append(try quoted())
      }
      return parts.count == 1 ? parts[0] : try make(InterpolationNode(parts), of: parts)
    case UInt8(ascii: "0")...UInt8(ascii: "9"): return try make(Literal(number()))
    case UInt8(ascii: "["):
      at += 1
      let elements = try nested { p throws(ExpressionError) in try p.arguments("]").0 }
      return try make(ArrayNode(elements), of: elements.map(\.node))
    case UInt8(ascii: "{"): return try nested { p throws(ExpressionError) in try p.hash() }
    case UInt8(ascii: "("):
      at += 1
      let node = try statements { $0.byte == UInt8(ascii: ")") }
      try expect(")", "of '('")
      return node
    case UInt8(ascii: "/"):
      at += 1
      return try regexp(close: c, open: nil)
    case UInt8(ascii: ":"): return try symbol()
    case UInt8(ascii: "%"): return try percent()
    case UInt8(ascii: "$"): return try global()
    case UInt8(ascii: "`"): throw error("shell commands are not supported")
    case UInt8(ascii: "@"): return try variable()
    case UInt8(ascii: "-") where byte(1) == UInt8(ascii: ">"): throw error("lambdas are not supported")
    case 0x41...0x5a: return try constant()
    case 0x5f, 0x61...0x7a, 0x80...0xff: return try name()
    default: throw unexpected()
    }
  }

  private mutating func quoted() throws(ExpressionError) -> Node {
    let quote = byte ?? 0
    at += 1
    if quote == UInt8(ascii: "\"") { return try text(close: quote, open: nil) }
    return try make(Literal(RubyValue(try rawText(close: quote, open: nil))))
  }

  private mutating func hash() throws(ExpressionError) -> Node {
    at += 1
    let wasInTernary = isInTernary
    isInTernary = false
    defer { isInTernary = wasInTernary }
    var pairs: [(key: Node?, value: Node)] = []
    while true {
      space()
      if take("}") { break }
      if take("**") {
        pairs.append((nil, try expression()))
      } else if let key = try label() {
        space()
        pairs.append((key, try expression()))
      } else {
        let key = try expression()
        try expect("=>", "of a pair")
        space()
        pairs.append((key, try expression()))
      }
      space()
      if take(",") { continue }
      try expect("}", "of the hash")
      break
    }
    return try make(HashNode(pairs), of: pairs.flatMap { [$0.key, $0.value] })
  }

  private mutating func global() throws(ExpressionError) -> Node {
    at += 1
    if let c = byte, c == UInt8(ascii: "~") || c == UInt8(ascii: "&") {
      at += 1
      return try make(MatchNode(c == UInt8(ascii: "~") ? -1 : 0))
    }
    let digits = word()
    guard let n = Int(digits), n > 0, n < 1000 else { throw error("global variables are not supported", at: at - digits.utf8.count - 1) }
    return try make(MatchNode(n))
  }

  // MARK: names

  private mutating func constant() throws(ExpressionError) -> Node {
    let start = at
    var name = word()
    if Self.functions.contains(name),
      byte == UInt8(ascii: "(")
        || (name == "Integer" || name == "Float") && byte == 0x20 && !starts(" =")
          && byte(1).map({ Self.isWord($0) || $0 == UInt8(ascii: "\"") }) == true && !followsKeyword()
    {
      return try function(name)
    }
    while starts("::"), let c = byte(2), c >= 0x41, c <= 0x5a {
      at += 2
      name += "::" + word()
    }
    switch name {
    case "Float::INFINITY": return try make(Literal(.double(.infinity)))
    case "Float::NAN": return try make(Literal(.double(.nan)))
    case "Math::PI": return try make(Literal(.double(.pi)))
    default: break
    }
    guard let module = RubyModule.byName[name] else { throw error("the constant '\(name)' is not supported", at: start) }
    switch module {
    case .time, .date, .dateTime, .eventTime, .engine, .secureRandom: traits.isConstant = false
    default: break
    }
    return try make(Literal(.module(module)))
  }
  private func followsKeyword() -> Bool {
    var copy = self
    copy.blanks()
    return Self.followers.contains(copy.word())
  }

  private mutating func name() throws(ExpressionError) -> Node {
    let start = at
    let name = word()
    if let slot = local(name) { return try make(SlotNode(slot)) }
    switch name {
    case "nil": return try make(Literal(.null))
    case "true": return try make(Literal(.bool(true)))
    case "false": return try make(Literal(.bool(false)))
    case "if", "unless": return try nested { p throws(ExpressionError) in try p.condition(isNegated: name == "unless") }
    case "case": return try nested { p throws(ExpressionError) in try p.caseExpression() }
    case "begin": return try nested { p throws(ExpressionError) in try p.beginExpression() }
    case "next", "break": return try leave(isNext: name == "next", start)
    case "raise": return try raise()
    case "require": return try require()
    case "format", "sprintf", "rand": return try function(name)
    case "use_nil" where names.contains(.configuration): return try make(SignalNode(.useNil))
    case "use_default" where names.contains(.configuration): return try make(SignalNode(.useDefault))
    case "_1", "_2", "it":
      if let block = blocks.last, block.body == nil { return try implicitParameter(name, block) }
    default: break
    }
    if isInputName(name), let bound = BoundName(rawValue: name) {
      if bound == .record { wholeRecords += 1 }
      if bound == .record || bound == .time { traits.isConstant = false }
      return try make(BoundNode(bound))
    }
    if Self.keywords.contains(name) { throw error("'\(name)' is not supported here", at: start) }
    throw error("the name '\(name)' is not known", at: start)
  }

  private mutating func implicitParameter(_ name: String, _ block: Block) throws(ExpressionError) -> Node {
    let wanted = name == "_2" ? 2 : 1
    while block.pattern.targets.count < wanted {
      let slot = slotCount
      slotCount += 1
      block.pattern.targets.append(.slot(slot))
    }
    guard case .slot(let slot) = block.pattern.targets[wanted - 1] else { throw error("the name '\(name)' is not known") }
    return try make(SlotNode(slot))
  }

  /// `@x`, which `prepare_value` sets.
  private mutating func variable() throws(ExpressionError) -> Node {
    let start = at
    at += 1
    let name = word()
    guard let c = name.utf8.first, !Self.isDigit(c) else { throw error("class variables are not supported", at: start) }
    if let index = variables.firstIndex(of: name) { return try make(VariableNode(index, isAssignable: setsVariables)) }
    guard setsVariables else { throw error("'@\(name)' is not set: only prepare_value can do that", at: start) }
    if variables.count >= 100 { throw error("has more than 100 variables") }
    variables.append(name)
    return try make(VariableNode(variables.count - 1, isAssignable: true))
  }

  private mutating func function(_ name: String) throws(ExpressionError) -> Node {
    let (arguments, block) = try callArguments(method: nil)
    if block != nil { throw error("'\(name)' takes no block") }
    let method: Method =
      switch name {
      case "Integer": .kernelInteger
      case "Float": .kernelFloat
      case "String": .kernelString
      case "Array": .kernelArray
      case "rand": .kernelRandom
      default: .kernelFormat
      }
    if method.isRandom { traits.isConstant = false }
    let kernel = try make(Literal(.module(.kernel)))
    return try make(CallNode(kernel, method, arguments, nil, isSafe: false), of: arguments.map(\.node))
  }

  private mutating func require() throws(ExpressionError) -> Node {
    let start = at
    let (arguments, _) = try callArguments(method: nil)
    guard arguments.count == 1, case .string(let text)? = (arguments[0].node as? Literal)?.value else {
      throw error("'require' needs a name in quotes", at: start)
    }
    let name = String(decoding: text.bytes, as: UTF8.self)
    guard Self.libraries.contains(name) else { throw error("require '\(name)' is not supported", at: start) }
    return try make(Literal(.bool(true)))
  }

  private mutating func raise() throws(ExpressionError) -> Node {
    let (arguments, _) = try callArguments(method: nil)
    if case .module(let type)? = (arguments.first?.node as? Literal)?.value, type.inherits(.exception) {
      let message = arguments.dropFirst().first?.node
      return try make(RaiseNode(type, message), message)
    }
    let message = arguments.first?.node
    return try make(RaiseNode(.runtimeError, message), message)
  }

  private mutating func leave(isNext: Bool, _ start: Int) throws(ExpressionError) -> Node {
    guard let block = blocks.last else { throw error("'\(isNext ? "next" : "break")' outside a block", at: start) }
    blanks()
    var value: Node?
    if let c = byte, !";})\n\r".utf8.contains(c), !Self.followers.contains(where: { startsWordText($0) }) { value = try expression() }
    if isNext {
      block.hasNext = true
      return try make(NextNode(value), value)
    }
    block.hasBreak = true
    return try make(BreakNode(value, block), value)
  }
  private func startsWordText(_ word: String) -> Bool {
    var copy = self
    return copy.word() == word
  }
}
