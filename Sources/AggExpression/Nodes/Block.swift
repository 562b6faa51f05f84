/// Where a block's arguments go.
struct BlockPattern {
  indirect enum Target {
    case slot(Int)
    case nested(BlockPattern)
  }
  var targets: [Target] = []
  /// Index in `targets` of the one that takes the rest.
  var splat: Int?
  /// Written with a comma or a splat: one array is spread over it.
  var spreads: Bool { targets.count > 1 || splat != nil || hasTrailingComma }
  var hasTrailingComma = false

  func bind(_ m: Bindings, _ values: [RubyValue]) throws(Failure) {
    var at = 0
    for (i, target) in targets.enumerated() {
      if i == splat {
        let after = targets.count - i - 1
        let end = max(at, values.count - after)
        let rest = at < end ? Array(values[at..<end]) : []
        try store(m, target, m.array(rest))
        at = end
      } else {
        try store(m, target, at < values.count ? values[at] : .null)
        at += 1
      }
    }
  }
  private func store(_ m: Bindings, _ target: Target, _ value: RubyValue) throws(Failure) {
    switch target {
    case .slot(let slot): if m.slots.indices.contains(slot) { m.slots[slot] = value }
    case .nested(let pattern): if case .array(let array) = value { try pattern.bind(m, array.elements) } else { try pattern.bind(m, [value]) }
    }
  }
}

/// `{ |a, b| … }` or `&:name`.
final class Block: @unchecked Sendable {  // written by the parser only
  var pattern = BlockPattern()
  var body: Node?
  /// `&:name`.
  var method: Method?
  var hasNext = false
  var hasBreak = false
  /// `.with_index(start)`: the block is called with a count that lies in `counter`.
  var inner: Block?
  var counter = 0

  func call(_ m: Bindings, _ value: RubyValue) throws(Failure) -> RubyValue {
    try m.step()
    if let method { return try m.call(value, method, []) }
    if let inner {
      let n = m.slots.indices.contains(counter) ? m.slots[counter] : .null
      if case .int(let count) = n { m.slots[counter] = .int(count &+ 1) }
      return try inner.call(m, value, n)
    }
    if case .array(let array) = value, pattern.spreads {
      try pattern.bind(m, array.elements)
    } else if pattern.targets.count == 1, case .slot(let slot) = pattern.targets[0], m.slots.indices.contains(slot) {
      m.slots[slot] = value
    } else {
      try pattern.bind(m, [value])
    }
    return try run(m)
  }

  func call(_ m: Bindings, _ a: RubyValue, _ b: RubyValue) throws(Failure) -> RubyValue {
    try m.step()
    if let method { return try m.call(a, method, [b]) }
    if inner != nil { return try call(m, m.array([a, b])) }
    try pattern.bind(m, [a, b])
    return try run(m)
  }

  /// A pair of a Hash: `|pair|` is given both in an array.
  func callPair(_ m: Bindings, _ key: RubyValue, _ value: RubyValue) throws(Failure) -> RubyValue {
    if method != nil || inner != nil || !pattern.spreads { return try call(m, m.array([key, value])) }
    try m.step()
    try pattern.bind(m, [key, value])
    return try run(m)
  }

  func run(_ m: Bindings) throws(Failure) -> RubyValue {
    guard let body else { return .null }
    guard hasNext else { return try body.evaluate(m) }
    do throws(Failure) { return try body.evaluate(m) } catch {
      if case .next(let carried) = error { return carried.value }
      throw error
    }
  }
}
