/// A date and a time of day as people write them, without a zone. Gregorian for all years.
public struct CivilTime: Hashable, Sendable {
  public var year: Int64
  /// 1 … 12.
  public var month: Int
  /// 1 … 31.
  public var day: Int
  public var hour: Int
  public var minute: Int
  /// 0 … 60.
  public var second: Int

  public init(year: Int64, month: Int = 1, day: Int = 1, hour: Int = 0, minute: Int = 0, second: Int = 0) {
    self.year = year
    self.month = month
    self.day = day
    self.hour = hour
    self.minute = minute
    self.second = second
  }

  /// Years beyond this are clamped, so that no arithmetic below can overflow.
  static let maximumYear: Int64 = 200_000_000_000

  /// The civil time that many seconds after 1970-01-01 00:00:00, by the same clock.
  public init(epochSeconds seconds: Int64) {
    let limit: Int64 = 6_000_000_000_000_000_000
    let seconds = min(max(seconds, -limit), limit)
    var days = seconds / 86400
    var rest = seconds % 86400
    if rest < 0 {
      rest += 86400
      days -= 1
    }
    // Days since 0000-03-01 in eras of 400 years (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
    let z = days + 719_468
    let era = (z >= 0 ? z : z - 146_096) / 146_097
    let dayOfEra = z - era * 146_097
    let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let shifted = (5 * dayOfYear + 2) / 153
    day = Int(dayOfYear - (153 * shifted + 2) / 5 + 1)
    month = Int(shifted < 10 ? shifted + 3 : shifted - 9)
    year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
    hour = Int(rest / 3600)
    minute = Int(rest % 3600 / 60)
    second = Int(rest % 60)
  }

  /// Seconds since 1970-01-01 00:00:00 by the same clock; a day, hour … beyond its range carries over.
  @inline(__always) public var epochSeconds: Int64 {
    Self.days(year: year, month: month, day: day) &* 86400 &+ Int64(hour) &* 3600 &+ Int64(minute) &* 60 &+ Int64(second)
  }

  /// Days since 1970-01-01.
  @inline(__always) static func days(year: Int64, month: Int, day: Int) -> Int64 {
    let y = min(max(year, -maximumYear), maximumYear) &- (month <= 2 ? 1 : 0)
    let era = (y >= 0 ? y : y &- 399) / 400
    let yearOfEra = y &- era &* 400
    let m = Int64(month)
    let dayOfYear = (153 &* (m > 2 ? m &- 3 : m &+ 9) &+ 2) / 5 &+ Int64(day) &- 1
    let dayOfEra = yearOfEra &* 365 &+ yearOfEra / 4 &- yearOfEra / 100 &+ dayOfYear
    return era &* 146_097 &+ dayOfEra &- 719_468
  }

  public static func isLeap(_ year: Int64) -> Bool { year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) }

  static func daysIn(month: Int, year: Int64) -> Int {
    month == 2 ? (isLeap(year) ? 29 : 28) : month == 4 || month == 6 || month == 9 || month == 11 ? 30 : 31
  }

  /// 1 … 366.
  public var dayOfYear: Int { Int(Self.days(year: year, month: month, day: day) - Self.days(year: year, month: 1, day: 1)) + 1 }

  /// 0 is Sunday.
  public var weekday: Int {
    let remainder = Int((Self.days(year: year, month: month, day: day) + 4) % 7)
    return remainder < 0 ? remainder + 7 : remainder
  }

  /// ISO 8601's week: its year, and 1 … 53.
  public var isoWeek: (year: Int64, week: Int) {
    let monday = (weekday + 6) % 7
    let week = (dayOfYear - monday + 9) / 7
    if week < 1 {
      let last = CivilTime(year: year - 1, month: 12, day: 31)
      return (year - 1, last.isoWeek.week)
    }
    if week == 53, CivilTime(year: year + 1).weekday >= 1, CivilTime(year: year + 1).weekday <= 4 { return (year + 1, 1) }
    return (year, week)
  }
}
