import AggCore
import AggPlugins
import AggTesting
import Testing

@Suite struct DedotFilterTests {
  static func run(_ config: String, _ records: [String]) throws -> [String] {
    let filter = try PluginDriver().make(DedotFilter.self, config)
    var sink = FilterSink()
    return try filter.filter(.json(records), &sink).jsonRecords
  }

  @Test func `dots in names become the separator, values stay`() throws {
    let records = [#"{"a.b.c":"x.y","d":{"e.f":1},"g":[{"h.i":2}]}"#, #"{"plain":1}"#]
    #expect(try Self.run("", records) == [#"{"a_b_c":"x.y","d":{"e.f":1},"g":[{"h.i":2}]}"#, records[1]])
    #expect(try Self.run("de_dot_separator ::", [#"{"a.b":1}"#]) == [#"{"a::b":1}"#])
    #expect(try Self.run("de_dot_separator \"\"", [#"{"a.b":1}"#]) == [#"{"ab":1}"#])
    #expect(try Self.run("de_dot false", records) == records)
  }

  @Test func `nested maps and maps in arrays are treated on request, arrays in arrays are not`() throws {
    #expect(
      try Self.run("de_dot_nested true", [#"{"a":{"b.c":{"d.e":1}},"f":[{"g.h":2},"i.j",[{"k.l":3}]]}"#])
        == [#"{"a":{"b_c":{"d_e":1}},"f":[{"g_h":2},"i.j",[{"k.l":3}]]}"#])
  }

  @Test func `names that become the same are one field with the last value in the first place`() throws {
    #expect(
      try Self.run("", [#"{"a.b":1,"x":2,"a_b":3}"#, #"{"a_b":1,"x":2,"a.b":3}"#]) == [#"{"a_b":3,"x":2}"#, #"{"a_b":3,"x":2}"#])
    // As many fields as no search through all of them for each would end with.
    let many = "{" + (0..<20_000).map { #""k.\#($0)":\#($0)"# }.joined(separator: ",") + #","k_7":"last"}"#
    let result = try #require(try Self.run("", [many]).first)
    #expect(result.contains(#""k_7":"last","k_8":8"#))
    #expect(!result.contains("k."))
  }

  @Test func `a separator with a dot is an error`() {
    #expect(throws: ConfigErrors.self) { try Self.run("de_dot_separator a.b", []) }
    #expect(throws: Never.self) { try Self.run("de_dot false\nde_dot_separator .", []) }
  }
}
