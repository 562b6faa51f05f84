import AggCore
import AggTesting

/// Encodings, regular expressions, tag patterns and paths of fields.
enum TextTargets {
  static let all = [text, regexp, tagPattern, recordPath]

  static let text = FuzzTarget(
    "text", words: ["\u{e9}", "\u{10ffff}", "\u{feff}"], texts: ["plain", "\u{e9}t\u{e9} \u{1f600}", "a\u{0}b"]
  ) { bytes in
    try bytes.withUnsafeBytes { raw in
      let isValid = String(validating: bytes, as: UTF8.self) != nil
      try Failure.unless(UTF8Text.isValid(raw) == isValid, "valid or not: \(isValid)")
      var out = ByteWriter()
      UTF8Text.scrub(raw, into: &out)
      try Failure.unless(UTF8Text.isValid(out.bytes) && (!isValid || out.array == bytes), "not mended")
      for name in ["ISO-8859-1", "Shift_JIS", "UTF-16LE", "EUC-JP"] {
        var encoding = try TextEncoding(from: name)
        var converted = ByteWriter()
        encoding.convert(raw, into: &converted)
      }
    }
  }

  /// A pattern of Ruby's dialect, a line break, and what it is matched with.
  static let regexp = FuzzTarget(
    "regexp",
    words: [
      "(?<a>", ")", "[", "]", "\\p{", "\\h", "(?i)", "*+", "{2,3}", "\\k<a>", "|", "^", "$", "\\A", "\\z", "[[:alpha:]]", "&&",
      "(?=", "\\G", "\\x{",
    ],
    short: 5000,
    texts: [
      "^(?<host>[^ ]*) [^ ]* (?<user>[^ ]*) \\[(?<time>[^\\]]*)\\]\n127.0.0.1 - - [10/Oct/2000:13:55:36 -0700]",
      "(?i:a|b)+?\\h{2}\\R?\nAB0f",
      "[a-z&&[^aeiou]]\\p{Alpha}(?>x*)\\k<n>(?<n>.)\nzz", "\\A\\s*(\\d+)\\Z\n 12 ", "(a*)*b\naaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
      "\\u00e9[[:^space:]\\-]\n\u{e9}",
    ]
  ) { bytes in
    let end = bytes.firstIndex(of: 0x0a) ?? bytes.count
    let source = String(decoding: bytes[..<end], as: UTF8.self)
    let subject = Array(bytes[min(end + 1, bytes.count)...])
    guard let regexp = try? Regexp(source, options: bytes.count & 1 == 0 ? [] : .ignoreCase) else { return }
    var matcher = regexp.matcher()
    try subject.withUnsafeBytes { raw in
      guard matcher.match(raw) else { return }
      for group in 0...regexp.captureCount {
        guard let range = matcher.range(of: group) else { continue }
        try Failure.unless(range.lowerBound >= 0 && range.upperBound <= subject.count, "a group outside: \(range)")
      }
      for index in regexp.names.indices { _ = matcher.range(ofName: index) }
    }
  }

  /// Patterns, a line break, and a tag.
  static let tagPattern = FuzzTarget(
    "tag-pattern", words: ["*", "**", "{", "}", ",", ".", "\\", "/", " ", "**."], short: 5000,
    texts: [
      "app.** {a,b}.*.c\napp.x.y", "a.{b,c.**,{d,e}}.\na.b", "**.x /^a\\.b/\nq.x", "a\\*b\na*b", "{{a,b},{c,d}}{e,f}{g,h}\nacg",
    ]
  ) { bytes in
    let end = bytes.firstIndex(of: 0x0a) ?? bytes.count
    guard let pattern = try? TagPattern(String(decoding: bytes[..<end], as: UTF8.self)) else { return }
    let tag = String(decoding: bytes[min(end + 1, bytes.count)...], as: UTF8.self)
    let fits = pattern.matches(Tag(tag))
    if pattern.isCatchAll { try Failure.unless(fits, "a catch-all does not fit") }
    if let tags = pattern.literalTags {
      try Failure.unless(tags.contains(tag) == fits, "the list of tags says otherwise")
      for tag in tags { try Failure.unless(pattern.matches(Tag(tag)), "does not fit its own tag \(tag)") }
    }
    if end < 40, !pattern.hasRegexp, case .some(let example) = TagLanguage([[pattern]]).example() {
      try Failure.unless(pattern.matches(Tag(example)), "does not fit its example \(example)")
    }
    let literal = try TagPattern(
      TagPattern.literal(tag.isEmpty || tag.utf8.contains { $0 == 32 || (9...13).contains($0) } ? "x" : tag))
    if !tag.isEmpty, !tag.hasSuffix("."), !tag.utf8.contains(where: { $0 == 32 || (9...13).contains($0) }) {
      try Failure.unless(literal.matches(Tag(tag)), "an escaped tag does not fit itself")
    }
  }

  static let recordPath = FuzzTarget(
    "record-path", words: ["$.", "$[", "['", "']", "[0]", "[-1]", "."],
    texts: ["$.a.b[0]", "$['a'][0][\"b\"]", "key", "$.a[-9223372036854775808]"]
  ) { bytes in
    guard let path = try? RecordPath(String(decoding: bytes, as: UTF8.self)) else { return }
    let record = CodecTargets.bytes(["a": ["b": [1, 2], "c": nil], "key": [1, ["b": 2]]])
    record.withUnsafeBytes { raw in
      if let base = raw.baseAddress { _ = path.find(RecordView(unchecked: ValueView(unchecked: base))).map { Value($0) } }
    }
  }
}
