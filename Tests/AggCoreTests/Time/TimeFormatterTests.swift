import AggCore
import Testing

private func text(_ formatter: inout TimeFormatter, _ time: EventTime) -> String {
  var out = ByteWriter()
  formatter.format(time, into: &out)
  return out.string
}

@Suite struct TimeFormatterTests {
  private let time = EventTime(seconds: 1_709_218_799, nanoseconds: 123_456_789)

  @Test(arguments: [
    (TimeParameters(utc: true), "2024-02-29T14:59:59Z"),
    (TimeParameters(timezone: "+00:00"), "2024-02-29T14:59:59+00:00"),
    (TimeParameters(timezone: "Asia/Tokyo"), "2024-02-29T23:59:59+09:00"),
    (TimeParameters(timeFormat: "%Y-%m-%d %H:%M:%S.%N %z", utc: true), "2024-02-29 14:59:59.123456789 +0000"),
    (TimeParameters(timeFormat: "%Y-%m-%d %H:%M:%S.%3N", utc: true), "2024-02-29 14:59:59.123"),
    (TimeParameters(timeType: .unixtime), "1709218799"), (TimeParameters(timeType: .float), "1709218799.123456789"),
    (TimeParameters(timeType: .unixtimeMillis), "1709218799123"), (TimeParameters(timeType: .unixtimeMicros), "1709218799123456"),
    (TimeParameters(timeType: .unixtimeNanos), "1709218799123456789"),
  ]) func `a time is written as the parameters say`(_ parameters: TimeParameters, _ expected: String) throws {
    var formatter = try TimeFormatter(parameters)
    #expect(text(&formatter, time) == expected)
    #expect(text(&formatter, time) == expected)
  }

  @Test func `the kept second still shows each time's own fraction`() {
    var formatter = TimeFormatter(format: "%L|%S|%6N|%12N", zone: .utc)
    #expect(text(&formatter, EventTime(seconds: 1, nanoseconds: 999_999_999)) == "999|01|999999|999999999000")
    #expect(text(&formatter, EventTime(seconds: 1, nanoseconds: 5)) == "000|01|000000|000000005000")
    #expect(text(&formatter, EventTime(seconds: 2, nanoseconds: 0)) == "000|02|000000|000000000000")
  }
}
