import AggCore
import AggTesting
import Foundation

/// Times in text, formats that users write, and zones.
enum TimeTargets {
  static let all = [strptime, guess, strftime, zone]
  private static let newYork = Zone(named: "America/New_York") ?? .utc

  /// A format, a line break, and a text.
  static let strptime = FuzzTarget(
    "strptime",
    words: [
      "%Y", "%m", "%d", "%H", "%M", "%S", "%N", "%L", "%z", "%Z", "%b", "%a", "%s", "%Q", "%j", "%U", "%G", "%V", "%y", "%p",
      "%e", "%3N", "%-d", "%C", "%::z",
    ],
    short: 10_000,
    texts: [
      "%d/%b/%Y:%H:%M:%S %z\n10/Oct/2000:13:55:36 -0700", "%Y-%m-%dT%H:%M:%S.%N%z\n2020-02-29T23:59:60.123456789+09:00",
      "%s.%L\n1700000000.5", "%G-W%V-%u\n2020-W53-7",
      "%Y %j\n2020 366", "%U %a %Y\n52 Sun 1999", "%Q\n9223372036854775807", "%C%y\n9999", "%Y\n-99999999999999999999",
      "%I:%M %p\n12:59 PM", "%s\n-9223372036854775808",
      "%b %d %H:%M:%S\nFeb 29 12:00:00",
    ]
  ) { bytes in
    let end = bytes.firstIndex(of: 0x0a) ?? bytes.count
    let text = String(decoding: bytes[min(end + 1, bytes.count)...], as: UTF8.self)
    for zone in [Zone.utc, newYork, .fixed(-43_200)] {
      guard let parser = try? TimeParser(format: String(decoding: bytes[..<end], as: UTF8.self), zone: zone) else { return }
      let now = EventTime(seconds: 1_709_164_800)
      var copy = text
      guard let time = copy.withUTF8({ parser.parse(UnsafeRawBufferPointer($0), now: { now }) }) else { continue }
      try check(time)
    }
  }
  private static func check(_ time: EventTime) throws {
    try Failure.unless(time.nanoseconds < 1_000_000_000, "\(time.nanoseconds) nanoseconds")
    var out = ByteWriter()
    StrftimeProgram("%c %s %N %G %U %j").format(time, zone: newYork, into: &out)
  }

  static let guess = FuzzTarget(
    "time-guess", words: ["-", ":", "/", "T", "Z", " ", "Feb", "GMT", "+09:00", ".", "am", "'99"], short: 5000,
    texts: [
      "2020-01-02 03:04:05 +0900", "Thu Aug 10 16:33:14 2017", "20200102T030405Z", "1/2/3", "'99-12-31", "12:00:00 pm",
      "999999999-12-31", "1700000000.123456789", "2020-366",
      "2020-01-02T03:04:05.678901234Z", "-99999999999", "1e18", "9223372036854775807",
    ]
  ) { bytes in
    let text = String(decoding: bytes, as: UTF8.self)
    var parsers = [try TimeParser(format: nil, zone: newYork), try TimeParser(format: "%iso8601", zone: .utc)]
    for type in TimeParameters.TimeType.allCases where type != .string && type != .mixed {
      parsers.append(try TimeParser(TimeParameters(timeType: type)))
    }
    var parameters = TimeParameters(timeType: .mixed)
    parameters.fallbacks = TimeFormatList(["unixtime", "%iso8601", "%Y"])
    parsers.append(try TimeParser(parameters))
    for parser in parsers {
      if let time = parser.parse(text) { try check(time) }
      if let value = Int64(text), let time = parser.parse(int: value) { try check(time) }
      if let value = Double(text), let time = parser.parse(double: value) { try check(time) }
    }
  }

  /// Seconds, a line break, and a format.
  static let strftime = FuzzTarget(
    "strftime", words: ["%Y", "%10N", "%-d", "%^a", "%::z", "%0200d", "%G", "%V", "%e", "%999999999d", "%s", "%E", "%+"],
    short: 10_000,
    texts: [
      "1700000000\n%Y-%m-%dT%H:%M:%S.%9N%:z", "-62135596800\n%c %x %X %D %F", "9223372036854775807\n%G-W%V-%u %j %U",
      "-9223372036854775808\n%Y%s%3N%-20Y",
    ]
  ) { bytes in
    let end = bytes.firstIndex(of: 0x0a) ?? bytes.count
    let seconds = Int64(String(decoding: bytes[..<end], as: UTF8.self)) ?? 1
    let format = String(decoding: bytes[min(end + 1, bytes.count)...].prefix(500), as: UTF8.self)
    for zone in [Zone.utc, newYork] {
      var out = ByteWriter()
      let time = EventTime(seconds: seconds, nanoseconds: 999_999_999)
      StrftimeProgram(format).format(time, zone: zone, into: &out)
      var formatter = TimeFormatter(format: format, zone: zone)
      for offset in 0..<3 as Range<Int64> { formatter.format(EventTime(seconds: seconds &+ offset), into: &out) }
      // Ruby allows widths up to 1024; a format of 500 bytes cannot be made to write without bounds.
      try Failure.unless(out.count < 4 << 20, "\(out.count) bytes")
    }
  }

  /// A zone file, or the text of POSIX's TZ.
  static let zone = FuzzTarget(
    "zone", words: ["EST5EDT", ",M3.2.0", "/2", "<+03>-3", "J60", "TZif2"], short: 5000,
    bytes: [
      "EST5EDT,M3.2.0,M11.1.0/2", "<-03>3<-02>,M3.5.0/-2,M10.5.0/-1", "XXX-24:59:59YYY,J1/167,365/-167", "+09:00", "Asia/Tokyo",
    ].map { Array($0.utf8) } + files
  ) { bytes in
    let text = String(decoding: bytes, as: UTF8.self)
    let zones = [
      bytes.withUnsafeBytes { Zone(tzif: $0) }, Zone(posix: text), text.contains("/") ? nil : try? Zone(configText: text),
    ].compactMap { $0 }
    for zone in zones {
      for seconds in [0, 1_700_000_000, -1, Int64.min, .max, 4_102_444_800, -62_135_596_800] {
        try Failure.unless(abs(zone.offset(at: seconds)) < 200_000, "an offset of \(zone.offset(at: seconds)) s")
        _ = zone.abbreviation(at: seconds)
        _ = zone.instant(of: zone.civil(at: seconds))
      }
    }
  }
  /// Small files of the zone database, where there is one.
  private static var files: [[UInt8]] {
    ["UTC", "Asia/Tokyo", "Africa/Abidjan", "Pacific/Chatham"].compactMap {
      (try? Data(contentsOf: URL(filePath: "/usr/share/zoneinfo/\($0)"))).map { [UInt8]($0) }
    }
  }
}
