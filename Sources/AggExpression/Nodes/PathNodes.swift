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
    if let value = m.walk(keys, isDig: isDig) { return value }
    return try fallback.evaluate(m)
  }
  override func assign(_ m: Bindings, _ value: RubyValue) throws(Failure) { try fallback.assign(m, value) }
  override var isAssignable: Bool { fallback.isAssignable }
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
