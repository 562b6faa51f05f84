import AggCore
import AggPlugins
import AggTesting
import Testing

@Suite struct MultilineParserTests {
  private func multiline(_ text: String) throws -> MultilineTextParser { try PluginDriver().make(MultilineTextParser.self, text) }

  @Test func `formats are one expression, and the dot matches newlines`() throws {
    let parser = try multiline(
      #"""
      format_firstline /^\d{4}-\d\d-\d\d/
      format1 /^(?<time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) /
      format2 /\[(?<lvl>\w+)\] (?<msg>.*)/
      time_format %Y-%m-%d %H:%M:%S
      utc
      """#)
    #expect(parser.one("2024-03-01 10:00:00 [ERR] boom\n  at line 1\n  at line 2").events == [#"1709287200 {"lvl":"ERR","msg":"boom\n  at line 1\n  at line 2"}"#])
    #expect(parser.hasFirstLine)
    let block = "x\n2024-03-01 a\n b\n2024-03-02 c\n"
    #expect(Array(block.utf8).withUnsafeBytes { parser.eventStarts($0) } == [2, 18])
  }

  @Test func `a text may hold several events; what does not match is refused or kept`() throws {
    let text = "a 1\nb 2\n???"
    let parser = try multiline(#"format1 /^(?<k>[a-z]) (?<v>\d)/"#)
    #expect(parser.one(text) == Parsed(events: [#"1700000000 {"k":"a","v":"1"}"#, #"1700000000 {"k":"b","v":"2"}"#], rejects: [text]))
    #expect(parser.one("a 1\nb 2\n").rejects == [])
    let keeping = try multiline("format1 /^(?<k>[a-z]) (?<v>\\d)/\nunmatched_lines true")
    #expect(records(keeping.one(text)) == [#"{"k":"a","v":"1"}"#, #"{"k":"b","v":"2"}"#, #"{"unmatched_line":"???"}"#])
  }

  @Test func `an expression that matches nothing ends`() throws {
    #expect(try multiline("format1 /(?<k>x*)/").one("abc").events.count >= 1)
  }

  @Test(arguments: [
    ("format2 /(?<a>x)/", "Jump of format index found. format1 is missing."),
    ("format1 /(?<a>x)/\nformat3 /y/", "Jump of format index found. format2 is missing."), ("format1 (?<a>x)", "format should be Regexp, need //, in format1"),
    ("format1 /x/", "No named captures"), ("format1 /(?<a>x)/\nformat21 /x/", "Invalid formatN found. N should be 1 - 20: format21"),
    ("format1 /(?<a>x)/\nformat_firstline /(/", "Invalid regexp in format_firstline"), ("", "No named captures"),
  ]) func `mistakes are told at the start`(text: String, message: String) throws {
    #expect { _ = try multiline(text) } throws: { "\($0)".contains(message) }
  }
}
