import AggCore

/// Text that came from events or files, on its way to a terminal or a person.
enum SafeText {
  /// One line: control and formatting characters as `\u{…}`, what is not UTF-8 as U+FFFD, at most `limit` characters.
  static func line(_ text: String, limit: Int = 200) -> String {
    var out = ""
    var count = 0
    for scalar in text.unicodeScalars {
      if count == limit { return out + "…" }
      count += 1
      if isHidden(scalar) { out += "\\u{\(String(scalar.value, radix: 16))}" } else { out.unicodeScalars.append(scalar) }
    }
    return out
  }

  /// JSON stays JSON: what a terminal would obey becomes an escape, in strings, where alone it can stand.
  static func json(_ bytes: UnsafeRawBufferPointer) -> [UInt8] {
    if bytes.allSatisfy({ $0 >= 0x20 && $0 < 0x7f }) { return Array(bytes) }
    var out: [UInt8] = []
    out.reserveCapacity(bytes.count + 64)
    for scalar in String(decoding: bytes, as: UTF8.self).unicodeScalars {
      if isHidden(scalar) {
        for unit in String(scalar).utf16 {
          let digits = String(unit, radix: 16)
          out += Array("\\u\(String(repeating: "0", count: 4 - digits.utf8.count))\(digits)".utf8)
        }
      } else {
        out += Array(String(scalar).utf8)
      }
    }
    return out
  }

  /// C0, DEL, C1, and the marks that turn or hide text.
  private static func isHidden(_ scalar: UnicodeScalar) -> Bool {
    switch scalar.value {
    case 0..<0x20, 0x7f..<0xa0, 0x200b...0x200f, 0x2028...0x202e, 0x2066...0x2069, 0xfeff, 0xfff9...0xfffb, 0xe0000...0xe007f:
      true
    default: false
    }
  }

  /// `2026-01-02T03:04:05Z` of nanoseconds since 1970.
  static func time(_ nanoseconds: Int64) -> String {
    let seconds = nanoseconds >= 0 ? nanoseconds / 1_000_000_000 : 0
    return StrftimeProgram("%Y-%m-%dT%H:%M:%SZ").string(EventTime(seconds: seconds), zone: .utc)
  }
  /// `3d4h`, `5m12s`.
  static func age(_ nanoseconds: Int64) -> String {
    let s = max(0, nanoseconds / 1_000_000_000)
    if s >= 86_400 { return "\(s / 86_400)d\(s % 86_400 / 3600)h" }
    if s >= 3600 { return "\(s / 3600)h\(s % 3600 / 60)m" }
    return s >= 60 ? "\(s / 60)m\(s % 60)s" : "\(s)s"
  }
  static func now() -> Int64 {
    let now = EventTime.now()
    return now.seconds &* 1_000_000_000 &+ Int64(now.nanoseconds)
  }
}
