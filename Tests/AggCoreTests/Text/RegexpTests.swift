import AggCore
import AggTesting
import Testing

@Suite struct RegexpTests {
  @Test(arguments: rubyRegexpCases) func `an expression matches as Ruby's does`(_ c: RegexpCase) throws {
    let regexp = try Regexp(literal: "/\(c.source)/\(c.options)")
    let subject = Array(c.subject.utf8)
    func text(_ range: Range<Int>?) -> String? { range.map { String(decoding: subject[$0], as: UTF8.self) } }
    let (groups, named) = ranges(regexp, subject)
    #expect(groups?.map(text) == c.captures)
    guard let captures = c.captures else { return }
    #expect(regexp.captureCount + 1 == captures.count)
    #expect(Set(regexp.names) == Set(c.names.keys))
    for (name, range) in zip(regexp.names, named) { #expect(text(range) == c.names[name] ?? nil) }
  }

  private func ranges(_ regexp: Regexp, _ subject: [UInt8], from: Int = 0) -> (groups: [Range<Int>?]?, named: [Range<Int>?]) {
    var matcher = regexp.matcher()
    let isMatch = subject.withUnsafeBytes { matcher.match($0, from: from) }
    var groups: [Range<Int>?] = []
    for group in 0...regexp.captureCount { groups.append(matcher.range(of: group)) }
    var named: [Range<Int>?] = []
    for index in regexp.names.indices { named.append(matcher.range(ofName: index)) }
    return (isMatch ? groups : nil, named)
  }

  @Test(arguments: [
    "a**b(", "(", ")", "[", "[a", "*a", "(?<a", "(?<1a>x)", "(?P<a>x)", "(*UTF)a", "(?u)a", "[z-a]", "\\p{Nope}", "(?<a>x)\\1",
    "\\k<b>", "\\xE3", "(?z)", "a\\", "(?<>a)", "(?R)", "\\u12", "(?~ab)", "(?", "\\p{", "[[:alpha:]", "(?(1",
  ]) func `what Ruby refuses is an error, never a trap`(_ source: String) {
    let error = #expect(throws: ConfigValueError.self) { try Regexp(source) }
    #expect(error?.message.hasPrefix("invalid regexp: ") == true)
  }

  @Test func `names come in the order they are written`() throws {
    #expect(try Regexp("(?<z>.)(?<a>.)(?<m>.)(?<z>.)").names == ["z", "a", "m"])
  }

  @Test func `text that is not UTF-8 is matched by bytes`() throws {
    let regexp = try Regexp("^(?<a>.*) (?<b>\\S+)$")
    #expect(ranges(regexp, [0x63, 0xe9, 0x20, 0xff]).named == [0..<2, 3..<4])
  }

  @Test func `an expression of characters never matches bytes that are none`() throws {
    #expect(ranges(try Regexp("[あ-ん]"), [0xe3, 0x81]).groups == nil)
  }

  @Test func `runaway backtracking ends as no match and is counted`() throws {
    let regexp = try Regexp("^(a|aa|a?)+$")
    let subject = String(repeating: "a", count: 60) + "b"
    #expect(!regexp.matches(subject))
    #expect(regexp.limitHits == 1)
    #expect(regexp.matches("aaa"))
  }

  @Test func `a match goes on from where it is told`() throws {
    let regexp = try Regexp("\\d+")
    let subject = Array("a1b22".utf8)
    #expect(ranges(regexp, subject, from: 2).groups == [3..<5])
    #expect(ranges(regexp, subject, from: 5).groups == nil)
    #expect(ranges(regexp, subject, from: 6).groups == nil)
    #expect(ranges(regexp, subject, from: -1).groups == nil)
  }

  @Test func `the empty text has a match of the empty expression`() throws {
    #expect(try Regexp("^$").matches(UnsafeRawBufferPointer(start: nil, count: 0)))
  }

  @Test func `configuration text is bare or between slashes with i and m`() throws {
    #expect(try Regexp(configText: "^a/b$", strict: true).matches("a/b"))
    #expect(try Regexp(configText: "/^A.b$/im", strict: true).matches("a\nb"))
    #expect(try Regexp(configText: "/a/b/", strict: true).source == "a/b")
    #expect(try Regexp(configText: "/a b/x", strict: true).matches("a b"))
    #expect(try Regexp(configText: "/x/i", strict: false).configText == "/x/i")
    for text in ["/a", "/", "/a/abc", "/ab"] {
      #expect(throws: ConfigValueError.self) { try Regexp(configText: text, strict: false) }
    }
  }

  @Test func `nesting and length are bounded`() {
    #expect(throws: ConfigValueError.self) {
      try Regexp(String(repeating: "(", count: 5000) + String(repeating: ")", count: 5000))
    }
    #expect(throws: ConfigValueError.self) {
      try Regexp(String(repeating: "[", count: 5000) + String(repeating: "]", count: 5000))
    }
    #expect(throws: ConfigValueError.self) { try Regexp(String(repeating: "a", count: 70_000)) }
  }

  @Test func `random expressions compile or are refused, and never trap`() {
    let pieces = [
      "(", ")", "[", "]", "{", "}", "?", "*", "+", "|", "\\", "<", ">", "=", "!", ":", "^", "$", "-", "&&", "a", "1", "é", "x",
      "p{L}", "k<n>", "g<0>", "(?<n>", "#", " ", ",", "[:alpha:]", "u{41}", "x41", "'", "\0",
    ]
    var random = SeededRandom(state: 7)
    for _ in 0..<20_000 {
      var source = ""
      for _ in 0..<Int.random(in: 1...12, using: &random) { source += pieces.randomElement(using: &random) ?? "" }
      guard let regexp = try? Regexp(source, options: Regexp.Options(rawValue: Int.random(in: 0..<8, using: &random))) else {
        continue
      }
      _ = regexp.matches("aé1x\n-")
      _ = ([0x61, 0xff, 0xe9] as [UInt8]).withUnsafeBytes { regexp.matches($0) }
    }
  }

  @Test func `several threads may match with one expression`() async throws {
    let regexp = try Regexp("(?<n>\\d+)")
    await withTaskGroup(of: Int.self) { group in
      for _ in 0..<8 { group.addTask { (0..<1000).count { regexp.matches("v\($0)") } } }
      for await count in group { #expect(count == 1000) }
    }
  }
}
