extension Bindings {
  /// Array's own methods; those of Enumerable are in `callElements`.
  func callArray(_ array: RubyArray, _ method: Method, _ a: [RubyValue], _ block: Block?) throws(Failure) -> RubyValue? {
    let elements = array.elements
    let this = RubyValue.array(array)
    switch method {
    case .index, .slice: return try at(elements, a)
    case .indexSet:
      try arity(a, 2...2)
      let given = try integer(a[0])
      let place = given < 0 ? given &+ elements.count : given
      guard place >= 0 else { throw .raise(.indexError, "index \(given) too small for array") }
      try charge(max(1, place - elements.count), each: 24)
      while array.elements.count <= place { array.elements.append(.null) }
      array.elements[place] = a[1]
      return a[1]
    case .at, .dig:
      guard let first = a.first else { throw .argument("wrong number of arguments (given 0, expected 1+)") }
      let value = try at(elements, [first])
      return method == .at || a.count == 1 || value.isNull ? value : try call(value, .dig, Array(a.dropFirst()))
    case .fetch:
      try arity(a, 1...2)
      let place = try integer(a[0])
      let index = place < 0 ? place &+ elements.count : place
      if elements.indices.contains(index) { return elements[index] }
      if let block { return try block.call(self, a[0]) }
      if a.count > 1 { return a[1] }
      throw .raise(.indexError, "index \(place) outside of array bounds: \(-elements.count)...\(elements.count)")
    case .valuesAt:
      var values: [RubyValue] = []
      for key in a { values.append(try at(elements, [key])) }
      return try self.array(values)
    case .push, .append, .shiftLeft:
      for value in a { try append(array, value) }
      return this
    case .concat:
      for value in a {
        let more = try list(value)
        try charge(more.count &* 24)
        array.elements += more
      }
      return this
    case .unshift, .prepend:
      try charge(elements.count &* 24)
      array.elements = a + elements
      return this
    case .insert:
      guard a.count > 1 else { throw .argument("wrong number of arguments (given \(a.count), expected 2+)") }
      let given = try integer(a[0])
      let place = given < 0 ? given &+ elements.count &+ 1 : given
      guard place >= 0 else { throw .raise(.indexError, "index \(given) too small for array") }
      try charge(max(place, elements.count), each: 24)
      while array.elements.count < place { array.elements.append(.null) }
      array.elements.insert(contentsOf: a.dropFirst(), at: place)
      return this
    case .pop, .shift:
      guard let first = a.first else {
        guard !elements.isEmpty else { return .null }
        return method == .pop ? array.elements.removeLast() : array.elements.removeFirst()
      }
      let n = min(max(0, try integer(first)), elements.count)
      if method == .pop {
        array.elements.removeLast(n)
        return try self.array(Array(elements.suffix(n)))
      }
      array.elements.removeFirst(n)
      return try self.array(Array(elements.prefix(n)))
    case .delete:
      try arity(a, 1...1)
      try step(elements.count)
      guard let found = elements.last(where: { $0.equals(a[0]) }) else { return .null }
      array.elements.removeAll { $0.equals(a[0]) }
      return found
    case .deleteAt:
      let given = try integer(a.first)
      let place = given < 0 ? given &+ elements.count : given
      return elements.indices.contains(place) ? array.elements.remove(at: place) : .null
    case .deleteIf, .keepIf:
      array.elements = try chosen(elements, need(block, method), keeps: method == .keepIf)
      return this
    case .clear:
      array.elements = []
      return this
    case .replace:
      try arity(a, 1...1)
      array.elements = try list(a[0])
      return this
    case .add:
      try arity(a, 1...1)
      guard case .array(let other) = a[0] else { throw .type("no implicit conversion of \(a[0].describedClass) into Array") }
      return try self.array(elements + other.elements)
    case .subtract, .difference, .and, .intersection, .isIntersecting:
      var result = elements
      for other in a {
        guard case .array(let list) = other else { throw .type("no implicit conversion of \(other.describedClass) into Array") }
        try step(result.count + list.elements.count)
        let members = Set(list.elements)
        let removes = method == .subtract || method == .difference
        result = result.filter { members.contains($0) != removes }
      }
      if method == .isIntersecting { return .bool(!result.isEmpty) }
      return try self.array(method == .and || method == .intersection ? unique(result) : result)
    case .or, .union:
      var result = elements
      for other in a { result += try list(other) }
      return try self.array(unique(result))
    case .multiply:
      try arity(a, 1...1)
      if case .string = a[0] { return try callElements(this, elements, .join, a, block) }
      let times = try integer(a[0])
      guard times >= 0 else { throw .argument("argument must be non-negative") }
      let (total, overflow) = (elements.count &* 24).multipliedReportingOverflow(by: times)
      try charge(overflow ? .max : total)
      return try self.array(Array(repeatElement(elements, count: elements.isEmpty ? 0 : times).joined()))
    case .isEmpty: return .bool(elements.isEmpty)
    case .length, .size: return RubyValue(elements.count)
    case .toA, .toAry, .entries, .lazy, .force: return this
    case .dup, .clone: return try self.array(elements)
    case .last:
      guard let n = a.first else { return elements.last ?? .null }
      return try self.array(Array(elements.suffix(max(0, integer(n)))))
    case .reverse: return try self.array(elements.reversed())
    case .rotate:
      guard !elements.isEmpty else { return try self.array([]) }
      let n = ((a.isEmpty ? 1 : try integer(a[0])) % elements.count + elements.count) % elements.count
      return try self.array(Array(elements[n...] + elements[..<n]))
    case .sample: return elements.randomElement(using: &generator) ?? .null
    case .shuffle: return try self.array(elements.shuffled(using: &generator))
    case .assoc:
      try arity(a, 1...1)
      for element in elements { if case .array(let pair) = element, let first = pair.elements.first, try isEqual(first, a[0]) { return element } }
      return .null
    case .transpose:
      var columns: [[RubyValue]] = []
      for element in elements {
        let row = try list(element)
        try step(row.count)
        if columns.isEmpty { columns = Array(repeating: [], count: row.count) }
        guard row.count == columns.count else { throw .raise(.indexError, "element size differs (\(row.count) should be \(columns.count))") }
        for (i, value) in row.enumerated() { columns[i].append(value) }
      }
      var result: [RubyValue] = []
      for column in columns { result.append(try self.array(column)) }
      return try self.array(result)
    case .flatten:
      let depth = a.first.map { $0.isNull ? -1 : 0 } ?? -1
      var out: [RubyValue] = []
      try flatten(elements, depth < 0 ? 100 : integer(a[0]), &out, 0)
      return try self.array(out)
    case .compact: return try self.array(elements.filter { !$0.isNull })
    case .pack: throw .argument("pack is not supported")
    default: return try callElements(this, elements, method, a, block)
    }
  }

  private func flatten(_ elements: [RubyValue], _ levels: Int, _ out: inout [RubyValue], _ depth: Int) throws(Failure) {
    guard depth < RubyValue.maximumDepth else { throw Failure.tooDeep }
    for element in elements {
      try step()
      if case .array(let inner) = element, levels != 0 {
        try flatten(inner.elements, levels - 1, &out, depth + 1)
      } else {
        try charge(24)
        out.append(element)
      }
    }
  }

  func unique(_ elements: [RubyValue]) throws(Failure) -> [RubyValue] {
    try step(elements.count)
    var seen: Set<RubyValue> = []
    return elements.filter { seen.insert($0).inserted }
  }

  func chosen(_ elements: [RubyValue], _ block: Block, keeps: Bool) throws(Failure) -> [RubyValue] {
    var result: [RubyValue] = []
    for element in elements where try block.call(self, element).isTrue == keeps { result.append(element) }
    return result
  }

  /// `array[…]`.
  private func at(_ elements: [RubyValue], _ a: [RubyValue]) throws(Failure) -> RubyValue {
    try arity(a, 1...2)
    if a.count == 2 {
      guard let range = RubyText.range(try integer(a[0]), try integer(a[1]), elements.count) else { return .null }
      return try array(Array(elements[range]))
    }
    if case .range(let range) = a[0] {
      guard let (start, count) = try bounds(range, elements.count) else { return .null }
      return try array(Array(elements[start..<start + count]))
    }
    let given = try integer(a[0])
    let place = given < 0 ? given &+ elements.count : given
    return elements.indices.contains(place) ? elements[place] : .null
  }
}
