import AggCore

extension Bindings {
  /// Calls a method: first those of the receiver's class, then those of all objects.
  func call(_ receiver: RubyValue, _ method: Method, _ a: [RubyValue], _ block: Block? = nil) throws(Failure) -> RubyValue {
    try step()
    try deeper()
    if method.mayChangeContainer { try checkFrozen(receiver) }
    let result: RubyValue?
    switch receiver {
    case .string(let text): result = try callString(text, method, a, block)
    case .hash(let hash): result = try callHash(hash, method, a, block)
    case .array(let array): result = try callArray(array, method, a, block)
    case .int(let value): result = try callInteger(value, method, a, block)
    case .double(let value): result = try callFloat(value, method, a)
    case .uint(let value): result = try callFloat(Double(value), method, a)
    case .null: result = try callNil(method, a)
    case .bool(let value): result = callBool(value, method, a)
    case .symbol(let bytes): result = try callSymbol(bytes, method, a, block)
    case .time(let time): result = try callTime(time, method, a)
    case .range(let range): result = try callRange(range, method, a, block)
    case .regexp(let regexp): result = try callRegexp(regexp, method, a)
    case .match(let match): result = try callMatch(match, method, a)
    case .module(let module): result = try callModule(module, method, a, block)
    case .exception(let exception): result = try callException(exception, method, a)
    case .ext(let ext): result = try callExtension(ext, method, a, block)
    }
    if let result { return result }
    return try callObject(receiver, method, a, block)
  }

  func checkFrozen(_ value: RubyValue) throws(Failure) {
    let isFrozen =
      switch value {
      case .hash(let hash): hash.isFrozen
      case .array(let array): array.isFrozen
      default: false
      }
    if isFrozen { throw .raise(.frozenError, "can't modify frozen \(value.module.rawValue)") }
  }

  /// An EventTime answers as its seconds do, but for its fraction.
  private func callExtension(_ ext: RubyExtension, _ method: Method, _ a: [RubyValue], _ block: Block?) throws(Failure) -> RubyValue? {
    guard let time = ext.eventTime else { return nil }
    switch method {
    case .toS: return try string(RubyValue.ext(ext).displayBytes)
    case .inspect, .isA, .kindOf, .instanceOf, .classOf, .equal, .notEqual, .eql, .isEqual, .toJSON, .toMsgpack, .dup, .clone: return nil
    case .toF: return .double(time.doubleValue)
    case .nsec: return .int(Int64(time.nanoseconds))
    case .sec: return .int(time.seconds)
    case .toTime: return .time(RubyTime(time, host.zone))
    default: return try callInteger(time.seconds, method, a, block)
    }
  }

  func undefined(_ method: Method, _ receiver: RubyValue) -> Failure {
    .raise(.noMethodError, "undefined method `\(method.rawValue)' for \(receiver.described)")
  }

  func arity(_ a: [RubyValue], _ allowed: ClosedRange<Int>) throws(Failure) {
    if allowed.contains(a.count) { return }
    let expected = allowed.lowerBound == allowed.upperBound ? "\(allowed.lowerBound)" : "\(allowed.lowerBound)..\(allowed.upperBound)"
    throw .argument("wrong number of arguments (given \(a.count), expected \(expected))")
  }

  func need(_ block: Block?, _ method: Method) throws(Failure) -> Block {
    guard let block else { throw .argument("'\(method.rawValue)' without a block is not supported") }
    return block
  }

  // MARK: arguments

  func integer(_ value: RubyValue?) throws(Failure) -> Int {
    switch value {
    case .int(let value)?: return Int(value)
    case .double(let value)?:
      guard let whole = Int(exactly: value.rounded(.towardZero)) else { throw .raise(.rangeError, "float \(value) out of range of integer") }
      return whole
    case .uint?: throw Failure.overflow
    case let value:
      throw .type(
        "no implicit conversion \(value.map { $0.isNull ? "from nil" : "of \($0.describedClass) into" } ?? "of nothing into") \(value?.isNull == true ? "to integer" : "Integer")"
      )
    }
  }

  func text(_ value: RubyValue?) throws(Failure) -> [UInt8] {
    guard case .string(let text)? = value else { throw .type("no implicit conversion of \(value?.describedClass ?? "nothing") into String") }
    return text.bytes
  }

  /// A name: string or symbol.
  func label(_ value: RubyValue?) throws(Failure) -> String {
    if case .symbol(let bytes)? = value { return String(decoding: bytes, as: UTF8.self) }
    return String(decoding: try text(value), as: UTF8.self)
  }

  /// `*value` and `Array(value)`.
  func list(_ value: RubyValue) throws(Failure) -> [RubyValue] {
    switch value {
    case .array(let array): return array.elements
    case .null: return []
    case .hash(let hash): return try pairs(hash)
    case .range(let range): return try elements(range)
    default: return [value]
    }
  }

  func pairs(_ hash: RubyHash) throws(Failure) -> [RubyValue] {
    try step(hash.count)
    var result: [RubyValue] = []
    result.reserveCapacity(hash.count)
    for (key, value) in hash.pairs { result.append(try array([key, value])) }
    return result
  }

  // MARK: comparing

  func isEqual(_ a: RubyValue, _ b: RubyValue) throws(Failure) -> Bool {
    switch (a, b) {
    case (.array(let x), .array): try step(x.elements.count)
    case (.hash(let x), .hash): try step(x.count)
    default: break
    }
    return a.equals(b)
  }

  func order(_ a: RubyValue, _ b: RubyValue) throws(Failure) -> Int {
    try step()
    guard let result = a.compare(b) else { throw .argument("comparison of \(a.describedClass) with \(b.describedValue) failed") }
    return result
  }

  /// `===`.
  func caseEquals(_ test: RubyValue, _ value: RubyValue) throws(Failure) -> Bool {
    switch test {
    case .module(let module): return value.module.inherits(module)
    case .regexp(let regexp):
      switch value {
      case .string, .symbol: return try match(regexp, RubyString(value.displayBytes)) != nil
      default: return false
      }
    case .range(let range): return try covers(range, value)
    default: return test.equals(value)
    }
  }

  /// Sorts stably and within the limits.
  func sorted(_ elements: [RubyValue], by areInOrder: (RubyValue, RubyValue) throws(Failure) -> Int) throws(Failure) -> [RubyValue] {
    var runs = elements
    var width = 1
    while width < runs.count {
      var merged: [RubyValue] = []
      merged.reserveCapacity(runs.count)
      var start = 0
      while start < runs.count {
        let middle = min(start + width, runs.count)
        let end = min(start + 2 * width, runs.count)
        var i = start
        var k = middle
        while i < middle, k < end {
          if try areInOrder(runs[i], runs[k]) <= 0 {
            merged.append(runs[i])
            i += 1
          } else {
            merged.append(runs[k])
            k += 1
          }
        }
        merged += runs[i..<middle]
        merged += runs[k..<end]
        start = end
      }
      runs = merged
      width *= 2
    }
    return runs
  }
}

extension RubyValue {
  /// As Ruby's NoMethodError names a receiver.
  var described: String {
    switch self {
    case .null: "nil:NilClass"
    case .bool(let value): "\(value):\(value ? "TrueClass" : "FalseClass")"
    case .module(let module): "\(module.rawValue):Class"
    default: shortInspected + ":" + module.rawValue
    }
  }
  var describedClass: String {
    switch self {
    case .null: "nil"
    case .bool(let value): String(value)
    default: module.rawValue
    }
  }
  var describedValue: String {
    switch self {
    case .int, .uint, .double, .null, .bool: shortInspected
    default: module.rawValue
    }
  }
  private var shortInspected: String {
    let text = inspected
    return text.count > 80 ? String(decoding: text.prefix(77), as: UTF8.self) + "..." : String(decoding: text, as: UTF8.self)
  }
}
