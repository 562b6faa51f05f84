import AggCore

/// A piece of a parsed expression; never changes after parsing, so that threads may share it.
class Node: @unchecked Sendable {  // written by the parser only
  /// Levels below and with this node: bounds the recursion of evaluation.
  var depth = 1
  func evaluate(_ m: Bindings) throws(Failure) -> RubyValue { .null }
  /// Appends the value as MessagePack; what is only passed on is copied from the record's bytes.
  func write(_ m: Bindings, into out: inout ByteWriter) throws(Failure) { try write(evaluate(m), into: &out) }
  /// Appends the value's `to_s`.
  func display(_ m: Bindings, into out: inout ByteWriter) throws(Failure) { try m.display(evaluate(m), into: &out) }
  final func write(_ value: RubyValue, into out: inout ByteWriter) throws(Failure) {
    if !value.encode(into: &out) { throw Failure.tooDeep }
  }
  /// Stores into what the node names; what names nothing forgets the value.
  func assign(_ m: Bindings, _ value: RubyValue) throws(Failure) {}
  var isAssignable: Bool { false }
}

final class Literal: Node, @unchecked Sendable {
  let value: RubyValue
  init(_ value: RubyValue) { self.value = value }
  override func evaluate(_ m: Bindings) throws(Failure) -> RubyValue { value }
}

final class SlotNode: Node, @unchecked Sendable {
  let slot: Int
  init(_ slot: Int) { self.slot = slot }
  override func evaluate(_ m: Bindings) throws(Failure) -> RubyValue { m.slots.indices.contains(slot) ? m.slots[slot] : .null }
  override func assign(_ m: Bindings, _ value: RubyValue) throws(Failure) { if m.slots.indices.contains(slot) { m.slots[slot] = value } }
  override var isAssignable: Bool { true }
}

final class BoundNode: Node, @unchecked Sendable {
  let name: BoundName
  init(_ name: BoundName) { self.name = name }
  override func evaluate(_ m: Bindings) throws(Failure) -> RubyValue { try m.value(name) }
}

/// `record["key"]`: read from the bytes.
final class FieldNode: Node, @unchecked Sendable {
  let key: [UInt8]
  init(_ key: [UInt8]) { self.key = key }
  override func evaluate(_ m: Bindings) throws(Failure) -> RubyValue { m.field(key) }
  override func write(_ m: Bindings, into out: inout ByteWriter) throws(Failure) {
    guard let record = m.untouchedRecord else { return try write(m.field(key), into: &out) }
    if let value = record.find(key) { out.append(value.bytes) } else { out.putNil() }
  }
  override func display(_ m: Bindings, into out: inout ByteWriter) throws(Failure) {
    guard let text = m.untouchedRecord?.find(key)?.stringBytes else { return try m.display(m.field(key), into: &out) }
    try m.append(text, to: &out)
  }
  override func assign(_ m: Bindings, _ value: RubyValue) throws(Failure) { try m.set(m.record, RubyValue(key), value) }
  override var isAssignable: Bool { true }
}

/// A text with `#{…}` in it.
final class InterpolationNode: Node, @unchecked Sendable {
  let parts: [Node]
  init(_ parts: [Node]) { self.parts = parts }
  override func evaluate(_ m: Bindings) throws(Failure) -> RubyValue { try m.string(bytes(m)) }
  func bytes(_ m: Bindings) throws(Failure) -> [UInt8] {
    var out = ByteWriter(capacity: 128)
    try display(m, into: &out)
    return out.array
  }
  override func write(_ m: Bindings, into out: inout ByteWriter) throws(Failure) {
    let mark = out.beginString()
    try display(m, into: &out)
    out.endString(mark)
  }
  override func display(_ m: Bindings, into out: inout ByteWriter) throws(Failure) {
    try m.deeper()
    for part in parts { try part.display(m, into: &out) }
  }
}

/// `/a#{b}/`: compiled when it is evaluated, the last ones kept.
final class RegexpNode: Node, @unchecked Sendable {
  let text: InterpolationNode
  let options: Regexp.Options
  init(_ text: InterpolationNode, _ options: Regexp.Options) {
    self.text = text
    self.options = options
  }
  override func evaluate(_ m: Bindings) throws(Failure) -> RubyValue {
    try m.deeper()
    return .regexp(try m.compile(String(decoding: text.bytes(m), as: UTF8.self), options))
  }
}

final class SymbolNode: Node, @unchecked Sendable {
  let text: InterpolationNode
  init(_ text: InterpolationNode) { self.text = text }
  override func evaluate(_ m: Bindings) throws(Failure) -> RubyValue { .symbol(try text.bytes(m)) }
}

final class ArrayNode: Node, @unchecked Sendable {
  let elements: [(node: Node, isSplat: Bool)]
  init(_ elements: [(node: Node, isSplat: Bool)]) { self.elements = elements }
  override func evaluate(_ m: Bindings) throws(Failure) -> RubyValue { try m.array(m.evaluate(elements)) }
}

final class HashNode: Node, @unchecked Sendable {
  /// No key: `**value`.
  let pairs: [(key: Node?, value: Node)]
  init(_ pairs: [(key: Node?, value: Node)]) { self.pairs = pairs }
  override func evaluate(_ m: Bindings) throws(Failure) -> RubyValue {
    try m.deeper()
    try m.deeper()
    let hash = try m.newHash()
    for (key, value) in pairs {
      if let key {
        let name = try key.evaluate(m)
        try m.set(hash, name, value.evaluate(m))
      } else {
        switch try value.evaluate(m) {
        case .hash(let other): for (key, value) in other.pairs { try m.set(hash, key, value) }
        case .null: break
        case let other: throw .type("no implicit conversion of \(other.describedClass) into Hash")
        }
      }
    }
    return .hash(hash)
  }
}

final class RangeNode: Node, @unchecked Sendable {
  let first: Node?
  let last: Node?
  let excludesEnd: Bool
  init(_ first: Node?, _ last: Node?, excludesEnd: Bool) {
    self.first = first
    self.last = last
    self.excludesEnd = excludesEnd
  }
  override func evaluate(_ m: Bindings) throws(Failure) -> RubyValue {
    try m.deeper()
    let a = try first?.evaluate(m) ?? .null
    return .range(RubyRange(a, try last?.evaluate(m) ?? .null, excludesEnd: excludesEnd))
  }
}

/// `$1` and `$~` (group -1).
final class MatchNode: Node, @unchecked Sendable {
  let group: Int
  init(_ group: Int) { self.group = group }
  override func evaluate(_ m: Bindings) throws(Failure) -> RubyValue {
    guard let match = m.lastMatch else { return .null }
    return group < 0 ? .match(match) : match.group(group)
  }
}

extension Bindings {
  func append(_ text: UnsafeRawBufferPointer, to out: inout ByteWriter) throws(Failure) {
    try charge(text.count)
    out.append(text)
  }
  func display(_ value: RubyValue, into out: inout ByteWriter) throws(Failure) {
    let before = out.count
    value.display(into: &out)
    try charge(out.count - before)
  }

  func evaluate(_ nodes: [(node: Node, isSplat: Bool)]) throws(Failure) -> [RubyValue] {
    try deeper()
    var values: [RubyValue] = []
    values.reserveCapacity(nodes.count)
    for (node, isSplat) in nodes {
      let value = try node.evaluate(self)
      if isSplat {
        let elements = try list(value)
        try charge(elements.count &* 24)
        values += elements
      } else {
        values.append(value)
      }
    }
    return values
  }

  /// Compiling is dear: it counts as a thousand steps unless one of the last sixteen is asked for again.
  func compile(_ source: String, _ options: Regexp.Options) throws(Failure) -> RubyRegexp {
    let key = String(options.rawValue) + source
    if let known = regexps[key] { return known }
    try step(1000)
    guard source.utf8.count <= 10_000 else { throw .limit("has a regular expression of more than 10000 bytes") }
    do throws(ConfigValueError) {
      let regexp = RubyRegexp(try Regexp(source, options: options))
      if regexps.count >= 16 { regexps = [:] }
      regexps[key] = regexp
      return regexp
    } catch {
      throw .raise(.regexpError, error.message)
    }
  }
}
