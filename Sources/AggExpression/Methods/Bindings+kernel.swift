import AggCore

extension Bindings {
  /// `Integer(…)`, `Float(…)`, `String(…)`, `Array(…)`, `format(…)`, `rand(…)`.
  func kernel(_ method: Method, _ a: [RubyValue]) throws(Failure) -> RubyValue? {
    switch method {
    case .kernelInteger, .kernelFloat:
      var arguments = a
      var raises = true
      if case .hash(let options)? = arguments.last {
        raises = options[.symbol(Array("exception".utf8))]?.isTrue ?? true
        arguments.removeLast()
      }
      try arity(arguments, 1...2)
      do throws(Failure) {
        return method == .kernelInteger ? try strictInteger(arguments) : try strictFloat(arguments[0])
      } catch {
        if case .raised = error, !raises { return .null }
        throw error
      }
    case .kernelString:
      try arity(a, 1...1)
      return try string(a[0].displayBytes)
    case .kernelArray:
      try arity(a, 1...1)
      return try array(list(a[0]))
    case .kernelFormat:
      guard !a.isEmpty else { throw .argument("too few arguments") }
      return try string(format(text(a[0]), Array(a.dropFirst())))
    case .kernelRandom, .randomNumber:
      switch a.first {
      case nil, .null?, .int(0)?: return .double(Double.random(in: 0..<1, using: &generator))
      case .int(let n)?: return .int(Int64.random(in: 0..<max(1, n == .min ? 1 : Swift.abs(n)), using: &generator))
      case .double(let n)? where n.isFinite && n > 0: return .double(Double.random(in: 0..<n, using: &generator))
      case .range(let range)?:
        guard case .int(let low) = range.first, case .int(let high) = range.last, low < high || (low == high && !range.excludesEnd) else {
          return .null
        }
        return .int(range.excludesEnd ? Int64.random(in: low..<high, using: &generator) : Int64.random(in: low...high, using: &generator))
      default: throw .argument("invalid argument for rand")
      }
    default: return nil
    }
  }

  private func strictInteger(_ a: [RubyValue]) throws(Failure) -> RubyValue {
    switch a[0] {
    case .int, .uint: return a[0]
    case .double: return .int(Int64(try integer(a[0])))
    case .time(let time): return .int(time.time.seconds)
    case .null: throw .type("can't convert nil into Integer")
    case .string(let text):
      let radix = a.count > 1 ? try integer(a[1]) : nil
      if let radix, !(2...36).contains(radix) { throw .argument("invalid radix \(radix)") }
      switch RubyNumbers.integer(text.bytes, radix: radix) {
      case .value(let value): return .int(value)
      case .tooLarge: throw Failure.overflow
      case .invalid: throw .argument("invalid value for Integer(): \(String(decoding: a[0].inspected.prefix(200), as: UTF8.self))")
      }
    default: throw .type("can't convert \(a[0].module.rawValue) into Integer")
    }
  }

  private func strictFloat(_ value: RubyValue) throws(Failure) -> RubyValue {
    if let number = value.number { return .double(number) }
    switch value {
    case .null: throw .type("can't convert nil into Float")
    case .time(let time): return .double(time.time.doubleValue)
    case .string(let text):
      guard let number = RubyNumbers.float(text.bytes) else {
        throw .argument("invalid value for Float(): \(String(decoding: value.inspected.prefix(200), as: UTF8.self))")
      }
      return .double(number)
    default: throw .type("can't convert \(value.module.rawValue) into Float")
    }
  }

  // MARK: Time

  func timeClass(_ module: RubyModule, _ method: Method, _ a: [RubyValue]) throws(Failure) -> RubyValue? {
    let isDateTime = module == .dateTime
    let local = host.zone
    switch method {
    case .now: return .time(RubyTime(.now(), local, isDateTime: isDateTime))
    case .new where a.isEmpty: return .time(RubyTime(.now(), local))
    case .at: return try timeAt(a)
    case .parse, .iso8601, .xmlschema:
      try arity(a, 1...2)
      let bytes = try text(a[0])
      let base = isDateTime ? Zone.utc : local
      let parser = try? TimeParser(format: method == .parse ? nil : "%iso8601", zone: base)
      guard let time = bytes.withUnsafeBytes({ parser?.parse($0) }) else {
        throw .raise(
          isDateTime ? .dateError : .argumentError,
          isDateTime ? "invalid date" : "no time information in \(String(decoding: a[0].inspected.prefix(200), as: UTF8.self))")
      }
      return .time(RubyTime(time, RubyZone.suffix(bytes) ?? base, isDateTime: isDateTime))
    case .strptime:
      try arity(a, 1...2)
      let bytes = try text(a[0])
      let format = String(decoding: a.count > 1 ? try text(a[1]) : Array("%FT%T%z".utf8), as: UTF8.self)
      let base = isDateTime ? Zone.utc : local
      let time: EventTime?
      try step(20)
      do throws(ConfigValueError) {
        let program = try StrptimeProgram(format)
        time = bytes.withUnsafeBytes { program.parse($0, zone: base) }
      } catch {
        throw .argument(error.message)
      }
      guard let time else {
        throw .raise(
          isDateTime ? .dateError : .argumentError,
          isDateTime ? "invalid date" : "invalid date or strptime format - `\(String(decoding: bytes.prefix(200), as: UTF8.self))' `\(format)'")
      }
      let hasZone = format.contains("%z") || format.contains("%Z") || format.contains(":z")
      return .time(RubyTime(time, hasZone ? RubyZone.suffix(bytes) ?? base : format.contains("%s") ? local : base, isDateTime: isDateTime))
    case .utc, .gm, .local, .mktime, .new:
      try arity(a, 1...7)
      var numbers: [Int] = []
      for value in a.prefix(6) {
        if case .string(let text) = value {
          numbers.append(Int(RubyNumbers.integerPrefix(text.bytes, radix: 10) ?? -1))
        } else {
          numbers.append(try integer(value))
        }
      }
      func part(_ i: Int, _ fallback: Int, _ range: ClosedRange<Int>) throws(Failure) -> Int {
        guard i < numbers.count else { return fallback }
        guard range.contains(numbers[i]) else { throw .argument("argument out of range") }
        return numbers[i]
      }
      let civil = CivilTime(
        year: Int64(try part(0, 1970, -9999...99999)), month: try part(1, 1, 1...12), day: try part(2, 1, 1...31), hour: try part(3, 0, 0...24),
        minute: try part(4, 0, 0...59), second: try part(5, 0, 0...60))
      let base = method == .utc || method == .gm ? Zone.utc : a.count > 6 ? try zone(a[6]) : local
      return .time(RubyTime(EventTime(seconds: base.instant(of: civil)), base))
    default: return nil
    }
  }

  /// `Time.at(seconds, sub, :millisecond, in: "UTC")`.
  private func timeAt(_ a: [RubyValue]) throws(Failure) -> RubyValue {
    var arguments = a
    var base = host.zone
    if case .hash(let options)? = arguments.last {
      arguments.removeLast()
      if let value = options[.symbol(Array("in".utf8))], !value.isNull { base = try zone(value) }
    }
    try arity(arguments, 1...3)
    var time: EventTime
    switch arguments[0] {
    case .int(let seconds): time = EventTime(seconds: seconds)
    case .double(let value):
      guard value.isFinite, Swift.abs(value) < 1e15 else { throw .raise(.floatDomainError, "\(value)") }
      time = EventTime(value)
    case .time(let other): time = other.time
    case .ext(let ext):
      guard let exact = ext.eventTime else { throw .type("can't convert an extension into an exact number") }
      time = exact
    default: throw .type("can't convert \(arguments[0].describedClass) into an exact number")
    }
    if arguments.count > 1 {
      guard let sub = arguments[1].number else { throw .type("can't convert \(arguments[1].describedClass) into an exact number") }
      let unit = arguments.count > 2 ? try label(arguments[2]) : "microsecond"
      let divisors: [String: Double] = ["millisecond": 1e3, "microsecond": 1e6, "usec": 1e6, "nanosecond": 1e9, "nsec": 1e9]
      guard let divisor = divisors[unit] else { throw .argument("unexpected unit: \(unit)") }
      time = try moved(time, by: sub / divisor)
    }
    return .time(RubyTime(time, base))
  }
}

/// The zone that a time's text names at its end.
enum RubyZone {
  private static let offset = try? Regexp("(?:([-+])(\\d\\d):?(\\d\\d)|(Z|UTC|GMT))\\s*\\z", options: .ignoreCase)

  static func suffix(_ bytes: [UInt8]) -> Zone? {
    guard let offset else { return nil }
    var matcher = offset.matcher()
    // A date alone ends like an offset: "2026-01-02".
    guard bytes.count > 10, bytes.withUnsafeBytes({ matcher.match($0) }) else { return nil }
    if matcher.range(of: 4) != nil { return .utc }
    guard let sign = matcher.range(of: 1), let hours = matcher.range(of: 2), let minutes = matcher.range(of: 3),
      let h = Int(String(decoding: bytes[hours], as: UTF8.self)),
      let m = Int(String(decoding: bytes[minutes], as: UTF8.self)), h < 24, m < 60
    else { return nil }
    return .fixed((bytes[sign.lowerBound] == UInt8(ascii: "-") ? -1 : 1) * (h * 3600 + m * 60))
  }
}
