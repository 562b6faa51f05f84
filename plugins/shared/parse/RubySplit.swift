import AggCore
import Glibc

/// Ruby's `String#split`: the parsers' formats are defined by it.
enum RubySplit {
  /// Calls `body` with each piece. `limit` 0 leaves out empty pieces at the end, a negative one keeps them, a positive one makes
  /// that many pieces at most. A single blank as delimiter stands for runs of white space, an empty one cuts every character.
  @inline(__always)
  static func split(_ text: UnsafeRawBufferPointer, _ delimiter: [UInt8], limit: Int, _ body: (UnsafeRawBufferPointer) -> Void) {
    guard let base = text.baseAddress, text.count > 0 else { return }
    if limit == 1 { return body(text) }
    var empties = 0
    var pieces = 0
    func give(_ from: Int, _ to: Int) {
      if from == to, limit == 0 {
        empties += 1
        return
      }
      while empties > 0 {
        body(UnsafeRawBufferPointer(start: base, count: 0))
        empties -= 1
      }
      pieces += 1
      body(UnsafeRawBufferPointer(start: base + from, count: to - from))
    }
    if delimiter == [0x20] { return words(text, limit: limit, give) }
    var at = 0
    if delimiter.isEmpty {
      while at < text.count, limit <= 0 || pieces < limit - 1 {
        let end = characterEnd(text, at)
        give(at, end)
        at = end
      }
      if at < text.count || limit != 0 { give(at, text.count) }
      return
    }
    while limit <= 0 || pieces < limit - 1, let found = find(text, delimiter, at) {
      give(at, found)
      at = found + delimiter.count
    }
    give(at, text.count)
  }

  /// Where the delimiter stands next at or after `at`.
  @inline(__always) static func find(_ text: UnsafeRawBufferPointer, _ delimiter: [UInt8], _ at: Int) -> Int? {
    guard let base = text.baseAddress, at < text.count else { return nil }
    if delimiter.count == 1 {
      return memchr(base + at, Int32(delimiter[0]), text.count - at).map { UnsafeRawPointer($0) - base }
    }
    return delimiter.withUnsafeBytes { needle in
      guard let first = needle.baseAddress else { return nil }
      var at = at
      while at + needle.count <= text.count {
        guard let hit = memchr(base + at, Int32(needle[0]), text.count - at - needle.count + 1) else { return nil }
        at = UnsafeRawPointer(hit) - base
        if memcmp(hit, first, needle.count) == 0 { return at }
        at += 1
      }
      return nil
    }
  }

  private static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (byte >= 9 && byte <= 13) || byte == 0 }

  private static func words(_ text: UnsafeRawBufferPointer, limit: Int, _ give: (Int, Int) -> Void) {
    var at = 0
    var count = 0
    while at < text.count, isSpace(text[at]) { at += 1 }
    while at < text.count {
      if limit > 0, count == limit - 1 { return give(at, text.count) }
      var end = at
      while end < text.count, !isSpace(text[end]) { end += 1 }
      give(at, end)
      count += 1
      at = end
      while at < text.count, isSpace(text[at]) { at += 1 }
      if at == text.count, end < text.count, limit != 0 { give(at, at) }
    }
  }

  private static func characterEnd(_ text: UnsafeRawBufferPointer, _ at: Int) -> Int {
    let lead = text[at]
    let length = lead < 0xc0 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4
    var end = at + 1
    while end < min(at + length, text.count), text[end] & 0xc0 == 0x80 { end += 1 }
    return end
  }
}
