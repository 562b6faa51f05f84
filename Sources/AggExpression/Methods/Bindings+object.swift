import AggCore

extension Bindings {
  /// What every value understands.
  func callObject(_ value: RubyValue, _ method: Method, _ a: [RubyValue], _ block: Block?) throws(Failure) -> RubyValue {
    switch method {
    case .toS: return try string(value.displayBytes)
    case .inspect: return try string(value.inspected)
    case .isNil: return .bool(value.isNull)
    case .isA, .kindOf:
      try arity(a, 1...1)
      guard case .module(let module) = a[0] else { throw .type("class or module required") }
      return .bool(value.module.inherits(module))
    case .instanceOf:
      try arity(a, 1...1)
      return .bool(.module(value.module) == a[0])
    case .classOf: return .module(value.module)
    case .respondTo:
      try arity(a, 1...2)
      return .bool(value.responds(to: try label(a[0])))
    case .hash:
      try step(8)
      return RubyValue(value.hashValue >> 2)
    case .itself, .freeze, .dup, .clone: return value
    case .frozen: return .bool(false)
    case .then, .yieldSelf: return try need(block, method).call(self, value)
    case .tap:
      _ = try need(block, method).call(self, value)
      return value
    case .toJSON: return try string(json(value))
    case .toMsgpack:
      var out = ByteWriter(capacity: 256)
      guard value.encode(into: &out) else { throw Failure.tooDeep }
      return try string(out.array, isBinary: true)
    case .equal, .caseEqual:
      try arity(a, 1...1)
      return .bool(try isEqual(value, a[0]))
    case .eql, .isEqual:
      try arity(a, 1...1)
      return .bool(value == a[0])
    case .notEqual:
      try arity(a, 1...1)
      return .bool(!(try isEqual(value, a[0])))
    case .compare:
      try arity(a, 1...1)
      return value.compare(a[0]).map { .int(Int64($0)) } ?? .null
    case .matches: return .null
    case .matchesNot:
      try arity(a, 1...1)
      return .bool(!(try call(value, .matches, a).isTrue))
    case .less, .lessOrEqual, .greater, .greaterOrEqual:
      guard isComparable(value) else { throw undefined(method, value) }
      try arity(a, 1...1)
      let result = try order(value, a[0])
      switch method {
      case .less: return .bool(result < 0)
      case .lessOrEqual: return .bool(result <= 0)
      case .greater: return .bool(result > 0)
      default: return .bool(result >= 0)
      }
    case .between:
      guard isComparable(value) else { throw undefined(method, value) }
      try arity(a, 2...2)
      let isAbove = try order(value, a[0]) >= 0
      let isBelow = try order(value, a[1]) <= 0
      return .bool(isAbove && isBelow)
    case .clamp:
      guard isComparable(value) else { throw undefined(method, value) }
      try arity(a, 1...2)
      var (low, high) = (a[0], a.count > 1 ? a[1] : .null)
      if a.count == 1, case .range(let range) = a[0] { (low, high) = (range.first, range.last) }
      if !low.isNull, try order(value, low) < 0 { return low }
      if !high.isNull, try order(value, high) > 0 { return high }
      return value
    default: throw undefined(method, value)
    }
  }

  private func isComparable(_ value: RubyValue) -> Bool {
    switch value {
    case .string, .int, .uint, .double, .time, .symbol: true
    default: false
    }
  }

  func callNil(_ method: Method, _ a: [RubyValue]) throws(Failure) -> RubyValue? {
    switch method {
    case .toS: return RubyValue([UInt8]())
    case .toA: return try array([])
    case .toH: return .hash(try newHash())
    case .toI: return .int(0)
    case .toF: return .double(0)
    case .and: return .bool(false)
    case .or: return .bool(a.first?.isTrue ?? false)
    default: return nil
    }
  }

  func callBool(_ value: Bool, _ method: Method, _ a: [RubyValue]) -> RubyValue? {
    switch method {
    case .and: .bool(value && (a.first?.isTrue ?? false))
    case .or: .bool(value || (a.first?.isTrue ?? false))
    case .xor: .bool(value != (a.first?.isTrue ?? false))
    default: nil
    }
  }

  func callSymbol(_ bytes: [UInt8], _ method: Method, _ a: [RubyValue], _ block: Block?) throws(Failure) -> RubyValue? {
    switch method {
    case .toSym, .toProc: return .symbol(bytes)
    case .name: return try string(bytes)
    case .upcase, .downcase, .capitalize, .swapcase, .succ:
      guard case .string(let text)? = try callString(RubyString(bytes), method, a, block) else { return nil }
      return .symbol(text.bytes)
    case .length, .size, .isEmpty, .index, .startWith, .endWith, .matches, .match, .isMatch, .slice:
      return try callString(RubyString(bytes), method, a, block)
    default: return nil
    }
  }

  func callException(_ exception: RubyException, _ method: Method, _ a: [RubyValue]) throws(Failure) -> RubyValue? {
    switch method {
    case .message, .fullMessage: return try string(Array(exception.message.utf8))
    default: return nil
    }
  }
}

extension RubyValue {
  private static let common: Set<String> = [
    "to_s", "inspect", "nil?", "is_a?", "class", "dup", "to_json", "freeze", "respond_to?", "==", "hash", "tap", "then",
  ]
  private static let byClass: [RubyModule: Set<String>] = [
    .string: [
      "to_i", "to_f", "to_sym", "to_str", "upcase", "downcase", "gsub", "sub", "split", "strip", "empty?", "length", "size", "encode",
      "force_encoding",
      "each_char", "each_line", "lines", "match", "match?", "scan", "include?", "start_with?", "end_with?", "[]", "+", "scrub", "chomp", "<=>",
      "unpack1",
    ],
    .hash: [
      "[]", "[]=", "key?", "has_key?", "keys", "values", "each", "each_pair", "map", "select", "reject", "dig", "fetch", "merge", "to_h", "to_a",
      "empty?", "length", "size", "delete", "any?", "to_hash", "include?", "transform_values",
    ],
    .array: [
      "[]", "[]=", "each", "map", "select", "reject", "dig", "fetch", "first", "last", "join", "to_a", "to_ary", "to_h", "empty?", "length", "size",
      "include?", "any?", "push", "<<", "flatten", "sort",
    ],
    .integer: ["to_i", "to_f", "+", "-", "*", "/", "%", "round", "abs", "times", "<=>", "zero?", "chr", "to_int"],
    .float: ["to_i", "to_f", "+", "-", "*", "/", "%", "round", "abs", "floor", "ceil", "nan?", "<=>", "zero?", "to_int"],
    .nilClass: ["to_i", "to_f", "to_a", "to_h", "&", "|"],
    .symbol: ["to_sym", "to_proc", "length", "size", "upcase", "downcase", "<=>", "[]"],
    .time: ["to_i", "to_f", "strftime", "iso8601", "utc", "year", "month", "day", "hour", "min", "sec", "usec", "nsec", "+", "-", "<=>"],
  ]
  func responds(to name: String) -> Bool { Self.common.contains(name) || Self.byClass[module]?.contains(name) ?? false }
}
