import AggCore
import AggTesting
import Testing

/// What Ruby 3.1.7's `Time.strptime` answers at 2026-11-24 01:02:03 UTC: text, format, instant.
private let recorded: [(text: String, format: String, time: EventTime?)] = [
  ("10/Oct/2000:13:55:36 -0700 garbage", "%d/%b/%Y:%H:%M:%S %z %%", nil),
  ("10/Oct/2000:13:55:36 -0700 garbage", "%d/%b/%Y:%T %z", EventTime(seconds: 971211336, nanoseconds: 0)),
  ("2024-01-01T00:00:00Z", "%FT%T%z", EventTime(seconds: 1704067200, nanoseconds: 0)),
  ("2024-01-01 1:2:3 PM", "%Y-%m-%d %I:%M:%S %p", EventTime(seconds: 1704114123, nanoseconds: 0)),
  ("2024-01-01 12:2:3 a.m.", "%Y-%m-%d %I:%M:%S %p", EventTime(seconds: 1704067323, nanoseconds: 0)),
  ("1700000000.5", "%s.%N", EventTime(seconds: 1700000000, nanoseconds: 500000000)),
  ("1700000000", "%s", EventTime(seconds: 1700000000, nanoseconds: 0)),
  ("2024-02-30 1 AM", "%Y-%m-%d %I %p", EventTime(seconds: 1709254800, nanoseconds: 0)),
  ("2024001", "%Y%j", EventTime(seconds: 1704067200, nanoseconds: 0)),
  ("2023366", "%Y%j", nil),
  ("2024-01-01 00:00:00 JST", "%Y-%m-%d %H:%M:%S %Z", EventTime(seconds: 1704067200, nanoseconds: 0)),
  ("2024-01-01 00:00:00 XYZ", "%Y-%m-%d %H:%M:%S %Z", EventTime(seconds: 1704067200, nanoseconds: 0)),
  ("2024-01-01 00:00:00.123456789012", "%Y-%m-%d %H:%M:%S.%L", EventTime(seconds: 1704067200, nanoseconds: 123456789)),
  ("2024-01-01 12", "%F %R", nil),
  ("24", "%k", EventTime(seconds: 1795564800, nanoseconds: 0)),
  ("2024-01-01 24:00:00 AM", "%F %T %p", EventTime(seconds: 1704067200, nanoseconds: 0)),
  ("Monday 2024", "%A %Y", EventTime(seconds: 1704067200, nanoseconds: 0)),
  ("2024 10 1", "%G %V %u", EventTime(seconds: 1709510400, nanoseconds: 0)),
  ("2024 10", "%Y %U", EventTime(seconds: 1710028800, nanoseconds: 0)),
  ("2024 10 1", "%Y %W %u", EventTime(seconds: 1709510400, nanoseconds: 0)),
  ("2024 10 0", "%Y %U %w", EventTime(seconds: 1710028800, nanoseconds: 0)),
  ("2023 01 3", "%Y %W %u", EventTime(seconds: 1672790400, nanoseconds: 0)),
  ("99 1", "%y %k", EventTime(seconds: 915152400, nanoseconds: 0)),
  ("-5", "%s", EventTime(seconds: -5, nanoseconds: 0)),
  ("2024-01-01T00:00:00.5Z", "%Y-%m-%dT%H:%M:%S.%LZ", EventTime(seconds: 1704067200, nanoseconds: 500000000)),
  ("2024-13-01 ", "%Y-%m-%d%k", nil),
  ("12:30", "%l:%M", EventTime(seconds: 1795523400, nanoseconds: 0)),
  ("20 24", "%C %y", EventTime(seconds: 1704067200, nanoseconds: 0)),
  ("1700000000123", "%Q", EventTime(seconds: 1700000000, nanoseconds: 123000000)),
  ("2024-01-01 +09:30:15", "%F %z", EventTime(seconds: 1704032985, nanoseconds: 0)),
  ("2024-01-01 UTC+9", "%F %z", EventTime(seconds: 1704067200, nanoseconds: 0)),
  ("2024-01-01 EST", "%F %Z", EventTime(seconds: 1704085200, nanoseconds: 0)),
  ("2024-01-01 CET 10:00", "%F %Z %H:%M", EventTime(seconds: 1704103200, nanoseconds: 0)),
  ("2024-01-01 10:00 +9", "%F %H:%M %z", EventTime(seconds: 1704103200, nanoseconds: 0)),
  ("2024-01-01 10:00 +9.5", "%F %H:%M %z", EventTime(seconds: 1704103200, nanoseconds: 0)),
  ("Nov  3 18:00:00", "%b %e %T", EventTime(seconds: 1793728800, nanoseconds: 0)),
  ("Nov 3 18:00", "%b %d %R", EventTime(seconds: 1793728800, nanoseconds: 0)),
  ("18:00", "%R", EventTime(seconds: 1795543200, nanoseconds: 0)),
  ("x", "%T", nil),
  ("", "%F", nil),
  ("2024-01-01 +09:00", "%F%n%:z", EventTime(seconds: 1704034800, nanoseconds: 0)),
  ("Sat Aug 28 02:29:34 1999", "%c", EventTime(seconds: 935807374, nanoseconds: 0)),
  ("08/28/99 10:20:30 PM", "%D %r", EventTime(seconds: 935878830, nanoseconds: 0)),
  ("28-Aug-1999", "%v", EventTime(seconds: 935798400, nanoseconds: 0)),
  ("20240102030405678", "%Y%m%d%H%M%S%L", EventTime(seconds: 1704164645, nanoseconds: 678000000)),
  ("12024-01-01", "%F", EventTime(seconds: 317273587200, nanoseconds: 0)),
  ("-0001-01-01", "%F", EventTime(seconds: -62198755200, nanoseconds: 0)),
  ("2024-1-1 7:8:9", "%F %T", EventTime(seconds: 1704092889, nanoseconds: 0)),
  ("2024 Z", "%Y %Z", EventTime(seconds: 1704067200, nanoseconds: 0)),
  ("2024 K", "%Y %Z", EventTime(seconds: 1704031200, nanoseconds: 0)),
  ("2024 y", "%Y %Z", EventTime(seconds: 1704110400, nanoseconds: 0)),
  ("2024 PST8", "%Y %Z", nil),
  ("2024-06-31", "%D", nil),
  ("23", "%M", EventTime(seconds: 1795483380, nanoseconds: 0)),
  ("%", "%%", nil),
  ("2024-01-01 7", "%F %k", EventTime(seconds: 1704092400, nanoseconds: 0)),
  ("2024-01-01  7", "%F %k", EventTime(seconds: 1704092400, nanoseconds: 0)),
  ("2024-01-01 00:00:60", "%F %T", EventTime(seconds: 1704067260, nanoseconds: 0)),
]
private let now = EventTime(seconds: 1_795_482_123)

func parse(_ text: String, _ format: String, zone: Zone = .utc, now: EventTime = now) throws -> EventTime? {
  let program = try StrptimeProgram(format)
  return Array(text.utf8).withUnsafeBytes { program.parse($0, zone: zone, now: { now }) }
}

@Suite struct StrptimeProgramTests {
  @Test(arguments: recorded) func `a format reads what Ruby reads`(_ c: (text: String, format: String, time: EventTime?)) throws {
    #expect(try parse(c.text, c.format) == c.time)
  }

  /// The strptime gem's rules, from its source: Fluentd uses it where it knows every directive.
  @Test(arguments: [
    ("2024-02-29T23:59:59.123456789+0900", "%Y-%m-%dT%H:%M:%S.%N%z", EventTime(seconds: 1_709_218_799, nanoseconds: 123_456_789)),
    ("2024-12-31T00:00:00.5-0000", "%Y-%m-%dT%H:%M:%S.%N%z", EventTime(seconds: 1_735_603_200, nanoseconds: 500_000_000)),
    ("2024-01-01T00:00:03+05:30", "%Y-%m-%dT%H:%M:%S%z", EventTime(seconds: 1_704_047_403)),
    ("2024-01-01T00:00:00Z", "%Y-%m-%dT%H:%M:%S%z", EventTime(seconds: 1_704_067_200)),
    ("20240101000001+0000", "%Y%m%d%H%M%S%z", EventTime(seconds: 1_704_067_201)),
    ("03 Apr 2024 05:06:07 +0200", "%d %b %Y %H:%M:%S %z", EventTime(seconds: 1_712_113_567)),
    ("10/Oct/2000:13:55:36 -0700 rest", "%d/%b/%Y:%H:%M:%S %z", EventTime(seconds: 971_211_336)),
    ("2024-02-30", "%Y-%m-%d", EventTime(seconds: 1_709_251_200)),
    ("Nov  3 18:00:00", "%b %d %H:%M:%S", EventTime(seconds: 1_793_728_800)),
    ("18:30", "%H:%M", EventTime(seconds: 1_795_545_000)),
    ("2024 september 07", "%Y%n%B %e", EventTime(seconds: 1_725_667_200)),
    ("69 1", "%y %m", EventTime(seconds: -31_536_000)),
    ("2024-01-01 24", "%Y-%m-%d %H", nil), ("2024-13", "%Y-%m", nil), ("2024-01-01 JST", "%Y-%m-%d %z", nil), ("2024", "%Y-", nil),
    ("", "%Y", nil), ("2024-01-01 +99", "%Y-%m-%d %z", nil), ("x", "%N", nil), ("bad time", "%Y/%m/%d %H:%M:%S", nil),
  ] as [(String, String, EventTime?)]) func `the gem's directives read what the gem reads`(_ text: String, _ format: String, _ time: EventTime?) throws {
    #expect(try parse(text, format) == time)
  }

  @Test func `a fraction of few digits can be asked for`() throws {
    #expect(try parse("2024-01-01 00:00:00.123456", "%Y-%m-%d %H:%M:%S.%3N") == EventTime(seconds: 1_704_067_200, nanoseconds: 123_000_000))
  }

  @Test func `a time without a zone is in the zone given`() throws {
    let tokyo = try #require(Zone(named: "Asia/Tokyo"))
    #expect(try parse("2024-01-01 09:00:00", "%Y-%m-%d %H:%M:%S", zone: tokyo) == EventTime(seconds: 1_704_067_200))
    #expect(try parse("2024-01-01 09:00:00 +0000", "%Y-%m-%d %H:%M:%S %z", zone: tokyo) == EventTime(seconds: 1_704_099_600))
  }

  @Test func `a format that ends in a percent sign is an error`() {
    #expect(throws: ConfigValueError.self) { try StrptimeProgram("%Y%") }
  }

  @Test func `random formats over random text never trap`() {
    let pieces = Array("YCymBbhdejHkIlMSLNzZAaGuVUWwspPQcDFTRrXxvn+t%").map { "%\($0)" } + [" ", "-", ":", ".", "3", "%3N"]
    let texts = ["2024", "-", "+", "9", "99999999999999999999999", "Jan", "mo", " ", ":", ".", "Z", "JST", "é", "PM", "00", "\0"]
    var random = SeededRandom(state: 11)
    for _ in 0..<40_000 {
      let format = (0..<Int.random(in: 1...6, using: &random)).map { _ in pieces.randomElement(using: &random) ?? "" }.joined()
      let text = (0..<Int.random(in: 0...8, using: &random)).map { _ in texts.randomElement(using: &random) ?? "" }.joined()
      _ = try? parse(text, format, zone: .fixed(Int.random(in: -90000...90000, using: &random)))
    }
  }
}
