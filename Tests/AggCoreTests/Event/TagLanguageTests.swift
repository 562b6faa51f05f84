import AggCore
import AggTesting
import Testing

@Suite struct TagLanguageTests {
  private func patterns(_ texts: String...) throws -> [TagPattern] { try texts.map { try TagPattern($0) } }

  @Test(arguments: [
    ("a.**", "a.b.c", true), ("a.**", "a", true), ("**", "a.*", true), ("a.*", "a.b", true), ("a.*", "a.**", false), ("a.{b,c}", "a.b a.c", true),
    ("a.{b,c}", "a.*", false), ("a.b a.c", "a.{b,c}", true), ("**.log", "x.*.log", true), ("*.log", "x.y.log", false), ("/a.*/", "a.b", false),
    ("**", "/a.*/", true), ("a.b.**", "a.b.**.c", true), ("a*", "abc", true), ("a*", "a.bc", false), ("{x,y}.** z", "y.a", true), ("a.**b", "a.b", true),
  ])
  func `one pattern takes all tags of another`(taker: String, taken: String, expected: Bool) throws {
    let language = TagLanguage([try patterns(taken)], excluding: try patterns(taker))
    #expect(language.isEmpty == expected)
  }

  @Test func `several patterns take all tags of another only together`() throws {
    let language = TagLanguage([try patterns("a.*")])
    #expect(language.without(try patterns("a.x")).isEmpty == false)
    #expect(TagLanguage([try patterns("{a,b}.c")]).without(try patterns("a.*", "b.c")).isEmpty)
    #expect(TagLanguage([try patterns("{a,b}.c")]).without(try patterns("a.*")).example() == .some("b.c"))
  }

  @Test func `an example is a tag that fits, and reads like one`() throws {
    #expect(TagLanguage([try patterns("app\\.**")]).example() == .some("app.x"))
    #expect(TagLanguage([try patterns("app.**"), try patterns("**.log")]).example() == .some("app.log"))
    #expect(TagLanguage([try patterns("a.b")]).without(try patterns("a.*")).example() == .none)
    #expect(TagLanguage([]).without(try patterns("x")).example() != .none)
  }

  @Test func `the answers are those of matching every short tag`() throws {
    var random = SeededRandom(seed: 7)
    let pieces = ["a", "b", ".", "*", "**", ".**", "**.", "{a,b}", "{a,.b}", "{a.*,b}", "a.", ".b"]
    // Every tag of up to five characters; longer ones are not needed to tell patterns of three pieces apart.
    var tags: [String] = [""]
    var all: [String] = []
    for _ in 0..<5 {
      tags = tags.flatMap { tag in ["a", "b", ".", "x"].map { tag + $0 } }
      all += tags
    }
    func pattern() -> TagPattern? {
      let text = (0..<Int.random(in: 1...3, using: &random)).map { _ in pieces.randomElement(using: &random) ?? "a" }.joined()
      return try? TagPattern(text)
    }
    var compared = 0
    while compared < 150 {
      guard let a = pattern(), let b = pattern() else { continue }
      compared += 1
      let both = all.first { a.matches(Tag($0)) && b.matches(Tag($0)) }
      let onlyA = all.first { a.matches(Tag($0)) && !b.matches(Tag($0)) }
      if both != nil { #expect(!TagLanguage([[a], [b]]).isEmpty, "\(a.source) and \(b.source) share \(both ?? "")") }
      if onlyA != nil { #expect(!TagLanguage([[a]], excluding: [b]).isEmpty, "\(a.source) without \(b.source) has \(onlyA ?? "")") }
      for language in [TagLanguage([[a], [b]]), TagLanguage([[a]], excluding: [b])] {
        guard case .some(let tag) = language.example() else { continue }
        #expect(a.matches(Tag(tag)), "\(a.source) takes \(tag)")
        #expect(b.matches(Tag(tag)) == language.excluded.isEmpty, "\(b.source) and \(tag)")
      }
    }
  }

  @Test func `a literal pattern takes its text and nothing else`() throws {
    for text in ["a.b", "a{b,c}", "a*", "/a/", "a\\b", "**"] {
      let pattern = try TagPattern(TagPattern.literal(text))
      #expect(pattern.matches(Tag(text)))
      #expect(!pattern.matches(Tag("a.bx")) && !pattern.matches(Tag("ab")))
    }
  }
}
