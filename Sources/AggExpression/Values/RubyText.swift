import CAgg

/// Characters in bytes that should be UTF-8: a byte that is not counts as a character, as in Ruby.
enum RubyText {
  /// How long the character at `i` is.
  static func step(_ bytes: [UInt8], _ i: Int) -> (length: Int, isValid: Bool) {
    let lead = bytes[i]
    let need: Int
    switch lead {
    case 0x00...0x7f: return (1, true)
    case 0xc2...0xdf: need = 1
    case 0xe0...0xef: need = 2
    case 0xf0...0xf4: need = 3
    default: return (1, false)
    }
    guard i + need < bytes.count else { return (1, false) }
    for k in 1...need where bytes[i + k] & 0xc0 != 0x80 { return (1, false) }
    let second = bytes[i + 1]
    switch lead {
    case 0xe0 where second < 0xa0, 0xed where second > 0x9f, 0xf0 where second < 0x90, 0xf4 where second > 0x8f: return (1, false)
    default: return (need + 1, true)
    }
  }

  static func isASCII(_ bytes: [UInt8]) -> Bool { bytes.allSatisfy { $0 < 0x80 } }

  static func isValid(_ bytes: [UInt8]) -> Bool {
    var i = 0
    while i < bytes.count {
      let (length, isValid) = step(bytes, i)
      if !isValid { return false }
      i += length
    }
    return true
  }

  static func count(_ text: RubyString) -> Int {
    if text.isBinary || isASCII(text.bytes) { return text.bytes.count }
    var i = 0
    var n = 0
    while i < text.bytes.count {
      i += step(text.bytes, i).length
      n += 1
    }
    return n
  }

  /// Where each character starts, and the end.
  static func offsets(_ text: RubyString) -> [Int] {
    if text.isBinary { return Array(0...text.bytes.count) }
    var offsets = [0]
    offsets.reserveCapacity(text.bytes.count + 1)
    var i = 0
    while i < text.bytes.count {
      i += step(text.bytes, i).length
      offsets.append(i)
    }
    return offsets
  }

  static func characters(_ text: RubyString) -> [[UInt8]] {
    let offsets = offsets(text)
    return zip(offsets, offsets.dropFirst()).map { Array(text.bytes[$0..<$1]) }
  }

  /// `count` characters from character `start`, with Ruby's rules for negative starts; nil outside.
  static func slice(_ text: RubyString, _ start: Int, _ count: Int) -> RubyString? {
    guard count >= 0 else { return nil }
    if text.isBinary || isASCII(text.bytes) {
      guard let range = range(start, count, text.bytes.count) else { return nil }
      return RubyString(Array(text.bytes[range]), isBinary: text.isBinary)
    }
    let offsets = offsets(text)
    guard let range = range(start, count, offsets.count - 1) else { return nil }
    return RubyString(Array(text.bytes[offsets[range.lowerBound]..<offsets[range.upperBound]]))
  }

  /// Positions for `[start, count]` in something of `total` parts.
  static func range(_ start: Int, _ count: Int, _ total: Int) -> Range<Int>? {
    let from = start < 0 ? start &+ total : start
    guard from >= 0, from <= total, count >= 0 else { return nil }
    return from..<(from + min(count, total - from))
  }

  /// The byte offset of the first `needle` at or after byte `from`.
  static func find(_ needle: [UInt8], in bytes: [UInt8], from: Int) -> Int? {
    guard from >= 0, from + needle.count <= bytes.count else { return nil }
    if needle.isEmpty { return from }
    return bytes.withUnsafeBytes { haystack in
      needle.withUnsafeBytes { wanted in
        guard let base = haystack.baseAddress, let word = wanted.baseAddress,
          let found = agg_memmem(base + from, haystack.count - from, word, wanted.count)
        else { return nil }
        return UnsafeRawPointer(found) - base
      }
    }
  }

  static func findLast(_ needle: [UInt8], in bytes: [UInt8], upTo limit: Int) -> Int? {
    var at = min(limit, bytes.count - needle.count)
    while at >= 0 {
      if bytes[at..<at + needle.count].elementsEqual(needle) { return at }
      at -= 1
    }
    return nil
  }

  static func isSpace(_ c: UInt8) -> Bool { c == 0x20 || (c >= 0x09 && c <= 0x0d) }

  static func strip(_ bytes: [UInt8], left: Bool, right: Bool) -> [UInt8] {
    var start = 0
    var end = bytes.count
    if left { while start < end, isSpace(bytes[start]) || bytes[start] == 0 { start += 1 } }
    if right { while end > start, isSpace(bytes[end - 1]) || bytes[end - 1] == 0 { end -= 1 } }
    return start == 0 && end == bytes.count ? bytes : Array(bytes[start..<end])
  }
}
