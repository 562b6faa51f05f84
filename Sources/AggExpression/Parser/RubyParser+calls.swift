extension RubyParser {
  typealias Arguments = [(node: Node, isSplat: Bool)]

  /// What follows a value: `.name(…)`, `&.name`, `[…]`, blocks.
  mutating func postfix(_ first: Node) throws(ExpressionError) -> Node {
    var node = first
    while true {
      let before = at
      if byte == UInt8(ascii: "[") {
        node = try index(node)
        continue
      }
      if starts("::") { throw error("'::' is not supported here") }
      // A call may go on in the next line.
      space()
      if starts("&."), Self.isWord(byte(2)) || byte(2) == UInt8(ascii: "[") {
        at += 2
        node = try call(node, isSafe: true)
      } else if byte == UInt8(ascii: "."), byte(1) != UInt8(ascii: ".") {
        at += 1
        space()
        node = try call(node, isSafe: false)
      } else {
        at = before
        // `record ['a']`: a name cannot take an argument.
        blanks()
        if byte == UInt8(ascii: "["), at > before, node is BoundNode || node is SlotNode, !isInTernary { continue }
        at = before
        return node
      }
    }
  }

  private mutating func index(_ node: Node) throws(ExpressionError) -> Node {
    at += 1
    let (arguments, _) = try self.arguments("]")
    if let module = (node as? Literal)?.value, case .module(let module) = module, !Self.isSupported(module, .index) {
      throw error("\(module.rawValue)[] is not supported")
    }
    if let bound = node as? BoundNode, bound.name == .record, arguments.count == 1, !arguments[0].isSplat,
      let key = arguments[0].node as? Literal, case .string(let text) = key.value
    {
      use(field: text.bytes)
      return try make(FieldNode(text.bytes))
    }
    if let bound = node as? BoundNode, arguments.count == 1, !arguments[0].isSplat, case .int(let n)? = (arguments[0].node as? Literal)?.value,
      bound.name == .tagParts || bound.name == .tagPrefix || bound.name == .tagSuffix
    {
      return try make(TagPartNode(bound.name, Int(n)))
    }
    if arguments.count == 1, !arguments[0].isSplat, case .string(let text)? = (arguments[0].node as? Literal)?.value {
      if let field = node as? FieldNode {
        let fallback = try make(IndexNode(node, arguments), node)
        return try make(PathNode([field.key, text.bytes], isDig: false, fallback), fallback)
      }
      if let path = node as? PathNode, !path.isDig {
        let fallback = try make(IndexNode(path.fallback, arguments), path.fallback)
        return try make(PathNode(path.keys + [text.bytes], isDig: false, fallback), fallback)
      }
    }
    if arguments.isEmpty { throw error("'[]' needs a key") }
    return try make(IndexNode(node, arguments), of: [node] + arguments.map(\.node))
  }

  private mutating func call(_ receiver: Node, isSafe: Bool) throws(ExpressionError) -> Node {
    let start = at
    if byte == UInt8(ascii: "[") { throw error("'&.[' is not supported; use '&.dig'") }
    var name = word()
    if name.isEmpty { throw unexpected() }
    var isBang = false
    if byte == UInt8(ascii: "?"), Method(rawValue: name + "?") != nil, byte(1) != UInt8(ascii: "=") || byte(2) == UInt8(ascii: "=") {
      name += "?"
      at += 1
    } else if byte == UInt8(ascii: "!"), byte(1) != UInt8(ascii: "=") || byte(2) == UInt8(ascii: "="), byte(1) != UInt8(ascii: "~") {
      isBang = true
      at += 1
    }
    let method: Method
    if isBang {
      guard let found = Method(rawValue: name), let result = found.bang else { throw error("the method '\(name)!' is not supported", at: start) }
      traits.changesRecord = true
      note(found)
      let (arguments, block) = try callArguments(method: found)
      return try make(ChangeNode(receiver, found, arguments, block, result), of: [receiver, block?.body] + arguments.map(\.node))
    }
    guard let found = Method(rawValue: name), found.isNamed else {
      throw error("the method '\(name)' is not supported", at: start)
    }
    method = found
    note(found)
    if case .module(let module)? = (receiver as? Literal)?.value, !Self.isSupported(module, method) {
      throw error("\(module.rawValue).\(name) is not supported", at: start)
    }
    let (arguments, block) = try callArguments(method: method)
    blanks()
    if byte == UInt8(ascii: "="), startsAttribute() { throw error("'.\(name) =' is not supported") }
    let children: [Node?] = [receiver, block?.body] + arguments.map(\.node)
    if method == .withIndex, let block, let base = receiver as? CallNode, base.block == nil, base.method.takesBlock {
      return try indexed(base, arguments, block)
    }
    if method.changesReceiver, !isSafe { return try make(ChangeNode(receiver, method, arguments, block, .receiver), of: children) }
    let call = try make(CallNode(receiver, method, arguments, block, isSafe: isSafe), of: children)
    guard (receiver as? BoundNode)?.name == .record, block == nil else { return call }
    if method == .toJSON, arguments.isEmpty { return try make(RecordJSONNode(call), call) }
    if method == .hasKey || method == .hasKeyOld, arguments.count == 1, !arguments[0].isSplat,
      case .string(let text)? = (arguments[0].node as? Literal)?.value
    {
      use(field: text.bytes)
      return try make(HasFieldNode(text.bytes, call), call)
    }
    var keys: [[UInt8]] = []
    for (node, isSplat) in arguments {
      guard !isSplat, case .string(let text)? = (node as? Literal)?.value else { return call }
      keys.append(text.bytes)
    }
    guard method == .dig, let first = keys.first else { return call }
    use(field: first)
    return try make(PathNode(keys, isDig: true, call), call)
  }

  /// `record` turned out to be only a way to one field.
  private mutating func use(field key: [UInt8]) {
    wholeRecords -= 1
    traits.fields?.insert(key)
  }
  private mutating func note(_ method: Method) {
    if method.mayChangeContainer || method.changesReceiver { traits.changesRecord = true }
    if method.isRandom { traits.isConstant = false }
  }

  private func startsAttribute() -> Bool { !"=~>".utf8.contains(byte(1) ?? 0) }

  /// `a.map.with_index(1) { |x, i| … }`.
  private mutating func indexed(_ base: CallNode, _ arguments: Arguments, _ block: Block) throws(ExpressionError) -> Node {
    let slot = slotCount
    slotCount += 1
    let outer = Block()
    outer.inner = block
    outer.counter = slot
    outer.hasBreak = block.hasBreak
    let start: Node = if let given = arguments.first?.node { given } else { try make(Literal(.int(0))) }
    let set = try make(AssignNode(SlotNode(slot), start), start)
    let call = try make(CallNode(base.receiver, base.method, base.arguments, outer, isSafe: base.isSafe), base.receiver, block.body)
    return try make(SequenceNode([set, call]), set, call)
  }

  /// `(…)`, or arguments without parentheses, and a block.
  mutating func callArguments(method: Method?) throws(ExpressionError) -> (Arguments, Block?) {
    var arguments: Arguments = []
    var block: Block?
    if byte == UInt8(ascii: "(") {
      at += 1
      (arguments, block) = try self.arguments(")")
    } else if startsCommandArgument(method) {
      blanks()
      (arguments, block) = try commandArguments()
    }
    let before = at
    blanks()
    if byte == UInt8(ascii: "{") || startsWord("do") {
      if block != nil { throw error("has two blocks") }
      block = try self.block()
    } else {
      at = before
    }
    return (arguments, block)
  }

  private func startsCommandArgument(_ method: Method?) -> Bool {
    var copy = self
    copy.blanks()
    guard copy.at > at, let c = copy.byte else { return false }
    switch c {
    case UInt8(ascii: "\""), UInt8(ascii: "'"): return true
    case UInt8(ascii: ":"): return !isInTernary && (Self.isWord(copy.byte(1)) || copy.byte(1) == UInt8(ascii: "\""))
    case UInt8(ascii: "/"): return copy.byte(1) != 0x20 && copy.byte(1) != UInt8(ascii: "=") && (method?.takesRegexp ?? false)
    case _ where Self.isWord(c):
      let name = copy.word()
      return !Self.followers.contains(name)
    default: return false
    }
  }

  private mutating func commandArguments() throws(ExpressionError) -> (Arguments, Block?) {
    var list = ArgumentList()
    while true {
      space()
      try argument(&list)
      let before = at
      blanks()
      if !take(",") {
        at = before
        break
      }
    }
    return (try list.finish(&self), list.block)
  }

  /// Up to the closing bracket, which is passed.
  mutating func arguments(_ close: StaticString) throws(ExpressionError) -> (Arguments, Block?) {
    let wasInTernary = isInTernary
    isInTernary = false
    defer { isInTernary = wasInTernary }
    var list = ArgumentList()
    while true {
      space()
      if take(close) { break }
      try argument(&list)
      space()
      if take(",") { continue }
      try expect(close, "of the arguments")
      break
    }
    return (try list.finish(&self), list.block)
  }

  struct ArgumentList {
    var nodes: Arguments = []
    var pairs: [(key: Node?, value: Node)] = []
    var block: Block?
    func finish(_ parser: inout RubyParser) throws(ExpressionError) -> Arguments {
      guard !pairs.isEmpty else { return nodes }
      return nodes + [(try parser.make(HashNode(pairs), of: pairs.flatMap { [$0.key, $0.value] }), false)]
    }
  }

  private mutating func argument(_ list: inout ArgumentList) throws(ExpressionError) {
    if byte == UInt8(ascii: "&") {
      at += 1
      guard take(":") else { throw error("only '&:name' is supported here") }
      let start = at
      var name = word()
      if let c = byte, c == UInt8(ascii: "?") || c == UInt8(ascii: "!") {
        name.unicodeScalars.append(UnicodeScalar(c))
        at += 1
      } else if name.isEmpty {
        while let c = byte, "+-*/%<>=~^|&[]".utf8.contains(c) { name.unicodeScalars.append(UnicodeScalar(c)); at += 1 }
      }
      guard let method = Method(rawValue: name) else { throw error("the method '\(name)' is not supported", at: start) }
      note(method)
      let block = Block()
      block.method = method
      list.block = block
      return
    }
    if take("**") {
      list.pairs.append((nil, try expression()))
      return
    }
    if byte == UInt8(ascii: "*"), !RubyText.isSpace(byte(1) ?? 0x20) {
      at += 1
      list.nodes.append((try expression(), true))
      return
    }
    if let key = try label() {
      space()
      list.pairs.append((key, try expression()))
      return
    }
    let node = startsWord("not") ? try lowExpression() : try expression()
    space()
    if take("=>") {
      space()
      list.pairs.append((node, try expression()))
    } else {
      list.nodes.append((node, false))
    }
  }

  /// `name:` or `"name":` before a value; nil, with nothing taken, when it is none.
  mutating func label() throws(ExpressionError) -> Node? {
    let start = at
    if let c = byte, c == UInt8(ascii: "\"") || c == UInt8(ascii: "'") {
      // Looked at without reading it: reading every text twice would double with each level of nesting.
      var end = at + 1
      while end < bytes.count, bytes[end] != c, bytes[end] != UInt8(ascii: "\\"), bytes[end] != UInt8(ascii: "#") { end += 1 }
      guard end + 1 < bytes.count, bytes[end] == c, bytes[end + 1] == UInt8(ascii: ":"), end + 2 >= bytes.count || bytes[end + 2] != UInt8(ascii: ":")
      else { return nil }
      at = end + 2
      return try make(Literal(.symbol(Array(bytes[start + 1..<end]))))
    }
    guard Self.isWord(byte), !Self.isDigit(byte) else { return nil }
    var name = word()
    if let c = byte, c == UInt8(ascii: "?") || c == UInt8(ascii: "!"), byte(1) == UInt8(ascii: ":"), byte(2) != UInt8(ascii: ":") {
      name.unicodeScalars.append(UnicodeScalar(c))
      at += 1
    }
    if byte == UInt8(ascii: ":"), byte(1) != UInt8(ascii: ":") {
      at += 1
      return try make(Literal(.symbol(Array(name.utf8))))
    }
    at = start
    return nil
  }

  // MARK: blocks

  private mutating func block() throws(ExpressionError) -> Block {
    let isBraced = byte == UInt8(ascii: "{")
    at += isBraced ? 1 : 2
    let block = Block()
    scopes.append([:])
    blocks.append(block)
    defer {
      scopes.removeLast()
      blocks.removeLast()
    }
    space()
    if take("|") {
      block.pattern = try pattern("|")
      let names = Set(scopes[scopes.count - 1].keys)
      if names.isEmpty, block.pattern.targets.isEmpty { block.pattern = BlockPattern() }
    }
    let body = try statements { parser in isBraced ? parser.byte == UInt8(ascii: "}") : parser.startsWord("end") }
    if isBraced { try expect("}", "of the block") } else if !takeWord("end") { throw error("lacks the 'end' of the block") }
    block.body = body
    return block
  }

  /// `a, (b, c), *d` up to `close`.
  private mutating func pattern(_ close: StaticString) throws(ExpressionError) -> BlockPattern {
    var pattern = BlockPattern()
    while true {
      space()
      if take(close) { return pattern }
      if take("(") {
        pattern.targets.append(.nested(try nested { p throws(ExpressionError) in try p.pattern(")") }))
      } else {
        if take("*") { pattern.splat = pattern.targets.count }
        let name = word()
        guard let c = name.utf8.first, c == 0x5f || c >= 0x80 || (c >= 0x61 && c <= 0x7a) else { throw unexpected() }
        pattern.targets.append(.slot(try declare(name, isNew: true)))
      }
      space()
      if take(",") {
        space()
        if starts(close) { pattern.hasTrailingComma = true }
        continue
      }
      if take(close) { return pattern }
      throw unexpected()
    }
  }
}
