/// Questions about bytes that should be UTF-8, and Ruby's `scrub`.
public enum UTF8Text {
  /// Whether every byte is below 0x80.
  public static func isASCII(_ bytes: UnsafeRawBufferPointer) -> Bool { asciiPrefix(bytes, from: 0) == bytes.count }

  /// Whether the bytes are well-formed UTF-8: no overlong forms, no surrogates, nothing above U+10FFFF.
  public static func isValid(_ bytes: UnsafeRawBufferPointer) -> Bool {
    var i = 0
    while true {
      i = asciiPrefix(bytes, from: i)
      if i == bytes.count { return true }
      while i < bytes.count, bytes[i] >= 0x80 {
        let step = sequence(bytes, at: i)
        guard step.isValid else { return false }
        i &+= step.length
      }
    }
  }

  /// Appends the bytes, each broken sequence replaced by `replacement`, as Ruby's `scrub` cuts them: the longest
  /// beginning of a character counts as one.
  public static func scrub(_ bytes: UnsafeRawBufferPointer, replacement: StaticString = "?", into out: inout ByteWriter) {
    var start = 0
    var i = 0
    while i < bytes.count {
      i = asciiPrefix(bytes, from: i)
      guard i < bytes.count else { break }
      let step = sequence(bytes, at: i)
      if !step.isValid {
        out.append(UnsafeRawBufferPointer(rebasing: bytes[start..<i]))
        out.append(replacement)
        start = i + step.length
      }
      i &+= step.length
    }
    out.append(UnsafeRawBufferPointer(rebasing: bytes[start...]))
  }

  /// The first index at or after `from` that is not ASCII, or the end.
  @inline(__always) static func asciiPrefix(_ bytes: UnsafeRawBufferPointer, from: Int) -> Int {
    guard let base = bytes.baseAddress else { return bytes.count }
    let count = bytes.count
    var i = from
    while i &+ 32 <= count {
      let chunk = (base + i).loadUnaligned(as: SIMD4<UInt64>.self) & SIMD4(repeating: 0x8080_8080_8080_8080)
      if chunk != .zero { break }
      i &+= 32
    }
    while i &+ 8 <= count {
      let word = (base + i).loadUnaligned(as: UInt64.self) & 0x8080_8080_8080_8080
      if word != 0 { return i &+ word.littleEndian.trailingZeroBitCount / 8 }
      i &+= 8
    }
    while i < count, base.load(fromByteOffset: i, as: UInt8.self) < 0x80 { i &+= 1 }
    return i
  }

  /// The sequence at `i`: its length when well-formed (Unicode, table 3-7), else how much of one there is, at least 1.
  static func sequence(_ bytes: UnsafeRawBufferPointer, at i: Int) -> (length: Int, isValid: Bool) {
    let lead = bytes[i]
    if lead < 0x80 { return (1, true) }
    var low: UInt8 = 0x80
    var high: UInt8 = 0xbf
    let length: Int
    switch lead {
    case 0xc2...0xdf: length = 2
    case 0xe0:
      length = 3
      low = 0xa0
    case 0xe1...0xec, 0xee, 0xef: length = 3
    case 0xed:
      length = 3
      high = 0x9f
    case 0xf0:
      length = 4
      low = 0x90
    case 0xf1...0xf3: length = 4
    case 0xf4:
      length = 4
      high = 0x8f
    default: return (1, false)
    }
    var k = 1
    while k < length {
      guard i &+ k < bytes.count, bytes[i &+ k] >= low, bytes[i &+ k] <= high else { return (k, false) }
      low = 0x80
      high = 0xbf
      k &+= 1
    }
    return (length, true)
  }
}
