extension Bindings {
  /// Enumerable: what arrays, hashes (as pairs) and ranges have in common.
  func callElements(_ this: RubyValue, _ elements: [RubyValue], _ method: Method, _ a: [RubyValue], _ block: Block?) throws(Failure) -> RubyValue? {
    switch method {
    case .each, .eachPair, .reverseEach:
      let block = try need(block, method)
      for element in method == .reverseEach ? elements.reversed() : elements { _ = try block.call(self, element) }
      return this
    case .map, .collect, .flatMap, .collectConcat, .filterMap:
      let block = try need(block, method)
      var result: [RubyValue] = []
      for element in elements {
        let value = try block.call(self, element)
        switch method {
        case .flatMap, .collectConcat:
          if case .array(let inner) = value {
            try charge(inner.elements.count &* 24)
            result += inner.elements
          } else {
            result.append(value)
          }
        case .filterMap: if value.isTrue { result.append(value) }
        default: result.append(value)
        }
      }
      return try array(result)
    case .select, .filter, .findAll: return try array(chosen(elements, need(block, method), keeps: true))
    case .reject: return try array(chosen(elements, need(block, method), keeps: false))
    case .partition:
      let block = try need(block, method)
      var (yes, no): ([RubyValue], [RubyValue]) = ([], [])
      for element in elements { if try block.call(self, element).isTrue { yes.append(element) } else { no.append(element) } }
      return try array([array(yes), array(no)])
    case .find, .detect:
      let block = try need(block, method)
      for element in elements where try block.call(self, element).isTrue { return element }
      return .null
    case .findIndex, .indexOf, .rindex:
      if method == .rindex {
        for (i, element) in elements.enumerated().reversed() where try holds(element, a, block) { return RubyValue(i) }
        return .null
      }
      for (i, element) in elements.enumerated() where try holds(element, a, block) { return RubyValue(i) }
      return .null
    case .isAny:
      for element in elements where try passes(element, a, block) { return .bool(true) }
      return .bool(false)
    case .isAll:
      for element in elements where !(try passes(element, a, block)) { return .bool(false) }
      return .bool(true)
    case .isNone:
      for element in elements where try passes(element, a, block) { return .bool(false) }
      return .bool(true)
    case .isOne:
      var n = 0
      for element in elements where try passes(element, a, block) { n += 1 }
      return .bool(n == 1)
    case .count:
      if a.isEmpty, block == nil { return RubyValue(elements.count) }
      var n = 0
      for element in elements where try holds(element, a, block) { n += 1 }
      return RubyValue(n)
    case .include, .member:
      try arity(a, 1...1)
      for element in elements { if try isEqual(element, a[0]) { return .bool(true) } }
      return .bool(false)
    case .first:
      guard let n = a.first else { return elements.first ?? .null }
      return try array(Array(elements.prefix(max(0, integer(n)))))
    case .take: return try array(Array(elements.prefix(max(0, integer(a.first)))))
    case .drop: return try array(Array(elements.dropFirst(max(0, integer(a.first)))))
    case .takeWhile, .dropWhile:
      let block = try need(block, method)
      var n = 0
      while n < elements.count, try block.call(self, elements[n]).isTrue { n += 1 }
      return try array(Array(method == .takeWhile ? elements[..<n] : elements[n...]))
    case .join:
      let separator = a.first.map { $0.isNull } ?? true ? [] : try text(a[0])
      var out: [UInt8] = []
      try join(elements, separator, &out, 0)
      return try string(out)
    case .toA, .entries, .lazy, .force: return try array(elements)
    case .sort:
      guard let block else { return try array(sorted(elements) { x, y throws(Failure) in try order(x, y) }) }
      return try array(sorted(elements) { x, y throws(Failure) in try integer(block.call(self, x, y)) })
    case .sortBy, .minBy, .maxBy:
      let block = try need(block, method)
      var keyed: [(RubyValue, RubyValue)] = []
      for element in elements { keyed.append((try block.call(self, element), element)) }
      if method == .sortBy || !a.isEmpty {
        var places: [RubyValue] = keyed.indices.map { RubyValue($0) }
        places = try sorted(places) { x, y throws(Failure) in
          guard case .int(let i) = x, case .int(let k) = y else { return 0 }
          let result = try order(keyed[Int(i)].0, keyed[Int(k)].0)
          return method == .maxBy ? -result : result
        }
        var result: [RubyValue] = []
        for place in places { if case .int(let i) = place { result.append(keyed[Int(i)].1) } }
        return try array(method == .sortBy ? result : Array(result.prefix(max(0, integer(a[0])))))
      }
      var best: (RubyValue, RubyValue)?
      for pair in keyed {
        guard let current = best else {
          best = pair
          continue
        }
        let result = try order(pair.0, current.0)
        if method == .minBy ? result < 0 : result > 0 { best = pair }
      }
      return best?.1 ?? .null
    case .min, .max, .minmax:
      let ordered = try sorted(elements) { x, y throws(Failure) in
        if let block { return try integer(block.call(self, x, y)) }
        return try order(x, y)
      }
      if method == .minmax { return try array([ordered.first ?? .null, ordered.last ?? .null]) }
      if let n = a.first { return try array(Array((method == .min ? ordered : ordered.reversed()).prefix(max(0, integer(n))))) }
      return (method == .min ? ordered.first : ordered.last) ?? .null
    case .sum:
      var total = a.first ?? .int(0)
      for element in elements {
        let value = try block?.call(self, element) ?? element
        total = try call(total, .add, [value])
      }
      return total
    case .inject, .reduce: return try reduced(elements, a, block)
    case .uniq:
      guard let block else { return try array(unique(elements)) }
      var seen: Set<RubyValue> = []
      var result: [RubyValue] = []
      for element in elements where seen.insert(try block.call(self, element)).inserted { result.append(element) }
      return try array(result)
    case .groupBy, .tally, .toH: return try gathered(elements, method, block)
    case .eachWithIndex, .withIndex:
      let start = method == .withIndex && !a.isEmpty ? try integer(a[0]) : 0
      guard let block else {
        var pairs: [RubyValue] = []
        for (i, element) in elements.enumerated() { pairs.append(try array([element, RubyValue(start &+ i)])) }
        return try array(pairs)
      }
      for (i, element) in elements.enumerated() { _ = try block.call(self, element, RubyValue(start &+ i)) }
      return this
    case .eachWithObject:
      try arity(a, 1...1)
      let block = try need(block, method)
      var memo = a[0]
      for element in elements {
        _ = try block.call(self, element, memo)
        // A text that the block appended to is a new value in its variable.
        if case .string = memo, block.pattern.targets.count > 1, case .slot(let slot) = block.pattern.targets[1], slots.indices.contains(slot) {
          memo = slots[slot]
        }
      }
      return memo
    case .eachSlice, .eachCons:
      let size = try integer(a.first)
      guard size > 0 else { throw .argument("invalid \(method == .eachSlice ? "slice" : "") size") }
      var groups: [RubyValue] = []
      var start = 0
      while start < elements.count, method == .eachSlice || size <= elements.count - start {
        groups.append(try array(Array(elements[start..<min(elements.count, start &+ min(size, elements.count))])))
        start += method == .eachSlice ? min(size, elements.count) : 1
      }
      guard let block else { return try array(groups) }
      for group in groups { _ = try block.call(self, group) }
      return this
    case .zip:
      var others: [[RubyValue]] = []
      for value in a { others.append(try list(value)) }
      var rows: [RubyValue] = []
      for (i, element) in elements.enumerated() { rows.append(try array([element] + others.map { i < $0.count ? $0[i] : .null })) }
      return try array(rows)
    case .grep, .grepV:
      try arity(a, 1...1)
      var result: [RubyValue] = []
      for element in elements {
        try step()
        guard try caseEquals(a[0], element) == (method == .grep) else { continue }
        result.append(try block?.call(self, element) ?? element)
      }
      return try array(result)
    default: return nil
    }
  }

  /// `any?(pattern)`, `any? { … }` and `any?`.
  private func passes(_ element: RubyValue, _ a: [RubyValue], _ block: Block?) throws(Failure) -> Bool {
    try step()
    if let test = a.first { return try caseEquals(test, element) }
    return try block?.call(self, element).isTrue ?? element.isTrue
  }
  /// `index(value)` and `index { … }`.
  private func holds(_ element: RubyValue, _ a: [RubyValue], _ block: Block?) throws(Failure) -> Bool {
    try step()
    if let value = a.first { return try isEqual(element, value) }
    return try block?.call(self, element).isTrue ?? true
  }

  private func join(_ elements: [RubyValue], _ separator: [UInt8], _ out: inout [UInt8], _ depth: Int) throws(Failure) {
    guard depth < RubyValue.maximumDepth else { throw Failure.tooDeep }
    for (i, element) in elements.enumerated() {
      try step()
      if i > 0 { out += separator }
      let before = out.count
      if case .array(let inner) = element { try join(inner.elements, separator, &out, depth + 1) } else { out += element.displayBytes }
      try charge(out.count - before + separator.count)
    }
  }

  private func reduced(_ elements: [RubyValue], _ a: [RubyValue], _ block: Block?) throws(Failure) -> RubyValue {
    var rest = elements[...]
    var arguments = a
    var method: Method?
    if block == nil, let last = arguments.popLast() {
      let name = try label(last)
      guard let found = Method(rawValue: name) else { throw .raise(.noMethodError, "undefined method `\(name)'") }
      method = found
    }
    var total: RubyValue
    if let first = arguments.first {
      total = first
    } else {
      guard let first = rest.popFirst() else { return .null }
      total = first
    }
    for element in rest {
      try step()
      if let method { total = try call(total, method, [element]) } else { total = try need(block, .inject).call(self, total, element) }
    }
    return total
  }

  private func gathered(_ elements: [RubyValue], _ method: Method, _ block: Block?) throws(Failure) -> RubyValue {
    let hash = try newHash()
    for element in elements {
      try step()
      switch method {
      case .tally:
        if case .int(let n)? = hash[element] { try set(hash, element, .int(n &+ 1)) } else { try set(hash, element, .int(1)) }
      case .groupBy:
        let key = try need(block, method).call(self, element)
        if case .array(let group)? = hash[key] { try append(group, element) } else { try set(hash, key, array([element])) }
      default:
        let value = try block?.call(self, element) ?? element
        guard case .array(let pair) = value else { throw .type("wrong element type \(value.module.rawValue) (expected array)") }
        guard pair.elements.count == 2 else { throw .argument("element has wrong array length (expected 2, was \(pair.elements.count))") }
        try set(hash, pair.elements[0], pair.elements[1])
      }
    }
    return .hash(hash)
  }

  // MARK: ranges

  func callRange(_ range: RubyRange, _ method: Method, _ a: [RubyValue], _ block: Block?) throws(Failure) -> RubyValue? {
    switch method {
    case .begin: return range.first
    case .end: return range.last
    case .excludeEnd: return .bool(range.excludesEnd)
    case .first where a.isEmpty: return range.first
    case .first, .take:
      guard case .int(let low) = range.first, range.last.isNull else { return try callElements(.range(range), elements(range), method, a, block) }
      let n = max(0, try integer(a[0]))
      return try array(elements(RubyRange(.int(low), .int(low.addingReportingOverflow(Int64(n)).partialValue), excludesEnd: true)))
    case .last where a.isEmpty: return range.last
    case .include, .member, .cover, .caseEqual:
      try arity(a, 1...1)
      return .bool(try covers(range, a[0]))
    case .toS, .inspect, .equal, .notEqual, .isNil, .isA, .kindOf, .classOf, .dup, .itself: return nil
    case .size, .length: return RubyValue(try elements(range).count)
    case .step, .modulo:
      let size = try integer(a.first)
      guard size > 0 else { throw .argument("step must be positive") }
      let kept = try elements(range).enumerated().filter { $0.offset % size == 0 }.map(\.element)
      guard let block else { return try array(kept) }
      for element in kept { _ = try block.call(self, element) }
      return .range(range)
    default: return try callElements(.range(range), elements(range), method, a, block)
    }
  }

  func covers(_ range: RubyRange, _ value: RubyValue) throws(Failure) -> Bool {
    if !range.first.isNull { guard let low = range.first.compare(value), low <= 0 else { return false } }
    if range.last.isNull { return true }
    guard let high = value.compare(range.last) else { return false }
    return range.excludesEnd ? high < 0 : high <= 0
  }

  func elements(_ range: RubyRange) throws(Failure) -> [RubyValue] {
    switch (range.first, range.last) {
    case (.int(let low), .int(let high)):
      let (size, overflow) = high.subtractingReportingOverflow(low)
      if overflow || size == .max { try step(.max) }
      let count = max(0, size &+ (range.excludesEnd ? 0 : 1))
      try step(Int(clamping: count))
      try charge(Int(clamping: count) &* 24)
      return (0..<count).map { .int(low &+ $0) }
    case (.string(let low), .string(let high)):
      var result: [RubyValue] = []
      var next = low.bytes
      while next.count <= high.bytes.count {
        try step()
        if next == high.bytes {
          if !range.excludesEnd { result.append(try string(next)) }
          break
        }
        result.append(try string(next))
        let following = RubyText.successor(next)
        if following == next { break }
        next = following
      }
      return result
    case (_, .null): throw .raise(.rangeError, "cannot convert endless range to an array")
    default: throw .type("can't iterate from \(range.first.describedClass)")
    }
  }
}
