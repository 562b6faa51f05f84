import Glibc

/// JSON numbers into MessagePack integers and floats.
enum JSONNumber {
  /// Powers of ten that a Double holds exactly: written once, here.
  nonisolated(unsafe) static let exactPowers: UnsafePointer<Double> = {
    let powers = UnsafeMutablePointer<Double>.allocate(capacity: 23)  // lives as long as the process
    var power = 1.0
    for i in 0..<23 {
      powers[i] = power
      power *= 10
    }
    return UnsafePointer(powers)
  }()

  /// The number at `start < end`; never looks past `end`. Integers that no 64 bits hold become floats.
  @inline(__always)
  static func transcode(_ start: Source, _ end: Source, _ o: Target, _ powers: UnsafePointer<Double>) -> JSONString.Result {
    var s = start
    let negative = s.byte() == 0x2d
    if negative { s += 1 }
    let digits = s
    var mantissa: UInt64 = 0  // wraps beyond 19 digits: then it is not used
    while s < end {
      let digit = s.byte() &- 0x30
      if digit > 9 { break }
      mantissa = mantissa &* 10 &+ UInt64(digit)
      s += 1
    }
    let whole = s - digits
    if whole == 0 || (whole > 1 && digits.byte() == 0x30) { return nil }
    if s < end {
      let c = s.byte()
      if c == 0x2e {
        let point = s
        s += 1
        while s < end {
          let digit = s.byte() &- 0x30
          if digit > 9 { break }
          mantissa = mantissa &* 10 &+ UInt64(digit)
          s += 1
        }
        let places = s - point - 1
        if places == 0 { return nil }
        // An exact integer divided by an exact power of ten is rounded once, so it is the nearest Double (Clinger).
        if whole &+ places <= 18, mantissa < 1 << 53, s == end || s.byte() | 0x20 != 0x65 {
          let value = Double(Int64(bitPattern: mantissa)) / powers[places]
          o.put(0, 0xcb)
          o.putBigEndian(1, (negative ? -value : value).bitPattern)
          return (s, o + 9)
        }
        return slowFloat(start, s, end, o)
      }
      if c | 0x20 == 0x65 { return slowFloat(start, s, end, o) }
    }
    if whole > 18 { return slowInteger(start, s, o) }
    return (s, negative ? MessagePack.put(0 &- Int64(bitPattern: mantissa), o) : MessagePack.put(mantissa, o))
  }

  @inline(never) private static func slowInteger(_ start: Source, _ end: Source, _ o: Target) -> JSONString.Result {
    let negative = start.byte() == 0x2d
    var s = negative ? start + 1 : start
    var value: UInt64 = 0
    while s < end {
      let (tenfold, overflow) = value.multipliedReportingOverflow(by: 10)
      let (sum, carry) = tenfold.addingReportingOverflow(UInt64(s.byte() &- 0x30))
      if overflow || carry { return double(start, end, o) }
      value = sum
      s += 1
    }
    if !negative { return (end, MessagePack.put(value, o)) }
    if value > 1 << 63 { return double(start, end, o) }
    return (end, MessagePack.put(Int64(bitPattern: 0 &- value), o))
  }

  /// `s` is where an exponent may start.
  @inline(never)
  private static func slowFloat(_ start: Source, _ exponent: Source, _ end: Source, _ o: Target) -> JSONString.Result {
    var s = exponent
    if s < end, s.byte() | 0x20 == 0x65 {
      s += 1
      if s < end, s.byte() == 0x2b || s.byte() == 0x2d { s += 1 }
      let digits = s
      while s < end, s.byte() &- 0x30 <= 9 { s += 1 }
      if s == digits { return nil }
    }
    return double(start, s, o)
  }

  private static func double(_ start: Source, _ end: Source, _ o: Target) -> JSONString.Result {
    let value = parse(UnsafeRawBufferPointer(start: start, count: end - start))
    o.put(0, 0xcb)
    o.putBigEndian(1, value.bitPattern)
    return (end, o + 9)
  }

  /// The nearest Double of text that is a number, as strtod reads it in the C locale, which the daemon never leaves.
  static func parse(_ text: UnsafeRawBufferPointer) -> Double {
    withUnsafeTemporaryAllocation(byteCount: text.count + 1, alignment: 1) { copy in
      copy.copyMemory(from: text)
      copy[text.count] = 0
      return strtod(copy.assumingMemoryBound(to: CChar.self).baseAddress!, nil)  // count + 1 > 0: never nil
    }
  }
}
