import Glibc

/// Numbers as decimal text, as Ruby's `to_s` prints them: what JSON, LTSV, CSV and placeholders show.
enum DecimalText {
  /// Room for any number: `-2.2250738585072014e-308` has 24 bytes.
  static let room = 32

  /// "00" to "99", two bytes each: written once, here.
  nonisolated(unsafe) static let pairs: UnsafePointer<UInt16> = {
    let pairs = UnsafeMutablePointer<UInt16>.allocate(capacity: 100)  // lives as long as the process
    for i in 0..<100 { pairs[i] = (UInt16(0x30 + i / 10) | UInt16(0x30 + i % 10) << 8).littleEndian }
    return UnsafePointer(pairs)
  }()

  @inline(__always) static func put(_ value: UInt64, _ o: Target, _ pairs: UnsafePointer<UInt16>) -> Target {
    var digits = 1
    var rest = value
    while rest >= 10_000 {
      digits &+= 4
      rest /= 10_000
    }
    if rest >= 1000 { digits &+= 3 } else if rest >= 100 { digits &+= 2 } else if rest >= 10 { digits &+= 1 }
    var p = o + digits
    rest = value
    while rest >= 100 {
      let quotient = rest / 100
      p -= 2
      p.storeBytes(of: pairs[Int(truncatingIfNeeded: rest &- quotient &* 100)], as: UInt16.self)
      rest = quotient
    }
    if rest >= 10 {
      (p - 2).storeBytes(of: pairs[Int(truncatingIfNeeded: rest)], as: UInt16.self)
    } else {
      (p - 1).put(0, 0x30 &+ UInt8(truncatingIfNeeded: rest))
    }
    return o + digits
  }

  @inline(__always) static func put(_ value: Int64, _ o: Target, _ pairs: UnsafePointer<UInt16>) -> Target {
    if value >= 0 { return put(UInt64(bitPattern: value), o, pairs) }
    o.put(0, 0x2d)
    return put(value.magnitude, o + 1, pairs)
  }

  /// Ruby's Float#to_s: the fewest digits that read back the same; exponents from 1e15 and below 1e-4, as in `1.0e+15`, `1.0e-05`.
  @inline(__always) static func put(_ value: Double, _ start: Target, _ pairs: UnsafePointer<UInt16>) -> Target {
    let magnitude = value.magnitude
    guard magnitude < 1e9, magnitude >= 1e-3 || magnitude == 0 else { return slow(value, start) }
    var o = start
    if value.sign == .minus {
      o.put(0, 0x2d)
      o += 1
    }
    // With the fewest places that divide back exactly, the digits are the shortest: the product stays below 2^53.
    var places = 0
    var scale = 1.0
    while places < 6 {
      let scaled = (magnitude * scale).rounded(.toNearestOrEven)
      if scaled / scale == magnitude {
        let digits = UInt64(Int64(scaled))
        let power = UInt64(Int64(scale))
        let whole = digits / power
        o = put(whole, o, pairs)
        o.put(0, 0x2e)
        if places == 0 {
          o.put(1, 0x30)
          return o + 2
        }
        var fraction = digits &- whole &* power
        var i = places
        while i > 0 {
          let quotient = fraction / 10
          o.put(i, 0x30 &+ UInt8(truncatingIfNeeded: fraction &- quotient &* 10))
          fraction = quotient
          i &-= 1
        }
        return o + (places &+ 1)
      }
      places &+= 1
      scale *= 10
    }
    return slow(value, start)
  }

  /// Takes the shortest digits from Swift's own description, and lays them out by Ruby's rules.
  @inline(never) private static func slow(_ value: Double, _ start: Target) -> Target {
    var o = start
    func text(_ s: StaticString) -> Target {
      memcpy(o, s.utf8Start, s.utf8CodeUnitCount)
      return o + s.utf8CodeUnitCount
    }
    if value.isNaN { return text("NaN") }
    if value.sign == .minus {
      o.put(0, 0x2d)
      o += 1
    }
    if value.isInfinite { return text("Infinity") }
    let shortest = ShortestDigits(value.magnitude)
    let n = shortest.count
    let point = shortest.point
    func digits(_ from: Int, _ to: Int) {
      for i in from..<max(from, to) { o.put(i &- from, i < n ? shortest.digits[i] : 0x30) }
      o += max(to &- from, 0)
    }
    switch point {
    // Up to 15 digits before the point are filled up with zeros; a point that lies within the digits stays there.
    case 1...15, 16..<max(n, 16):
      digits(0, point)
      o = text(".")
      digits(point, max(n, point + 1))
    case -3...0:
      o = text("0.")
      for _ in 0..<(-point) { o = text("0") }
      digits(0, n)
    default:
      digits(0, 1)
      o = text(".")
      digits(1, max(n, 2))
      o = text(point > 0 ? "e+" : "e-")
      let exponent = (point - 1).magnitude
      if exponent < 10 { o = text("0") }
      o = put(UInt64(exponent), o, pairs)
    }
    return o
  }
}

/// The shortest decimal digits of a positive, finite Double, and where the point stands: value = 0.digits × 10^point.
private struct ShortestDigits {
  var digits = InlineArray<20, UInt8>(repeating: 0)
  var count = 0
  var point = 0

  init(_ value: Double) {
    var exponent = 0
    var negativeExponent = false
    var inExponent = false
    var pointAt: Int?
    var leadingZeros = 0
    for byte in value.description.utf8 {
      switch byte {
      case 0x30...0x39 where inExponent: exponent = exponent * 10 + Int(byte - 0x30)
      case 0x30 where count == 0: if pointAt != nil { leadingZeros += 1 }
      case 0x30...0x39 where count < 20:
        digits[count] = byte
        count += 1
      case 0x2e: pointAt = count
      case 0x65: inExponent = true
      case 0x2d: negativeExponent = true
      default: break
      }
    }
    point = (pointAt ?? count) - leadingZeros + (negativeExponent ? -exponent : exponent)
    while count > 1, digits[count - 1] == 0x30 { count -= 1 }
  }
}

extension ByteWriter {
  /// Appends the integer in decimal.
  public mutating func putDecimal(_ value: Int64) {
    reserve(DecimalText.room)
    advance(to: DecimalText.put(value, end, DecimalText.pairs))
  }
  public mutating func putDecimal(_ value: UInt64) {
    reserve(DecimalText.room)
    advance(to: DecimalText.put(value, end, DecimalText.pairs))
  }
  /// Appends the float as Ruby's Float#to_s prints it: `1.0`, `1.0e+16`, `1.0e-05`, `NaN`, `-Infinity`.
  public mutating func putRubyDouble(_ value: Double) {
    reserve(DecimalText.room)
    advance(to: DecimalText.put(value, end, DecimalText.pairs))
  }
}
