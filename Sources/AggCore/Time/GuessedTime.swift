/// A time whose form is not told, guessed as Ruby's `Time.parse` does for the forms that logs have.
///
/// First the time of day and its zone are found and taken out, then the first date form that fits the rest counts.
/// Slower than a format by far: some microseconds a text.
enum GuessedTime {
  static let maximumLength = 128
  private static let months = "(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)"
  private static let clock = try? Regexp(
    "(\\d+)\\s*:\\s*(\\d+)(?:\\s*:\\s*(\\d+)(?:[,.](\\d*))?)?(?:\\s*([ap])(?:m\\b|\\.m\\.))?"
      + "(?:\\s*((?:gmt|utc?)?[-+]\\d+(?:[,.:]\\d+(?::\\d+)?)?|[a-z]+(?:\\sdst)?\\b))?", options: .ignoreCase)
  private static let european = try? Regexp(
    "'?(\\d+)[^-\\d\\s]*\\s*\(months)[^-\\d\\s']*(?:\\s*('?-?\\d+))?", options: .ignoreCase)
  private static let american = try? Regexp(
    "\\b\(months)[^-\\d\\s']*\\s*('?\\d+)[^-\\d\\s']*(?:\\s*,?\\s*('?-?\\d+))?", options: .ignoreCase)
  private static let dashed = try? Regexp("('?[-+]?\\d+)-(\\d+)-('?-?\\d+)")
  private static let ordinal = try? Regexp("\\b(\\d{4})-(\\d{3})\\b")
  private static let named = try? Regexp("('?-?\\d+)-\(months)[^-/.]*-('?-?\\d+)", options: .ignoreCase)
  private static let slashed = try? Regexp("('?-?\\d+)/\\s*('?\\d+)(?:\\D\\s*('?-?\\d+))?")
  private static let dotted = try? Regexp("('?-?\\d+)\\.\\s*('?\\d+)\\.\\s*('?-?\\d+)")
  private static let month = try? Regexp("\\b\(months)\\S*", options: .ignoreCase)
  private static let compact = try? Regexp(
    "^\\s*(\\d{8})(?:t?(\\d{6})(?:[,.](\\d*))?)?(z\\b|[-+]\\d{1,4}\\b)?\\s*$", options: .ignoreCase)
  private static let dayOnly = try? Regexp("^\\s*(\\d{1,2})\\s*$")

  static func parse(_ text: UnsafeRawBufferPointer, zone: Zone, now: () -> EventTime) -> EventTime? {
    guard text.count > 0, text.count <= maximumLength else { return nil }
    var bytes = text.map { ZoneText.isDigit($0) || ZoneText.isLetter($0) || "-+:,./'".utf8.contains($0) ? $0 : 32 }
    var fields = StrptimeFields()
    if let c = find(clock, bytes) {
      fields.hour = c.int(1)
      fields.minute = c.int(2)
      fields.second = c.int(3)
      if let fraction = c.text(4) { fields.nanoseconds = nanoseconds(fraction) }
      if let half = c.text(5)?.first {
        guard let hour = fields.hour, hour <= 12 else { return nil }
        fields.hour = hour % 12 + (half | 0x20 == UInt8(ascii: "p") ? 12 : 0)
      }
      if let name = c.text(6) { fields.zone = name.withUnsafeBytes { ZoneText.offset($0) } }
      bytes.replaceSubrange(c.range, with: [32])
    }
    guard date(bytes, &fields) else { return nil }
    return fields.make(zone, now())
  }

  /// False when a date was found that is none.
  private static func date(_ bytes: [UInt8], _ f: inout StrptimeFields) -> Bool {
    if let c = find(european, bytes) {
      f.month = monthNumber(c.text(2))
      return set(&f, c.text(3), c.text(1))
    }
    if let c = find(american, bytes) {
      f.month = monthNumber(c.text(1))
      return set(&f, c.text(3), c.text(2))
    }
    if let c = find(dashed, bytes) ?? find(slashed, bytes) ?? find(dotted, bytes) {
      if c.text(3) == nil {
        f.month = c.int(1)
        f.day = c.int(2)
        return f.month != nil && f.day != nil
      }
      f.month = c.int(2)
      return f.month != nil && set(&f, c.text(1), c.text(3))
    }
    if let c = find(ordinal, bytes) {
      f.year = c.int(1)
      f.dayOfYear = c.int(2)
      return true
    }
    if let c = find(named, bytes) {
      f.month = monthNumber(c.text(2))
      return set(&f, c.text(3), c.text(1))
    }
    if let c = find(month, bytes) {
      f.month = monthNumber(c.text(1))
      return true
    }
    if let c = find(compact, bytes), let date = c.int(1) {
      f.year = date / 10000
      f.month = date / 100 % 100
      f.day = date % 100
      if let time = c.int(2) {
        f.hour = time / 10000
        f.minute = time / 100 % 100
        f.second = time % 100
      }
      if let fraction = c.text(3) { f.nanoseconds = nanoseconds(fraction) }
      if let name = c.text(4) { f.zone = name.withUnsafeBytes { ZoneText.offset($0) } }
      return true
    }
    if let c = find(dayOnly, bytes) { f.day = c.int(1) }
    return true
  }

  /// The one of the two with an apostrophe or more than two digits is the year; two digits mean 1969 … 2068.
  private static func set(_ f: inout StrptimeFields, _ year: [UInt8]?, _ day: [UInt8]?) -> Bool {
    var year = year
    var day = day
    func isLong(_ text: [UInt8]?) -> Bool {
      text.map { $0.first == UInt8(ascii: "'") || $0.filter(ZoneText.isDigit).count > 2 } ?? false
    }
    if isLong(day), !isLong(year) { swap(&year, &day) }
    guard let day, let value = number(day) else { return false }
    f.day = value
    if let year {
      guard let value = number(year) else { return false }
      f.year = !isLong(year) && value >= 0 ? value + (value >= 69 ? 1900 : 2000) : value
    }
    return true
  }

  private static func monthNumber(_ name: [UInt8]?) -> Int? {
    guard let name else { return nil }
    return name.withUnsafeBytes { StrptimeProgram.name($0, 0, monthNames) }.map { $0.0 + 1 }
  }

  private static func number(_ text: [UInt8]) -> Int? {
    let digits = text.filter(ZoneText.isDigit)
    guard digits.count <= 9 else { return nil }
    let value = digits.reduce(0) { $0 * 10 + Int($1) - 48 }
    return text.contains(UInt8(ascii: "-")) ? -value : value
  }

  private static func nanoseconds(_ digits: [UInt8]) -> UInt32 {
    (0..<9).reduce(0) { $0 * 10 + ($1 < digits.count ? UInt32(digits[$1] - 48) : 0) }
  }

  private struct Captures {
    var bytes: [UInt8]
    var ranges: [Range<Int>?]
    var range: Range<Int> { ranges[0] ?? 0..<0 }
    func text(_ group: Int) -> [UInt8]? { group < ranges.count ? ranges[group].map { Array(bytes[$0]) } : nil }
    func int(_ group: Int) -> Int? { text(group).flatMap(GuessedTime.number) }
  }

  private static func find(_ regexp: Regexp?, _ bytes: [UInt8]) -> Captures? {
    guard let regexp else { return nil }
    var matcher = regexp.matcher()
    guard bytes.withUnsafeBytes({ matcher.match($0) }) else { return nil }
    var ranges: [Range<Int>?] = []
    for group in 0...regexp.captureCount { ranges.append(matcher.range(of: group)) }
    return Captures(bytes: bytes, ranges: ranges)
  }
}
