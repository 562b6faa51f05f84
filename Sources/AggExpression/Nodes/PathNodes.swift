import AggCore

/// `record["a"]["b"]` and `record.dig("a", "b")`: read from the bytes without opening what is passed through.
final class PathNode: Node, @unchecked Sendable {
  let keys: [[UInt8]]
  /// `dig`: a missing step gives nil.
  let isDig: Bool
  /// The same by calls: for changed records, containers and errors.
  let fallback: Node
  init(_ keys: [[UInt8]], isDig: Bool, _ fallback: Node) {
    self.keys = keys
    self.isDig = isDig
    self.fallback = fallback
  }
  override func evaluate(_ m: Bindings) throws(Failure) -> RubyValue {
    switch m.walk(keys, isDig: isDig) {
    case .nothing: return .null
    case .value(let value) where value.kind != .map && value.kind != .array: return RubyValue(value)
    default: return try fallback.evaluate(m)
    }
  }
  override func write(_ m: Bindings, into out: inout ByteWriter) throws(Failure) {
    switch m.walk(keys, isDig: isDig) {
    case .nothing: out.putNil()
    case .value(let value): out.append(value.bytes)
    case .unclear: try write(fallback.evaluate(m), into: &out)
    }
  }
  override func display(_ m: Bindings, into out: inout ByteWriter) throws(Failure) {
    guard case .value(let value) = m.walk(keys, isDig: isDig), let text = value.stringBytes else { return try m.display(evaluate(m), into: &out) }
    try m.append(text, to: &out)
  }
  override func assign(_ m: Bindings, _ value: RubyValue) throws(Failure) { try fallback.assign(m, value) }
  override var isAssignable: Bool { fallback.isAssignable }
}

/// `record.key?("a")`.
final class HasFieldNode: Node, @unchecked Sendable {
  let key: [UInt8]
  let fallback: Node
  init(_ key: [UInt8], _ fallback: Node) {
    self.key = key
    self.fallback = fallback
  }
  override func evaluate(_ m: Bindings) throws(Failure) -> RubyValue {
    guard let record = m.untouchedRecord else { return try fallback.evaluate(m) }
    return .bool(record.find(key) != nil)
  }
}

/// `@x`.
final class VariableNode: Node, @unchecked Sendable {
  let index: Int
  private let canBeSet: Bool
  init(_ index: Int, isAssignable: Bool) {
    self.index = index
    canBeSet = isAssignable
  }
  override var isAssignable: Bool { canBeSet }
  override func evaluate(_ m: Bindings) throws(Failure) -> RubyValue { m.variables.indices.contains(index) ? m.variables[index] : .null }
  override func assign(_ m: Bindings, _ value: RubyValue) throws(Failure) {
    guard canBeSet, m.variables.indices.contains(index) else { throw .raise(.frozenError, "can't modify frozen \(value.module.rawValue)") }
    m.variables[index] = value
  }
}

/// `tag_parts[1]` and its like.
final class TagPartNode: Node, @unchecked Sendable {
  let name: BoundName
  let index: Int
  init(_ name: BoundName, _ index: Int) {
    self.name = name
    self.index = index
  }
  override func evaluate(_ m: Bindings) throws(Failure) -> RubyValue { m.tagPart(name, index) }
}
