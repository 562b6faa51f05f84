/// A place in a configuration file's bytes, with its line.
struct ConfigCursor {
  let bytes: [UInt8]
  let file: String
  private(set) var at = 0
  private(set) var line = 1

  init(_ bytes: [UInt8], file: String) {
    self.bytes = bytes
    self.file = file
    if bytes.starts(with: [0xef, 0xbb, 0xbf]) { at = 3 }
  }

  var location: SourceLocation { SourceLocation(file: file, line: line) }
  var byte: UInt8? { at < bytes.count ? bytes[at] : nil }
  func byte(_ ahead: Int) -> UInt8? { at + ahead < bytes.count ? bytes[at + ahead] : nil }
  var isAtEnd: Bool { at >= bytes.count }
  var isAtLineEnd: Bool { byte == nil || byte == 0x0a || byte == 0x0d }
  var isAtSpace: Bool { isAtLineEnd || byte == 0x20 || byte == 0x09 }

  mutating func advance(_ count: Int) {
    for _ in 0..<count where at < bytes.count {
      if bytes[at] == 0x0a { line += 1 }
      at += 1
    }
  }

  mutating func skipBlanks() { while byte == 0x20 || byte == 0x09 { at += 1 } }

  /// To just before the line break.
  mutating func skipLine() { while !isAtLineEnd { at += 1 } }

  mutating func skipSpaceAndComments() {
    while let c = byte {
      if c == UInt8(ascii: "#") { skipLine() } else if c == 0x20 || c == 0x09 || c == 0x0a || c == 0x0d { advance(1) } else { return }
    }
  }

  /// Blanks, a comment, and the line's end; false and unmoved past the blanks when something else stands there.
  mutating func skipLineEnd() -> Bool {
    skipBlanks()
    if byte == UInt8(ascii: "#") { skipLine() }
    return isAtLineEnd
  }

  /// Shortened for messages.
  var restOfLine: String {
    var end = self
    end.skipLine()
    var slice = bytes[at..<end.at]
    while let last = slice.last, last == 0x20 || last == 0x09 { slice.removeLast() }
    let text = String(decoding: slice, as: UTF8.self)
    return text.count > 40 ? String(text.prefix(40)) + "…" : text
  }

  func text(from start: Int) -> String { String(decoding: bytes[start..<at], as: UTF8.self) }

  mutating func takeName() -> String {
    let start = at
    while let c = byte, c == UInt8(ascii: "_") || (c >= 0x30 && c <= 0x39) || (c | 0x20 >= 0x61 && c | 0x20 <= 0x7a) { _ = c; at += 1 }
    return text(from: start)
  }

  mutating func takeWord() -> String {
    let start = at
    while !isAtSpace { at += 1 }
    return text(from: start)
  }

  /// A section's argument up to `>` or the line's end, without the blanks around it.
  mutating func takeArgument() -> String {
    let start = at
    while !isAtLineEnd, byte != UInt8(ascii: ">") { at += 1 }
    var end = at
    while end > start, bytes[end - 1] == 0x20 || bytes[end - 1] == 0x09 { end -= 1 }
    return String(decoding: bytes[start..<end], as: UTF8.self)
  }

  /// A value without quotes: up to the line's end or a `#` after a blank.
  mutating func takeBare() -> String {
    let start = at
    var end = at
    while !isAtLineEnd {
      if byte == 0x20 || byte == 0x09 {
        skipBlanks()
        if byte == UInt8(ascii: "#") { skipLine() }
      } else {
        at += 1
        end = at
      }
    }
    return String(decoding: bytes[start..<end], as: UTF8.self)
  }

  static func firstInvalidLine(_ bytes: [UInt8]) -> Int? {
    guard String(validating: bytes, as: UTF8.self) == nil else { return nil }
    var line = 1
    for part in bytes.split(separator: 0x0a, omittingEmptySubsequences: false) {
      if String(validating: part, as: UTF8.self) == nil { return line }
      line += 1
    }
    return line
  }
}
