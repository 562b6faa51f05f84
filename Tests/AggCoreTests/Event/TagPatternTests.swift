import AggCore
import AggTesting
import Testing

/// What Fluentd's own matcher (v1.19, Ruby 3.1.7) answers: a pattern and those of `tags` that fit.
private let recorded: [(pattern: String, fits: [String])] = [
  ("a", ["a"]),
  ("a.*", ["a.b", "a.z", "a.c", "a.", "a.ab"]),
  ("a.**", ["a", "a.b", "a.b.c", "a.b.c.d", "a.z", "a.c", "a.", "a.b.c.c", "a..c", "a.b.x.c", "a.ab"]),
  ("**.c", ["a.b.c", "b.c", "c", "a.c", "a.b.c.c", "b.c.c", "a..c", "a.b.x.c", ".c"]),
  (
    "**",
    [
      "a", "a.b", "a.b.c", "a.b.c.d", "b", "b.c", "ab", "aa.b", "x.y", "c.z.k", "a.z", "x.a.b", "c", "a.c", "x.a.e", "x.b.c.e",
      "x.b.d.e", ".b", "a.", "a.b.c.c", "a*b", "a-b", "a,b", "}", "b.c.c", "b.x.c.y", "a..c", "bac", "a.b.x.c", ".c", ".", "a.ab",
      "abc", "axb", "b.x.cc", "a\\b",
    ]
  ),
  ("{a,b}.{b,c}", ["a.b", "b.c", "a.c"]),
  (
    "{a,x}.**",
    [
      "a", "a.b", "a.b.c", "a.b.c.d", "x.y", "a.z", "x.a.b", "a.c", "x.a.e", "x.b.c.e", "x.b.d.e", "a.", "a.b.c.c", "a..c",
      "a.b.x.c", "a.ab",
    ]
  ),
  ("a{a,b}.*", ["aa.b"]),
  ("{b,ab}", ["b", "ab"]),
  ("a.**.c", ["a.b.c", "a.c", "a.b.c.c", "a..c", "a.b.x.c"]),
  ("a.**.**", ["a.b", "a.b.c", "a.b.c.d", "a.z", "a.c", "a.", "a.b.c.c", "a..c", "a.b.x.c", "a.ab"]),
  ("*.*", ["a.b", "b.c", "aa.b", "x.y", "a.z", "a.c", ".b", "a.", ".c", ".", "a.ab"]),
  ("*", ["a", "b", "ab", "c", "a*b", "a-b", "a,b", "}", "bac", "abc", "axb", "a\\b"]),
  ("**.a.**", ["a", "a.b", "a.b.c", "a.b.c.d", "a.z", "x.a.b", "a.c", "x.a.e", "a.", "a.b.c.c", "a..c", "a.b.x.c", "a.ab"]),
  (
    "a**",
    [
      "a", "a.b", "a.b.c", "a.b.c.d", "ab", "aa.b", "a.z", "a.c", "a.", "a.b.c.c", "a*b", "a-b", "a,b", "a..c", "a.b.x.c", "a.ab",
      "abc", "axb", "a\\b",
    ]
  ),
  ("**a", ["a"]),
  ("x.{a,b.{c,d}}.e", ["x.a.e", "x.b.c.e", "x.b.d.e"]),
  ("{a,}.b", ["a.b", ".b"]),
  ("{**,x}.c", ["a.b.c", "b.c", "a.c", "a.b.c.c", "b.c.c", "a..c", "a.b.x.c", ".c"]),
  ("a.{b,c.**}", ["a.b", "a.c"]),
  (
    "/a.*/",
    [
      "a", "a.b", "a.b.c", "a.b.c.d", "ab", "aa.b", "a.z", "a.c", "a.", "a.b.c.c", "a*b", "a-b", "a,b", "a..c", "a.b.x.c", "a.ab",
      "abc", "axb", "a\\b",
    ]
  ),
  (
    "/a|c/",
    [
      "a", "a.b", "a.b.c", "a.b.c.d", "b.c", "ab", "aa.b", "a.z", "c", "a.c", "a.", "a.b.c.c", "a*b", "a-b", "a,b", "b.c.c",
      "a..c", "bac", "a.b.x.c", ".c", "a.ab", "abc", "axb", "b.x.cc", "a\\b",
    ]
  ),
  ("/^b/", ["b"]),
  ("a.", ["a"]),
  ("a\\.b", ["a.b"]),
  ("a\\*b", ["a*b"]),
  ("a-b", ["a-b"]),
  ("*a*", ["a", "ab", "a*b", "a-b", "a,b", "bac", "abc", "axb", "a\\b"]),
  ("a.*.c", ["a.b.c", "a..c"]),
  (
    "**.**",
    [
      "a", "a.b", "a.b.c", "a.b.c.d", "b", "b.c", "ab", "aa.b", "x.y", "c.z.k", "a.z", "x.a.b", "c", "a.c", "x.a.e", "x.b.c.e",
      "x.b.d.e", ".b", "a.", "a.b.c.c", "a*b", "a-b", "a,b", "}", "b.c.c", "b.x.c.y", "a..c", "bac", "a.b.x.c", ".c", ".", "a.ab",
      "abc", "axb", "b.x.cc", "a\\b",
    ]
  ),
  ("{a}.b", ["a.b"]),
  ("*.{a,*.b}", ["x.a.b"]),
  ("a,b", ["a,b"]),
  ("}", ["}"]),
  ("a.{**}", ["a.b", "a.b.c", "a.b.c.d", "a.z", "a.c", "a.", "a.b.c.c", "a..c", "a.b.x.c", "a.ab"]),
  (
    "**.c.**",
    ["a.b.c", "a.b.c.d", "b.c", "c.z.k", "c", "a.c", "x.b.c.e", "a.b.c.c", "b.c.c", "b.x.c.y", "a..c", "a.b.x.c", ".c"]
  ),
  ("a***b", ["a.b", "ab", "aa.b", "a*b", "a-b", "a,b", "a.ab", "axb", "a\\b"]),
  (
    "{a.,b}**",
    [
      "a.b", "a.b.c", "a.b.c.d", "b", "b.c", "a.z", "a.c", "a.", "a.b.c.c", "b.c.c", "b.x.c.y", "a..c", "bac", "a.b.x.c", "a.ab",
      "b.x.cc",
    ]
  ),
  ("b.**.c.**", ["b.c", "b.c.c", "b.x.c.y"]),
  (
    "**.*",
    [
      "a", "a.b", "a.b.c", "a.b.c.d", "b", "b.c", "ab", "aa.b", "x.y", "c.z.k", "a.z", "x.a.b", "c", "a.c", "x.a.e", "x.b.c.e",
      "x.b.d.e", ".b", "a.", "a.b.c.c", "a*b", "a-b", "a,b", "}", "b.c.c", "b.x.c.y", "a..c", "bac", "a.b.x.c", ".c", ".", "a.ab",
      "abc", "axb", "b.x.cc", "a\\b",
    ]
  ),
]
private let tags = [
  "a", "a.b", "a.b.c", "a.b.c.d", "b", "b.c", "ab", "aa.b", "x.y", "c.z.k", "a.z", "x.a.b", "c", "a.c", "x.a.e", "x.b.c.e",
  "x.b.d.e", ".b", "a.", "a.b.c.c", "a*b", "a-b", "a,b", "}", "b.c.c", "b.x.c.y", "a..c", "bac", "a.b.x.c", ".c", ".", "a.ab",
  "abc", "axb", "b.x.cc", "a\\b",
]

@Suite struct TagPatternTests {
  @Test(arguments: recorded) func `a pattern fits the tags that it fits in Fluentd`(_ c: (pattern: String, fits: [String])) throws
  {
    let pattern = try TagPattern(c.pattern)
    #expect(tags.filter { pattern.matches(Tag($0)) } == c.fits)
  }

  @Test func `the recorded routing of cases 011, 012 and 016 is kept`() throws {
    func first(_ patterns: [String], _ tag: String) throws -> String? {
      try patterns.first { try TagPattern($0).matches(Tag(tag)) }
    }
    let stars = ["a", "a.*", "a.**", "**.c", "**"]
    for (tag, pattern) in [
      ("a", "a"), ("a.b", "a.*"), ("a.b.c", "a.**"), ("a.b.c.d", "a.**"), ("b", "**"), ("b.c", "**.c"), ("x.a.b", "**"),
    ] {
      #expect(try first(stars, tag) == pattern)
    }
    let braces = ["{a,b}.{b,c}", "{a,x}.**", "a{a,b}.*", "{b,ab}", "**"]
    for (tag, pattern) in [
      ("a.b", "{a,b}.{b,c}"), ("b.c", "{a,b}.{b,c}"), ("a", "{a,x}.**"), ("a.b.c", "{a,x}.**"), ("aa.b", "a{a,b}.*"),
      ("ab", "{b,ab}"),
      ("c.z.k", "**"),
    ] { #expect(try first(braces, tag) == pattern) }
  }

  @Test func `several patterns between blanks are alternatives`() throws {
    let pattern = try TagPattern("  a.*\t/x+/\n c ")
    #expect(["a.b", "xx", "c", "d"].map { pattern.matches(Tag($0)) } == [true, true, true, false])
  }

  @Test(arguments: [
    "", "  ", "{a", "/a", "/", "a\\", "/(/", String(repeating: "{", count: 200), String(repeating: "ab", count: 3000),
  ])
  func `what is no pattern is an error`(_ text: String) {
    #expect(throws: ConfigValueError.self) { try TagPattern(text) }
  }

  @Test func `a pattern tells which tags it can name`() throws {
    #expect(try TagPattern("a.b {c,d}.{e,f{g,}}").literalTags == ["a.b", "c.e", "c.fg", "c.f", "d.e", "d.fg", "d.f"])
    #expect(try TagPattern("a.b c.*").literalTags == nil)
    #expect(try TagPattern("a **").isCatchAll)
    #expect(try !TagPattern("a.** *").isCatchAll)
    #expect(try TagPattern(String(repeating: "{a,b}", count: 30)).literalTags == nil)
  }

  @Test func `no pattern makes the matcher work more than its size times the tag`() throws {
    let pattern = try TagPattern(String(repeating: "**.*a", count: 60))
    #expect(!pattern.matches(Tag(String(repeating: "a.", count: 2000) + "b")))
  }

  @Test func `random patterns and tags never trap`() {
    let pieces = ["a", "b", ".", "*", "**", "{", "}", ",", "\\", "é", "/"]
    var random = SeededRandom(state: 3)
    for _ in 0..<20_000 {
      let text = (0..<Int.random(in: 1...10, using: &random)).map { _ in pieces.randomElement(using: &random) ?? "" }.joined()
      guard let pattern = try? TagPattern(text) else { continue }
      for tag in ["", "a", "a.b", "..", "é.a"] { _ = pattern.matches(Tag(tag)) }
      for tag in (pattern.literalTags ?? []) where !tag.isEmpty { #expect(pattern.matches(Tag(tag))) }
    }
  }
}
