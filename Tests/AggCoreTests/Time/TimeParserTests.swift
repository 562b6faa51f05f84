import AggCore
import AggTesting
import Testing

/// What Ruby 3.1.7's `Time.parse` answers at 2026-11-24 01:02:03 UTC.
private let guesses: [(text: String, time: EventTime?)] = [
  ("2026-11-23 18:00:00 +0900", EventTime(seconds: 1795424400, nanoseconds: 0)),
  ("2026-11-23T18:00:00Z", EventTime(seconds: 1795456800, nanoseconds: 0)),
  ("2026-11-23T18:00:00.123456789+09:00", EventTime(seconds: 1795424400, nanoseconds: 123456789)),
  ("2026-11-23", EventTime(seconds: 1795392000, nanoseconds: 0)),
  ("20261123", EventTime(seconds: 1795392000, nanoseconds: 0)),
  ("20261123T180000Z", EventTime(seconds: 1795456800, nanoseconds: 0)),
  ("20261123180000", EventTime(seconds: 1795456800, nanoseconds: 0)),
  ("Mon, 23 Nov 2026 18:00:00 +0900", EventTime(seconds: 1795424400, nanoseconds: 0)),
  ("23 Nov 2026 18:00:00 GMT", EventTime(seconds: 1795456800, nanoseconds: 0)),
  ("23/Nov/2026:18:00:00 +0900", nil),
  ("Nov 23 18:00:00", EventTime(seconds: 1795456800, nanoseconds: 0)),
  ("Nov  3 18:00:00 2026", EventTime(seconds: 1793728800, nanoseconds: 0)),
  ("Mon Nov 23 18:00:00 2026", EventTime(seconds: 1795456800, nanoseconds: 0)),
  ("Mon Nov 23 18:00:00 EST 2026", EventTime(seconds: 1795474800, nanoseconds: 0)),
  ("2026/11/23 18:00:00", EventTime(seconds: 1795456800, nanoseconds: 0)),
  ("2026/11/23 18:00:00.5", EventTime(seconds: 1795456800, nanoseconds: 500000000)),
  ("18:00:00", EventTime(seconds: 1795543200, nanoseconds: 0)),
  ("11/23/2026", nil),
  ("23.11.2026", EventTime(seconds: 1795392000, nanoseconds: 0)),
  ("1700000000", nil),
  ("1700000000.5", nil),
  ("12", EventTime(seconds: 1794441600, nanoseconds: 0)),
  ("abc", nil),
  ("", nil),
  ("2026-11-23 18:00:00 UTC", EventTime(seconds: 1795456800, nanoseconds: 0)),
  ("2026-11-23 18:00:00,123", EventTime(seconds: 1795456800, nanoseconds: 123000000)),
  ("2026-11-23T18:00", EventTime(seconds: 1795456800, nanoseconds: 0)),
  ("2026-11-23 6:00 PM", EventTime(seconds: 1795456800, nanoseconds: 0)),
  ("2026-327", EventTime(seconds: 1795392000, nanoseconds: 0)),
  ("2026-W48-1", nil),
  ("-", nil),
  ("time", nil),
  ("26-11-23", EventTime(seconds: 1795392000, nanoseconds: 0)),
  ("23-Nov-2026", EventTime(seconds: 1795392000, nanoseconds: 0)),
  ("Nov 23, 2026", EventTime(seconds: 1795392000, nanoseconds: 0)),
  ("2026-13-40", nil),
  ("2026-02-30", EventTime(seconds: 1772409600, nanoseconds: 0)),
  ("2026-11-23 25:00:00", nil),
  ("2026-11-23 24:00:00", EventTime(seconds: 1795478400, nanoseconds: 0)),
  ("2026-11-23T18:00:00+09", EventTime(seconds: 1795424400, nanoseconds: 0)),
  ("[2026-11-23 18:00:00]", EventTime(seconds: 1795456800, nanoseconds: 0)),
  ("10:20pm", EventTime(seconds: 1795558800, nanoseconds: 0)),
  ("2026-11-23T18:00:00.5 +0900", EventTime(seconds: 1795424400, nanoseconds: 500000000)),
  ("2026 Nov 23 10:00", EventTime(seconds: 1795428000, nanoseconds: 0)),
  ("23 nov", EventTime(seconds: 1795392000, nanoseconds: 0)),
  ("true", nil),
  ("2013-05-06 07:08:09.123456 -07:00 PDT", EventTime(seconds: 1367849289, nanoseconds: 123456000)),
  ("2026-11-23 18:00:00 +09:00 extra", EventTime(seconds: 1795424400, nanoseconds: 0)),
  ("2026-11-23 12:00:00 AM", EventTime(seconds: 1795392000, nanoseconds: 0)),
  ("1/2/3", EventTime(seconds: 981158400, nanoseconds: 0)),
]

private struct Section: TimeConfigurable {
  var time = TimeParameters()
  static var parameters: [Parameter<Self>] { timeRows }
}

private func load(_ entries: [(String, String)]) throws -> TimeParameters {
  let at = SourceLocation(file: "t.conf", line: 1)
  let element = ConfigElement(name: "parse", entries: entries.map { .init(name: $0.0, text: $0.1, at: at) }, at: at)
  return try Section.load(element, ConfigContext()).time
}

@Suite struct TimeParserTests {
  @Test(arguments: guesses) func `without a format a text is guessed as Ruby guesses`(_ c: (text: String, time: EventTime?)) throws {
    let parser = try TimeParser(format: nil, zone: .utc)
    let time = Array(c.text.utf8).withUnsafeBytes { parser.parse($0, now: { EventTime(seconds: 1_795_482_123) }) }
    #expect(time == c.time)
  }

  @Test func `unixtime takes integers, texts and the whole part of floats (case 363)`() throws {
    let parser = try TimeParser(try load([("time_type", "unixtime")]))
    #expect(parser.parse(int: 1_700_000_000) == EventTime(seconds: 1_700_000_000))
    #expect(parser.parse("1700000001") == EventTime(seconds: 1_700_000_001))
    #expect(parser.parse(int: -5) == EventTime(seconds: -5))
    #expect(parser.parse(double: 1_700_000_003.9) == EventTime(seconds: 1_700_000_003))
    #expect(parser.parse("99999999999999999999") == EventTime(seconds: .max))
    #expect(parser.parse(double: .nan) == nil)
  }

  @Test func `float keeps the fraction as it is written`() throws {
    let parser = try TimeParser(try load([("time_type", "float")]))
    #expect(parser.parse("1510544836.154709804") == EventTime(seconds: 1_510_544_836, nanoseconds: 154_709_804))
    #expect(parser.parse(double: 1_700_000_000.123) == EventTime(seconds: 1_700_000_000, nanoseconds: 123_000_000))
    #expect(parser.parse("12.5.7") == EventTime(seconds: 12, nanoseconds: 500_000_000))
  }

  @Test func `mixed tries one format after the other`() throws {
    let parser = try TimeParser(try load([("time_type", "mixed"), ("time_format", "%iso8601"), ("time_format_fallbacks", "unixtime, %d/%b/%Y")]))
    #expect(parser.parse("2024-01-01T00:00:00Z") == EventTime(seconds: 1_704_067_200))
    #expect(parser.parse("1700000000") == EventTime(seconds: 1_700_000_000))
    #expect(parser.parse(int: 7) == EventTime(seconds: 7))
    #expect(parser.parse("nothing") == nil)
  }

  @Test func `a timezone is where times without a zone are (case 370)`() throws {
    let parser = try TimeParser(try load([("time_format", "%Y/%m/%d %H:%M:%S.%L"), ("timezone", "+09:00")]))
    #expect(parser.parse("2024/03/04 05:06:07.089") == EventTime(seconds: 1_709_496_367, nanoseconds: 89_000_000))
    #expect(parser.parse("bad time") == nil)
  }

  @Test func `text formats take no numbers`() throws {
    let parser = try TimeParser(try load([("time_format", "%s"), ("utc", "")]))
    #expect(parser.parse(int: 1) == nil)
    #expect(parser.parse("1") == EventTime(seconds: 1))
  }

  @Test func `what contradicts itself is an error`() throws {
    for entries in [
      [("localtime", "true"), ("utc", "true"), ("time_format", "%s")], [("timezone", "+0900")], [("utc", "true")], [("time_type", "mixed")],
      [("time_format", "%s"), ("timezone", "JST")],
    ] {
      let parameters = try load(entries)
      #expect(throws: ConfigValueError.self) { try TimeParser(parameters) }
    }
    #expect(throws: ConfigErrors.self) { try load([("time_type", "sundial")]) }
  }

  @Test func `random text is guessed or not, and never traps`() throws {
    let parser = try TimeParser(format: nil, zone: .utc)
    let pieces = ["2026", "-", "11", "/", ":", "Nov", " ", "T", "Z", "+09:00", "99999999999", ".", "5", "pm", "\u{ff}", "'"]
    var random = SeededRandom(state: 13)
    for _ in 0..<10_000 {
      _ = parser.parse((0..<Int.random(in: 1...9, using: &random)).map { _ in pieces.randomElement(using: &random) ?? "" }.joined())
    }
  }
}
