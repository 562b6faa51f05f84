import AggCore

/// Looks for bytes by the 16: reads up to 15 bytes past the end, which blocks have.
enum ByteScan {
  /// The first `byte` at or after `from`, `end` when there is none.
  @inline(__always)
  static func find(_ base: UnsafeRawPointer, _ from: Int, _ end: Int, _ byte: UInt8) -> Int {
    var i = from
    let wanted = SIMD16<UInt8>(repeating: byte)
    while i < end {
      let mask = (base + i).loadUnaligned(as: SIMD16<UInt8>.self) .== wanted
      let words = unsafeBitCast(mask, to: SIMD2<UInt64>.self)
      if words[0] != 0 { return min(i &+ words[0].trailingZeroBitCount &>> 3, end) }
      if words[1] != 0 { return min(i &+ 8 &+ words[1].trailingZeroBitCount &>> 3, end) }
      i &+= 16
    }
    return end
  }
  @inline(__always) static func byte(_ base: UnsafeRawPointer, _ at: Int) -> UInt8 { base.load(fromByteOffset: at, as: UInt8.self) }
}
