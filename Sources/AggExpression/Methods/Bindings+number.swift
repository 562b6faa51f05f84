import AggCore
import Glibc

extension Bindings {
  func callInteger(_ value: Int64, _ method: Method, _ a: [RubyValue], _ block: Block?) throws(Failure) -> RubyValue? {
    switch method {
    case .add, .subtract, .multiply, .divide, .modulo, .modulus, .div, .power, .pow, .divmod, .fdiv, .remainder, .compare, .less, .lessOrEqual,
      .greater,
      .greaterOrEqual:
      return try arithmetic(.int(value), method, a)
    case .negate:
      let (result, overflow) = (0 as Int64).subtractingReportingOverflow(value)
      if overflow { throw Failure.overflow }
      return .int(result)
    case .toS, .inspect:
      let radix = a.isEmpty ? 10 : try integer(a[0])
      guard (2...36).contains(radix) else { throw .argument("invalid radix \(radix)") }
      return RubyValue(String(value, radix: radix))
    case .toI, .toInt, .ord, .toR: return .int(value)
    case .floor, .ceil, .round, .truncate: return try rounded(value, method, a)
    case .toF: return .double(Double(value))
    case .abs, .magnitude:
      guard value != .min else { throw Failure.overflow }
      return .int(Swift.abs(value))
    case .isZero: return .bool(value == 0)
    case .isNonzero: return value == 0 ? .null : .int(value)
    case .isPositive: return .bool(value > 0)
    case .isNegative: return .bool(value < 0)
    case .isEven: return .bool(value & 1 == 0)
    case .isOdd: return .bool(value & 1 == 1)
    case .isInteger, .isFinite: return .bool(true)
    case .isNaN: return nil
    case .isInfinite: return .null
    case .size: return .int(8)
    case .bitLength: return RubyValue(64 - (value < 0 ? ~value : value).leadingZeroBitCount)
    case .succ, .next, .pred: return try arithmetic(.int(value), method == .pred ? .subtract : .add, [.int(1)])
    case .and, .or, .xor:
      try arity(a, 1...1)
      let other = Int64(try integer(a[0]))
      return .int(method == .and ? value & other : method == .or ? value | other : value ^ other)
    case .shiftLeft, .shiftRight:
      try arity(a, 1...1)
      var by = try integer(a[0])
      if method == .shiftRight { by = 0 &- by }
      if by < 0 { return .int(value >> Int64(min(63, by.magnitude))) }
      let result = by > 63 ? 0 : value << Int64(by)
      guard value == 0 || (by <= 63 && result >> Int64(by) == value) else { throw Failure.overflow }
      return .int(result)
    case .index:
      try arity(a, 1...1)
      let bit = try integer(a[0])
      return bit < 0 ? .int(0) : .int((value >> Int64(min(bit, 63))) & 1)
    case .gcd, .lcm:
      try arity(a, 1...1)
      var (x, y) = (value.magnitude, Int64(try integer(a[0])).magnitude)
      let (p, q) = (x, y)
      while y != 0 { (x, y) = (y, x % y) }
      if method == .gcd { return Int64(exactly: x).map { .int($0) } ?? .uint(x) }
      let (product, overflow) = x == 0 ? (0, false) : (p / x).multipliedReportingOverflow(by: q)
      guard !overflow, let result = Int64(exactly: product) else { throw Failure.overflow }
      return .int(result)
    case .chr:
      guard let scalar = UInt32(exactly: value).flatMap({ UnicodeScalar($0) }) else { throw .raise(.rangeError, "\(value) out of char range") }
      return a.isEmpty && value > 127 ? .string(RubyString([UInt8(truncatingIfNeeded: value)], isBinary: true)) : RubyValue(String(Character(scalar)))
    case .digits:
      guard value >= 0 else { throw .raise(.argumentError, "out of domain") }
      return try array(String(value).utf8.reversed().map { .int(Int64($0) - 48) })
    case .times, .upto, .downto, .step:
      let end = method == .times ? value &- 1 : Int64(try integer(a.first))
      let start = method == .times ? 0 : value
      let sign: Int64 = method == .downto ? -1 : method == .step && a.count > 1 ? Int64(try integer(a[1])) : 1
      if sign == 0 { throw .argument("step can't be 0") }
      var i = start
      var list: [RubyValue] = []
      while sign > 0 ? i <= end : i >= end {
        if let block {
          _ = try block.call(self, .int(i))
        } else {
          try step()
          try charge(24)
          list.append(.int(i))
        }
        let (following, overflow) = i.addingReportingOverflow(sign)
        if overflow { break }
        i = following
      }
      return block == nil ? try array(list) : .int(value)
    default: return nil
    }
  }

  func callFloat(_ value: Double, _ method: Method, _ a: [RubyValue]) throws(Failure) -> RubyValue? {
    switch method {
    case .add, .subtract, .multiply, .divide, .modulo, .modulus, .div, .power, .pow, .divmod, .fdiv, .remainder, .compare, .less, .lessOrEqual,
      .greater,
      .greaterOrEqual:
      return try arithmetic(.double(value), method, a)
    case .negate: return .double(-value)
    case .toI, .toInt: return try whole(value.rounded(.towardZero))
    case .toF, .toR: return .double(value)
    case .floor, .ceil, .round, .truncate: return try rounded(value, method, a)
    case .abs, .magnitude: return .double(Swift.abs(value))
    case .isZero: return .bool(value == 0)
    case .isNonzero: return value == 0 ? .null : .double(value)
    case .isPositive: return .bool(value > 0)
    case .isNegative: return .bool(value < 0)
    case .isNaN: return .bool(value.isNaN)
    case .isInfinite: return value.isInfinite ? .int(value < 0 ? -1 : 1) : .null
    case .isFinite: return .bool(value.isFinite)
    case .isInteger: return .bool(false)
    default: return nil
    }
  }

  private func whole(_ value: Double) throws(Failure) -> RubyValue {
    guard value.isFinite else { throw .raise(.floatDomainError, value.isNaN ? "NaN" : value < 0 ? "-Infinity" : "Infinity") }
    guard let result = Int64(exactly: value) else { throw Failure.overflow }
    return .int(result)
  }

  private func rounded(_ value: Int64, _ method: Method, _ a: [RubyValue]) throws(Failure) -> RubyValue {
    guard let places = a.first, case .int(let n) = places, n < 0 else { return .int(value) }
    guard n > -18 else { return .int(0) }
    var unit: Int64 = 1
    for _ in 0..<(-n) { unit *= 10 }
    let rest = ((value % unit) + unit) % unit
    let (floor, overflow) = value.subtractingReportingOverflow(rest)
    if overflow { throw Failure.overflow }
    let isUp =
      switch method {
      case .floor: false
      case .ceil: rest > 0
      case .truncate: value < 0 && rest > 0
      default: value < 0 ? rest * 2 > unit : rest * 2 >= unit
      }
    let (result, beyond) = isUp ? floor.addingReportingOverflow(unit) : (floor, false)
    if beyond { throw Failure.overflow }
    return .int(result)
  }

  private func rounded(_ value: Double, _ method: Method, _ a: [RubyValue]) throws(Failure) -> RubyValue {
    var rule: FloatingPointRoundingRule =
      switch method {
      case .floor: .down
      case .ceil: .up
      case .truncate: .towardZero
      default: .toNearestOrAwayFromZero
      }
    var places = 0
    for argument in a {
      if case .hash(let options) = argument {
        switch try options[.symbol(Array("half".utf8))].map({ value throws(Failure) in value.isNull ? "up" : try label(value) }) {
        case "even"?: rule = .toNearestOrEven
        case "down"?:
          let scaled = value.rounded(.towardZero)
          if places == 0, Swift.abs(value - scaled) == 0.5 { return try whole(scaled) }
        default: break
        }
      } else {
        places = try integer(argument)
      }
    }
    if places <= 0 {
      guard places < 0 else { return try whole(value.rounded(rule)) }
      return try rounded(Int64(try integer(whole(value.rounded(.towardZero)))), method, [.int(Int64(places))])
    }
    guard value.isFinite, value != 0 else { return .double(value) }
    // Ruby leaves alone what has no digits there.
    let exponent = Int(value.exponent) + 1
    guard places < 17 - (exponent > 0 ? exponent / 4 : exponent / 3 - 1) else { return .double(value) }
    let unit = Glibc.pow(10, Double(places))
    guard unit.isFinite else { return .double(value) }
    var result = (value * unit).rounded(rule)
    switch method {
    case .floor: if (result + 1) / unit <= value { result += 1 }
    case .ceil: if (result - 1) / unit >= value { result -= 1 }
    case .round where rule == .toNearestOrAwayFromZero:
      // Multiplying may have made a half into less than one.
      if value > 0, (result + 0.5) / unit <= value { result += 1 }
      if value < 0, (result - 0.5) / unit >= value { result -= 1 }
    default: break
    }
    return .double(result / unit)
  }

  /// Integers as far as 64 bits go; one float makes all float.
  func arithmetic(_ left: RubyValue, _ method: Method, _ a: [RubyValue]) throws(Failure) -> RubyValue {
    try arity(a, 1...1)
    let right = a[0]
    switch method {
    case .less, .lessOrEqual, .greater, .greaterOrEqual:
      guard let result = left.compare(right), right.number != nil else {
        if let x = left.number, let y = right.number, x.isNaN || y.isNaN { return .bool(false) }
        throw .argument("comparison of \(left.describedClass) with \(right.describedValue) failed")
      }
      switch method {
      case .less: return .bool(result < 0)
      case .lessOrEqual: return .bool(result <= 0)
      case .greater: return .bool(result > 0)
      default: return .bool(result >= 0)
      }
    case .compare: return left.compare(right).map { .int(Int64($0)) } ?? .null
    default: break
    }
    if case .int(let x) = left, case .int(let y) = right { return try integerArithmetic(x, method, y) }
    guard let x = left.number, let y = right.number else { throw .type("\(right.describedClass) can't be coerced into \(left.describedClass)") }
    switch method {
    case .add: return .double(x + y)
    case .subtract: return .double(x - y)
    case .multiply: return .double(x * y)
    case .divide, .fdiv: return .double(x / y)
    case .modulo, .modulus: return .double(floatModulo(x, y))
    case .remainder: return .double(fmod(x, y))
    case .power, .pow: return .double(Glibc.pow(x, y))
    case .div:
      if y == 0 { throw .raise(.zeroDivisionError, "divided by 0") }
      return try whole((x / y).rounded(.down))
    case .divmod:
      if y == 0 { throw .raise(.zeroDivisionError, "divided by 0") }
      return try array([whole((x / y).rounded(.down)), .double(floatModulo(x, y))])
    default: throw undefined(method, left)
    }
  }

  private func floatModulo(_ x: Double, _ y: Double) -> Double {
    let rest = fmod(x, y)
    return rest != 0 && (rest < 0) != (y < 0) ? rest + y : rest
  }

  private func integerArithmetic(_ x: Int64, _ method: Method, _ y: Int64) throws(Failure) -> RubyValue {
    func checked(_ result: (partialValue: Int64, overflow: Bool)) throws(Failure) -> RubyValue {
      if result.overflow { throw Failure.overflow }
      return .int(result.partialValue)
    }
    func floorDivided() throws(Failure) -> (Int64, Int64) {
      if y == 0 { throw .raise(.zeroDivisionError, "divided by 0") }
      let (quotient, overflow) = x.dividedReportingOverflow(by: y)
      if overflow { throw Failure.overflow }
      let rest = x &- quotient &* y
      return rest != 0 && (rest < 0) != (y < 0) ? (quotient &- 1, rest &+ y) : (quotient, rest)
    }
    switch method {
    case .add: return try checked(x.addingReportingOverflow(y))
    case .subtract: return try checked(x.subtractingReportingOverflow(y))
    case .multiply: return try checked(x.multipliedReportingOverflow(by: y))
    case .divide, .div: return .int(try floorDivided().0)
    case .modulo, .modulus: return .int(try floorDivided().1)
    case .divmod:
      let (quotient, rest) = try floorDivided()
      return try array([.int(quotient), .int(rest)])
    case .remainder:
      if y == 0 { throw .raise(.zeroDivisionError, "divided by 0") }
      return .int(y == -1 ? 0 : x % y)
    case .fdiv: return .double(Double(x) / Double(y))
    case .power, .pow:
      if y < 0 { return .double(Glibc.pow(Double(x), Double(y))) }
      var result: Int64 = 1
      var base = x
      var exponent = y
      while exponent > 0 {
        if exponent & 1 == 1 {
          let (product, overflow) = result.multipliedReportingOverflow(by: base)
          if overflow { throw Failure.overflow }
          result = product
        }
        exponent >>= 1
        if exponent > 0 {
          let (square, overflow) = base.multipliedReportingOverflow(by: base)
          if overflow { throw Failure.overflow }
          base = square
        }
      }
      return .int(result)
    default: throw undefined(method, .int(x))
    }
  }
}
