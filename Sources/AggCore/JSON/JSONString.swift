import Glibc

typealias Source = UnsafeRawPointer
typealias Target = UnsafeMutableRawPointer

/// Copies text while it looks for the byte that ends a plain run. Reads and writes a whole step, so up to 15 bytes too far.
enum CopyScan {
  static let step = 16

  /// Copies 16 bytes; how many of them come before the first `"`, `\`, control byte or non-ASCII byte: 16 when all do.
  @inline(__always) static func json(_ s: Source, _ o: Target) -> Int {
    let v = s.loadUnaligned(as: SIMD16<UInt8>.self)
    o.storeBytes(of: v, as: SIMD16<UInt8>.self)
    let signed = unsafeBitCast(v, to: SIMD16<Int8>.self)
    return firstHit((v .== SIMD16(repeating: 0x22)) .| (v .== SIMD16(repeating: 0x5c)) .| (signed .< SIMD16(repeating: 0x20)))
  }

  /// As `json`, but non-ASCII is plain: what is printed has no need to be looked at.
  @inline(__always) static func bytes(_ s: Source, _ o: Target) -> Int {
    let v = s.loadUnaligned(as: SIMD16<UInt8>.self)
    o.storeBytes(of: v, as: SIMD16<UInt8>.self)
    return firstHit((v .== SIMD16(repeating: 0x22)) .| (v .== SIMD16(repeating: 0x5c)) .| (v .< SIMD16(repeating: 0x20)))
  }

  @inline(__always) private static func firstHit(_ mask: SIMDMask<SIMD16<Int8>>) -> Int {
    let words = unsafeBitCast(mask, to: SIMD2<UInt64>.self)
    if words[0] != 0 { return words[0].trailingZeroBitCount &>> 3 }
    return 8 &+ (words[1].trailingZeroBitCount &>> 3)
  }
}

/// JSON strings into MessagePack strings.
enum JSONString {
  typealias Result = (source: Source, target: Target)?

  /// `s` is behind the opening quote, `s <= end`. Reads up to 48 bytes past `end`; a result may lie past it: the caller checks.
  @inline(__always) static func transcode(_ s: Source, _ end: Source, _ o: Target) -> Result {
    var i = 0
    repeat {
      let k = CopyScan.json(s + i, o + 1 + i)
      i &+= k
      if k < CopyScan.step { break }
    } while i < 32
    if i < 32, s.byte(i) == 0x22 {
      o.put(0, 0xa0 | UInt8(truncatingIfNeeded: i))
      return (s + (i &+ 1), o + (i &+ 1))
    }
    return slow(s, end, o)
  }

  /// Escapes, non-ASCII, 32 bytes and more. The content is written two bytes on, where a str8's would be.
  @inline(never) private static func slow(_ start: Source, _ end: Source, _ header: Target) -> Result {
    var s = start
    var o = header + 2
    while true {
      let k = CopyScan.json(s, o)
      s += k
      o += k
      if s >= end { return nil }
      if k == CopyScan.step { continue }
      var c = s.byte()
      if c >= 0x80 {
        repeat {
          let n = sequenceLength(s)
          if n == 0 { return nil }
          o.storeBytes(of: s.loadUnaligned(as: UInt32.self), as: UInt32.self)
          s += n
          o += n
          if s >= end { return nil }
          c = s.byte()
        } while c >= 0x80
        continue
      }
      if c == 0x22 { break }
      guard c == 0x5c, let next = escape(s, end, o) else { return nil }
      (s, o) = next
    }
    return (s + 1, finish(header, o))
  }

  /// How many bytes the non-ASCII character at `s` has; 0 when it is none.
  ///
  /// As lax as Yajl's check, which looks at the lead byte and counts: Fluentd takes such lines, and they pass unchanged.
  @inline(__always) private static func sequenceLength(_ s: Source) -> Int {
    let word = s.loadUnaligned(as: UInt32.self).littleEndian
    if word & 0xc0c0f0 == 0x8080e0 { return 3 }
    if word & 0xc0e0 == 0x80c0 { return 2 }
    if word & 0xc0c0_c0f8 == 0x8080_80f0 { return 4 }
    return 0
  }

  /// The escape at `s`. A high surrogate without its low one becomes `?` as in Yajl; so does a lone low one.
  private static func escape(_ s: Source, _ end: Source, _ o: Target) -> Result {
    switch s.byte(1) {
    case 0x22: o.put(0, 0x22)
    case 0x5c: o.put(0, 0x5c)
    case 0x2f: o.put(0, 0x2f)
    case 0x6e: o.put(0, 0x0a)
    case 0x74: o.put(0, 0x09)
    case 0x72: o.put(0, 0x0d)
    case 0x62: o.put(0, 0x08)
    case 0x66: o.put(0, 0x0c)
    case 0x75:
      guard let unit = hex4(s + 2) else { return nil }
      guard unit & 0xf800 == 0xd800 else { return (s + 6, putScalar(unit, o)) }
      if unit < 0xdc00, s.byte(6) == 0x5c, s.byte(7) == 0x75, let low = hex4(s + 8), low & 0xfc00 == 0xdc00 {
        return (s + 12, putScalar(0x10000 &+ (unit & 0x3ff) << 10 &+ low & 0x3ff, o))
      }
      o.put(0, 0x3f)
      return (s + 6, o + 1)
    default: return nil
    }
    return (s + 2, o + 1)
  }

  private static func hex4(_ s: Source) -> UInt32? {
    var value: UInt32 = 0
    for i in 0..<4 {
      let c = s.byte(i)
      switch c {
      case 0x30...0x39: value = value << 4 | UInt32(c &- 0x30)
      case 0x41...0x46, 0x61...0x66: value = value << 4 | UInt32(c & 0x0f &+ 9)
      default: return nil
      }
    }
    return value
  }

  private static func putScalar(_ u: UInt32, _ o: Target) -> Target {
    func tail(_ shift: UInt32) -> UInt8 { 0x80 | UInt8(truncatingIfNeeded: u >> shift) & 0x3f }
    if u < 0x80 {
      o.put(0, UInt8(truncatingIfNeeded: u))
      return o + 1
    }
    if u < 0x800 {
      o.put(0, 0xc0 | UInt8(truncatingIfNeeded: u >> 6))
      o.put(1, tail(0))
      return o + 2
    }
    if u < 0x10000 {
      o.put(0, 0xe0 | UInt8(truncatingIfNeeded: u >> 12))
      o.put(1, tail(6))
      o.put(2, tail(0))
      return o + 3
    }
    o.put(0, 0xf0 | UInt8(truncatingIfNeeded: u >> 18))
    o.put(1, tail(12))
    o.put(2, tail(6))
    o.put(3, tail(0))
    return o + 4
  }

  /// Writes the header of the content that ends at `o`, and moves the content when the header is not two bytes.
  private static func finish(_ header: Target, _ o: Target) -> Target {
    let n = o - (header + 2)
    let size = n < 32 ? 1 : n < 0x100 ? 2 : n < 0x1_0000 ? 3 : 5
    if size != 2 { memmove(header + size, header + 2, n) }
    return MessagePack.putStringHeader(n, header) + n
  }
}
