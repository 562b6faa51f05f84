final class SequenceNode: Node, @unchecked Sendable {
  let nodes: [Node]
  init(_ nodes: [Node]) { self.nodes = nodes }
  override func evaluate(_ m: Bindings) throws(Failure) -> RubyValue {
    try m.deeper()
    var value = RubyValue.null
    for node in nodes { value = try node.evaluate(m) }
    return value
  }
}

final class ConditionNode: Node, @unchecked Sendable {
  let condition: Node
  let then: Node?
  let otherwise: Node?
  init(_ condition: Node, _ then: Node?, _ otherwise: Node?) {
    self.condition = condition
    self.then = then
    self.otherwise = otherwise
  }
  override func evaluate(_ m: Bindings) throws(Failure) -> RubyValue {
    try m.deeper()
    let branch = try condition.evaluate(m).isTrue ? then : otherwise
    return try branch?.evaluate(m) ?? .null
  }
}

final class AndNode: Node, @unchecked Sendable {
  let left: Node
  let right: Node
  init(_ left: Node, _ right: Node) {
    self.left = left
    self.right = right
  }
  override func evaluate(_ m: Bindings) throws(Failure) -> RubyValue {
    try m.deeper()
    let value = try left.evaluate(m)
    return value.isTrue ? try right.evaluate(m) : value
  }
}

final class OrNode: Node, @unchecked Sendable {
  let left: Node
  let right: Node
  init(_ left: Node, _ right: Node) {
    self.left = left
    self.right = right
  }
  override func evaluate(_ m: Bindings) throws(Failure) -> RubyValue {
    try m.deeper()
    let value = try left.evaluate(m)
    return value.isTrue ? value : try right.evaluate(m)
  }
}

final class NotNode: Node, @unchecked Sendable {
  let operand: Node
  init(_ operand: Node) { self.operand = operand }
  override func evaluate(_ m: Bindings) throws(Failure) -> RubyValue {
    try m.deeper()
    return .bool(!(try operand.evaluate(m).isTrue))
  }
}

final class CaseNode: Node, @unchecked Sendable {
  let subject: Node?
  let branches: [(tests: [(node: Node, isSplat: Bool)], body: Node)]
  let otherwise: Node?
  init(_ subject: Node?, _ branches: [(tests: [(node: Node, isSplat: Bool)], body: Node)], _ otherwise: Node?) {
    self.subject = subject
    self.branches = branches
    self.otherwise = otherwise
  }
  override func evaluate(_ m: Bindings) throws(Failure) -> RubyValue {
    try m.deeper()
    let value = try subject?.evaluate(m)
    for (tests, body) in branches {
      for test in try m.evaluate(tests) {
        try m.step()
        let matches = if let value { try m.caseEquals(test, value) } else { test.isTrue }
        if matches { return try body.evaluate(m) }
      }
    }
    return try otherwise?.evaluate(m) ?? .null
  }
}

/// `begin … rescue … else … ensure … end` and `x rescue y`. Limits are not rescued.
final class RescueNode: Node, @unchecked Sendable {
  struct Handler {
    let types: [RubyModule]
    let slot: Int?
    let body: Node
  }
  let body: Node
  let handlers: [Handler]
  let otherwise: Node?
  let cleanup: Node?
  init(_ body: Node, _ handlers: [Handler], _ otherwise: Node?, _ cleanup: Node?) {
    self.body = body
    self.handlers = handlers
    self.otherwise = otherwise
    self.cleanup = cleanup
  }
  override func evaluate(_ m: Bindings) throws(Failure) -> RubyValue {
    try m.deeper()
    guard let cleanup else { return try attempt(m) }
    do throws(Failure) {
      let value = try attempt(m)
      _ = try cleanup.evaluate(m)
      return value
    } catch {
      _ = try cleanup.evaluate(m)
      throw error
    }
  }
  private func attempt(_ m: Bindings) throws(Failure) -> RubyValue {
    let value: RubyValue
    do throws(Failure) { value = try body.evaluate(m) } catch {
      guard case .raised(let exception) = error else { throw error }
      for handler in handlers where handler.types.contains(where: { exception.type.inherits($0) }) {
        if let slot = handler.slot, m.slots.indices.contains(slot) { m.slots[slot] = .exception(exception) }
        return try handler.body.evaluate(m)
      }
      throw error
    }
    return try otherwise?.evaluate(m) ?? value
  }
}

final class AssignNode: Node, @unchecked Sendable {
  let target: Node
  let value: Node
  init(_ target: Node, _ value: Node) {
    self.target = target
    self.value = value
  }
  override func evaluate(_ m: Bindings) throws(Failure) -> RubyValue {
    try m.deeper()
    if let place = target as? IndexNode { return try place.store(m, value) }
    let result = try value.evaluate(m)
    try target.assign(m, result)
    return result
  }
}

/// `a, b = value`.
final class MultipleAssignNode: Node, @unchecked Sendable {
  let targets: BlockPattern
  let value: Node
  init(_ targets: BlockPattern, _ value: Node) {
    self.targets = targets
    self.value = value
  }
  override func evaluate(_ m: Bindings) throws(Failure) -> RubyValue {
    try m.deeper()
    let result = try value.evaluate(m)
    if case .array(let array) = result { try targets.bind(m, array.elements) } else { try targets.bind(m, [result]) }
    return result
  }
}

/// `a += b`, `a ||= b`, `a[k] &&= b`; receiver and key are evaluated once.
final class UpdateNode: Node, @unchecked Sendable {
  enum Operation { case or, and, method(Method) }
  let target: Node
  let operation: Operation
  let value: Node
  init(_ target: Node, _ operation: Operation, _ value: Node) {
    self.target = target
    self.operation = operation
    self.value = value
  }
  override func evaluate(_ m: Bindings) throws(Failure) -> RubyValue {
    try m.deeper()
    guard let index = target as? IndexNode else {
      let old = try target.evaluate(m)
      guard let new = try update(m, old) else { return old }
      try target.assign(m, new)
      return new
    }
    let receiver = try index.receiver.evaluate(m)
    let keys = try m.evaluate(index.arguments)
    let old = try m.call(receiver, .index, keys)
    guard let new = try update(m, old) else { return old }
    _ = try m.call(receiver, .indexSet, keys + [new])
    return new
  }
  private func update(_ m: Bindings, _ old: RubyValue) throws(Failure) -> RubyValue? {
    switch operation {
    case .or: return old.isTrue ? nil : try value.evaluate(m)
    case .and: return old.isTrue ? try value.evaluate(m) : nil
    case .method(let method): return try m.call(old, method, [value.evaluate(m)])
    }
  }
}

final class NextNode: Node, @unchecked Sendable {
  let value: Node?
  init(_ value: Node?) { self.value = value }
  override func evaluate(_ m: Bindings) throws(Failure) -> RubyValue { throw .next(Failure.Carried(try value?.evaluate(m) ?? .null)) }
}

final class BreakNode: Node, @unchecked Sendable {
  let value: Node?
  let block: Block
  init(_ value: Node?, _ block: Block) {
    self.value = value
    self.block = block
  }
  override func evaluate(_ m: Bindings) throws(Failure) -> RubyValue {
    throw .leave(ObjectIdentifier(block), Failure.Carried(try value?.evaluate(m) ?? .null))
  }
}

final class SignalNode: Node, @unchecked Sendable {
  let failure: Failure
  init(_ failure: Failure) { self.failure = failure }
  override func evaluate(_ m: Bindings) throws(Failure) -> RubyValue { throw failure }
}

final class RaiseNode: Node, @unchecked Sendable {
  let type: RubyModule
  let message: Node?
  init(_ type: RubyModule, _ message: Node?) {
    self.type = type
    self.message = message
  }
  override func evaluate(_ m: Bindings) throws(Failure) -> RubyValue {
    let value = try message?.evaluate(m)
    if case .exception(let exception)? = value { throw .raised(exception) }
    throw .raise(type, value.map { String(decoding: $0.displayBytes, as: UTF8.self) } ?? type.rawValue)
  }
}
