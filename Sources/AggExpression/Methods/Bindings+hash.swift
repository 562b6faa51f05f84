extension Bindings {
  func callHash(_ hash: RubyHash, _ method: Method, _ a: [RubyValue], _ block: Block?) throws(Failure) -> RubyValue? {
    let this = RubyValue.hash(hash)
    switch method {
    case .index:
      try arity(a, 1...1)
      if let value = hash[a[0]] { return value }
      if let block = hash.defaultBlock {
        // A default may ask the same Hash for the same key again.
        recursion += 1
        defer { recursion -= 1 }
        guard recursion < 20 else { throw .limit("has a Hash whose default asks itself") }
        return try block.call(self, this, a[0])
      }
      return hash.defaultValue
    case .indexSet, .store:
      try arity(a, 2...2)
      try set(hash, a[0], a[1])
      return a[1]
    case .dig:
      guard let first = a.first else { throw .argument("wrong number of arguments (given 0, expected 1+)") }
      let value = hash[first] ?? hash.defaultValue
      if a.count == 1 || value.isNull { return value }
      switch value {
      case .hash, .array: return try call(value, .dig, Array(a.dropFirst()))
      default: throw .type("\(value.module.rawValue) does not have #dig method")
      }
    case .fetch:
      try arity(a, 1...2)
      if let value = hash[a[0]] { return value }
      if let block { return try block.call(self, a[0]) }
      if a.count > 1 { return a[1] }
      throw .raise(.keyError, "key not found: \(String(decoding: a[0].inspected, as: UTF8.self))")
    case .hasKey, .hasKeyOld, .include, .member:
      try arity(a, 1...1)
      return .bool(hash[a[0]] != nil)
    case .hasValue, .hasValueOld:
      try arity(a, 1...1)
      try step(hash.count)
      return .bool(hash.values.contains { $0.equals(a[0]) })
    case .key:
      try arity(a, 1...1)
      for (key, value) in hash.pairs { if try isEqual(value, a[0]) { return key } }
      return .null
    case .keys: return try array(hash.keys)
    case .values: return try array(hash.values)
    case .valuesAt, .fetchValues:
      var values: [RubyValue] = []
      for key in a { values.append(try call(this, method == .valuesAt ? .index : .fetch, [key])) }
      return try array(values)
    case .length, .size: return RubyValue(hash.count)
    case .count where a.isEmpty && block == nil: return RubyValue(hash.count)
    case .isEmpty: return .bool(hash.count == 0)
    case .isAny where a.isEmpty && block == nil: return .bool(hash.count > 0)
    case .delete:
      try arity(a, 1...1)
      try step(1 + hash.count / 8)
      guard let value = hash[a[0]] else { return try block?.call(self, a[0]) ?? .null }
      hash[a[0]] = nil
      return value
    case .shift:
      guard let key = hash.keys.first, let value = hash[key] else { return .null }
      hash[key] = nil
      return try array([key, value])
    case .clear:
      hash.removeAll()
      return this
    case .replace:
      try arity(a, 1...1)
      guard case .hash(let other) = a[0] else { throw .type("no implicit conversion of \(a[0].describedClass) into Hash") }
      try charge(other.count &* 64)
      hash.replace(other)
      return this
    case .toH where block == nil, .toHash: return this
    case .dup, .clone: return try adopt(hash.copy())
    case .each, .eachPair:
      let block = try need(block, method)
      for (key, value) in hash.pairs { _ = try block.callPair(self, key, value) }
      return this
    case .eachKey:
      for key in hash.keys { _ = try need(block, method).call(self, key) }
      return this
    case .eachValue:
      for value in hash.values { _ = try need(block, method).call(self, value) }
      return this
    case .select, .filter, .reject, .deleteIf, .keepIf:
      let block = try need(block, method)
      let keeps = method == .select || method == .filter || method == .keepIf
      let result = try newHash()
      for (key, value) in hash.pairs {
        // One parameter is given the key, as Ruby yields two values here.
        let passes = try block.pattern.targets.count == 1 && block.method == nil ? block.call(self, key) : block.callPair(self, key, value)
        if passes.isTrue == keeps { try set(result, key, value) }
      }
      guard method == .deleteIf || method == .keepIf else { return .hash(result) }
      hash.replace(result)
      return this
    case .merge, .update:
      let result = method == .update ? hash : hash.copy()
      for other in a {
        guard case .hash(let other) = other else { throw .type("no implicit conversion of \(other.describedClass) into Hash") }
        for (key, value) in other.pairs {
          if let block, let old = result[key] {
            try step()
            try block.bind(self, [key, old, value])
            try set(result, key, block.result(self))
          } else {
            try set(result, key, value)
          }
        }
      }
      return method == .update ? this : try adopt(result)
    case .invert:
      let result = try newHash()
      for (key, value) in hash.pairs { try set(result, value, key) }
      return .hash(result)
    case .transformValues:
      let block = try need(block, method)
      let result = try newHash()
      for (key, value) in hash.pairs { try set(result, key, block.call(self, value)) }
      return .hash(result)
    case .transformKeys:
      let result = try newHash()
      var names: RubyHash?
      if case .hash(let given)? = a.first { names = given }
      for (key, value) in hash.pairs {
        if let name = names?[key] { try set(result, name, value) } else { try set(result, block?.call(self, key) ?? key, value) }
      }
      return .hash(result)
    case .slice, .except:
      try step(a.count)
      let wanted = Set(a)
      let result = try newHash()
      if method == .slice {
        for key in a { if let value = hash[key] { try set(result, key, value) } }
      } else {
        for (key, value) in hash.pairs where !wanted.contains(key) { try set(result, key, value) }
      }
      return .hash(result)
    case .compact:
      let result = try newHash()
      for (key, value) in hash.pairs where !value.isNull { try set(result, key, value) }
      return .hash(result)
    case .toS, .inspect, .toJSON, .toMsgpack, .equal, .notEqual, .isNil, .isA, .kindOf, .classOf, .respondTo, .itself, .freeze, .tap, .then:
      return nil
    default: return try callElements(this, pairs(hash), method, a, block)
    }
  }
}

extension Block {
  /// For a block of three: `merge { |key, old, new| … }`.
  func bind(_ m: Bindings, _ values: [RubyValue]) throws(Failure) { try pattern.bind(m, values) }
  func result(_ m: Bindings) throws(Failure) -> RubyValue { try run(m) }
}
