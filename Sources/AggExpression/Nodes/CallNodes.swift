/// `receiver.method(arguments) { block }`.
final class CallNode: Node, @unchecked Sendable {
  let receiver: Node
  let method: Method
  let arguments: [(node: Node, isSplat: Bool)]
  let block: Block?
  /// `&.`: nil gives nil.
  let isSafe: Bool
  init(_ receiver: Node, _ method: Method, _ arguments: [(node: Node, isSplat: Bool)], _ block: Block?, isSafe: Bool) {
    self.receiver = receiver
    self.method = method
    self.arguments = arguments
    self.block = block
    self.isSafe = isSafe
  }
  override func evaluate(_ m: Bindings) throws(Failure) -> RubyValue {
    let value = try receiver.evaluate(m)
    if isSafe, value.isNull { return .null }
    guard let block else {
      if arguments.isEmpty { return try m.call(value, method, []) }
      return try m.call(value, method, m.evaluate(arguments))
    }
    let values = try m.evaluate(arguments)
    guard block.hasBreak else { return try m.call(value, method, values, block) }
    do throws(Failure) { return try m.call(value, method, values, block) } catch {
      if case .leave(let id, let carried) = error, id == ObjectIdentifier(block) { return carried.value }
      throw error
    }
  }
}

/// An operator with two operands.
final class BinaryNode: Node, @unchecked Sendable {
  let left: Node
  let method: Method
  let right: Node
  init(_ left: Node, _ method: Method, _ right: Node) {
    self.left = left
    self.method = method
    self.right = right
  }
  override func evaluate(_ m: Bindings) throws(Failure) -> RubyValue {
    try m.deeper()
    let a = try left.evaluate(m)
    let b = try right.evaluate(m)
    switch method {
    case .equal: return .bool(try m.isEqual(a, b))
    case .notEqual: return .bool(!(try m.isEqual(a, b)))
    default: return try m.call(a, method, [b])
    }
  }
}

/// `receiver[arguments]`.
final class IndexNode: Node, @unchecked Sendable {
  let receiver: Node
  let arguments: [(node: Node, isSplat: Bool)]
  let isSafe: Bool
  init(_ receiver: Node, _ arguments: [(node: Node, isSplat: Bool)], isSafe: Bool = false) {
    self.receiver = receiver
    self.arguments = arguments
    self.isSafe = isSafe
  }
  override func evaluate(_ m: Bindings) throws(Failure) -> RubyValue {
    try m.deeper()
    let value = try receiver.evaluate(m)
    if case .hash(let hash) = value, arguments.count == 1, !arguments[0].isSplat, let key = arguments[0].node as? Literal,
      case .string(let text) = key.value, hash.defaultBlock == nil
    {
      return hash.find(text.bytes) ?? hash.defaultValue
    }
    return try m.call(value, .index, m.evaluate(arguments))
  }
  override func assign(_ m: Bindings, _ value: RubyValue) throws(Failure) {
    _ = try m.call(receiver.evaluate(m), .indexSet, m.evaluate(arguments) + [value])
  }
  override var isAssignable: Bool { true }

  func store(_ m: Bindings, _ value: Node) throws(Failure) -> RubyValue {
    let target = try receiver.evaluate(m)
    let keys = try m.evaluate(arguments)
    let result = try value.evaluate(m)
    _ = try m.call(target, .indexSet, keys + [result])
    return result
  }
}

/// A method that changes its receiver: `gsub!`, `<<`, `map!`. A container changes for all who hold it; a string is
/// stored again where it was read from (a variable, a field).
final class ChangeNode: Node, @unchecked Sendable {
  enum Result { case receiver, receiverIfChanged }
  let receiver: Node
  let method: Method
  let arguments: [(node: Node, isSplat: Bool)]
  let block: Block?
  let result: Result
  init(_ receiver: Node, _ method: Method, _ arguments: [(node: Node, isSplat: Bool)], _ block: Block?, _ result: Result) {
    self.receiver = receiver
    self.method = method
    self.arguments = arguments
    self.block = block
    self.result = result
  }
  override func evaluate(_ m: Bindings) throws(Failure) -> RubyValue {
    try m.deeper()
    let old = try receiver.evaluate(m)
    try m.checkFrozen(old)
    let values = try m.evaluate(arguments)
    switch (method, old) {
    case (.shiftLeft, .array), (.concat, .array), (.prepend, .array), (.insert, .array), (.clear, .array), (.clear, .hash), (.replace, .array),
      (.replace, .hash), (.shiftLeft, .int):
      return try m.call(old, method, values)
    default: break
    }
    let new = try m.call(old, method, values, block)
    switch (old, new) {
    case (.array(let array), .array(let other)):
      let isSame = array.elements.count == other.elements.count && old.equals(new, strict: true)
      array.elements = other.elements
      return result == .receiverIfChanged && isSame ? .null : old
    case (.hash(let hash), .hash(let other)):
      let isSame = hash.count == other.count && old.equals(new, strict: true)
      hash.replace(other)
      return result == .receiverIfChanged && isSame ? .null : old
    case (.string(let a), .string(let b)):
      if a.bytes == b.bytes, a.isBinary == b.isBinary { return result == .receiverIfChanged ? .null : old }
      if let field = receiver as? FieldNode { m.record.changeText(field.key, new) } else { try receiver.assign(m, new) }
      return new
    default: throw m.undefined(method, old)
    }
  }
}
