import CAgg

/// As keys of a Hash (`eql?`): 1 and 1.0 are two keys. What nests deeper than any record counts as different.
extension RubyValue: Hashable {
  static let maximumDepth = 140
  /// Also where the thread's stack nears its end: an instrumented build's frames are ten times as large. Looked at every sixteenth level.
  private static func isTooDeep(_ depth: Int) -> Bool {
    if depth >= maximumDepth { return true }
    guard depth & 15 == 15 else { return false }
    let left = agg_stack_left()
    return left > 0 && left < 128 << 10
  }

  public static func == (a: RubyValue, b: RubyValue) -> Bool { a.equals(b, strict: true) }

  public func hash(into hasher: inout Hasher) {
    var budget = 10_000
    hash(into: &hasher, &budget, 0)
  }

  private func hash(into hasher: inout Hasher, _ budget: inout Int, _ depth: Int) {
    budget -= 1
    guard budget > 0, !Self.isTooDeep(depth) else { return }
    switch self {
    case .null: hasher.combine(0)
    case .bool(let value): hasher.combine(value)
    case .int(let value): hasher.combine(value)
    case .uint(let value): hasher.combine(value)
    case .double(let value): hasher.combine(value)
    case .string(let value): hasher.combine(value.bytes)
    case .symbol(let value):
      hasher.combine(1 as UInt8)
      hasher.combine(value)
    case .array(let value): for element in value.elements where budget > 0 { element.hash(into: &hasher, &budget, depth + 1) }
    case .hash(let value): hasher.combine(value.count)
    case .time(let value): hasher.combine(value.time)
    case .module(let value): hasher.combine(value)
    case .range, .regexp, .match, .exception, .ext: hasher.combine(2)
    }
  }

  /// Ruby's `==`, where 1 equals 1.0; with `strict` its `eql?`. What takes more than 100,000 comparisons counts as different:
  /// containers may hold each other many times over.
  func equals(_ other: RubyValue, strict: Bool = false) -> Bool {
    var budget = 100_000
    return equals(other, strict, &budget, 0)
  }

  private func equals(_ other: RubyValue, _ strict: Bool, _ budget: inout Int, _ depth: Int) -> Bool {
    budget -= 1
    guard budget > 0, !Self.isTooDeep(depth) else { return false }
    switch (self, other) {
    case (.null, .null): return true
    case (.bool(let a), .bool(let b)): return a == b
    case (.int(let a), .int(let b)): return a == b
    case (.uint(let a), .uint(let b)): return a == b
    case (.double(let a), .double(let b)): return a == b
    case (.int(let a), .double(let b)), (.double(let b), .int(let a)): return !strict && Double(a) == b && Int64(exactly: b) == a
    case (.uint(let a), .double(let b)), (.double(let b), .uint(let a)): return !strict && Double(a) == b
    case (.string(let a), .string(let b)): return a == b
    case (.symbol(let a), .symbol(let b)): return a == b
    case (.array(let a), .array(let b)):
      guard a !== b else { return true }
      guard a.elements.count == b.elements.count else { return false }
      for (x, y) in zip(a.elements, b.elements) where !x.equals(y, strict, &budget, depth + 1) { return false }
      return true
    case (.hash(let a), .hash(let b)):
      guard a !== b else { return true }
      guard a.count == b.count else { return false }
      for (key, value) in a.pairs {
        guard let otherValue = b[key], value.equals(otherValue, strict, &budget, depth + 1) else { return false }
      }
      return true
    case (.range(let a), .range(let b)):
      return a.excludesEnd == b.excludesEnd && a.first.equals(b.first, strict, &budget, depth + 1)
        && a.last.equals(b.last, strict, &budget, depth + 1)
    case (.regexp(let a), .regexp(let b)): return a.regexp.source == b.regexp.source && a.regexp.options == b.regexp.options
    case (.time(let a), .time(let b)): return a.time == b.time
    case (.module(let a), .module(let b)): return a == b
    case (.match(let a), .match(let b)): return a === b
    case (.exception(let a), .exception(let b)): return a === b
    case (.ext(let a), .ext(let b)): return a.type == b.type && a.bytes == b.bytes
    default: return false
    }
  }

  /// Ruby's `<=>`: below 0, 0, above 0, or nil for what has no order.
  func compare(_ other: RubyValue) -> Int? {
    var budget = 100_000
    return compare(other, &budget, 0)
  }

  private func compare(_ other: RubyValue, _ budget: inout Int, _ depth: Int) -> Int? {
    budget -= 1
    guard budget > 0, !Self.isTooDeep(depth) else { return nil }
    func order<T: Comparable>(_ a: T, _ b: T) -> Int { a < b ? -1 : a == b ? 0 : 1 }
    switch (self, other) {
    case (.int(let a), .int(let b)): return order(a, b)
    case (.uint(let a), .uint(let b)): return order(a, b)
    case (.int, .uint): return -1
    case (.uint, .int): return 1
    case (.string(let a), .string(let b)): return Self.order(a.bytes, b.bytes)
    case (.symbol(let a), .symbol(let b)): return Self.order(a, b)
    case (.time(let a), .time(let b)): return order(a.time, b.time)
    case (.array(let a), .array(let b)):
      for (x, y) in zip(a.elements, b.elements) {
        guard let result = x.compare(y, &budget, depth + 1) else { return nil }
        if result != 0 { return result }
      }
      return order(a.elements.count, b.elements.count)
    case (.null, .null): return 0
    case (.bool(let a), .bool(let b)): return a == b ? 0 : nil
    default:
      guard let a = number, let b = other.number else { return equals(other) ? 0 : nil }
      return a.isNaN || b.isNaN ? nil : order(a, b)
    }
  }

  /// An integer or float as a Double.
  var number: Double? {
    switch self {
    case .int(let value): Double(value)
    case .uint(let value): Double(value)
    case .double(let value): value
    default: nil
    }
  }

  static func order(_ a: [UInt8], _ b: [UInt8]) -> Int {
    for (x, y) in zip(a, b) where x != y { return x < y ? -1 : 1 }
    return a.count < b.count ? -1 : a.count == b.count ? 0 : 1
  }
}
