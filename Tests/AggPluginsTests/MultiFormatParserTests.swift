import AggCore
import AggPlugins
import AggTesting
import Testing

@Suite struct MultiFormatParserTests {
  static func parser(_ config: String) throws -> MultiFormatParser {
    try PluginDriver(PluginSet(parsers: [.init(JSONParser.self), .init(LTSVParser.self), .init(RegexpParser.self)])).make(MultiFormatParser.self, config)
  }
  static let formats = """
    <pattern>
      format json
      time_key t
      format_name j
    </pattern>
    <pattern>
      format /^(?<word>\\w+) (?<n>\\d+)$/
      types n:integer
    </pattern>
    <pattern>
      @type ltsv
    </pattern>

    """

  @Test func `the first format that takes the text makes the event`() throws {
    let result = try Self.parser(Self.formats).lines(#"{"a":1,"t":1600000000}"# + "\nabc 12\nk:v\tl:w\n")
    #expect(
      result.events == [
        #"1600000000 {"a":1}"#, #"\#(testNow.seconds) {"word":"abc","n":12}"#, #"\#(testNow.seconds) {"k":"v","l":"w"}"#,
      ])
    #expect(result.rejects.isEmpty)
    let none = try Self.parser("<pattern>\nformat json\n</pattern>\n<format>\nformat /^(?<d>\\d+)$/\n</format>").lines(
      "12\n{\"broken\n{}\n")
    #expect(none.events.map { $0.drop { $0 != "{" } } == [#"{"d":"12"}"#, "{}"])
    #expect(none.rejects.count == 1)
  }

  @Test func `its name is a field on request`() throws {
    let result = try Self.parser("format_key f\n" + Self.formats).lines(#"{"a":1,"f":"x"}"# + "\nabc 12\nk:v\n")
    #expect(
      result.events.map { $0.drop { $0 != "{" } } == [
        #"{"a":1,"f":"j"}"#, #"{"word":"abc","n":12,"f":"/^(?<word>\\w+) (?<n>\\d+)$/#1"}"#, #"{"k":"v","f":"ltsv#2"}"#,
      ])
  }

  @Test(arguments: [
    "", "<pattern>\n</pattern>", "<pattern>\nformat nothing\n</pattern>", "<pattern>\nformat multi_format\n</pattern>",
  ])
  func `a pattern needs a format that there is`(config: String) {
    #expect(throws: ConfigErrors.self) { try Self.parser(config) }
  }
}
