/// The rule of POSIX's `TZ`: `std offset [dst [offset] [,start[/time],end[/time]]]`, with RFC 8536's wider hours.
struct PosixZone: Sendable, Hashable {
  struct Change: Sendable, Hashable {
    enum Day: Sendable, Hashable {
      /// `Jn`: 1 … 365, the 29th of February never counted.
      case julian(Int)
      /// `n`: 0 … 365.
      case zeroBased(Int)
      /// `Mm.w.d`: weekday d of week w (5: the last) of month m.
      case week(month: Int, week: Int, weekday: Int)
    }
    var day: Day
    /// Seconds after midnight, by the clock in force before the change.
    var seconds: Int
  }

  let standard: ZoneRules.LocalType
  let daylight: ZoneRules.LocalType?
  let start: Change
  let end: Change

  init?(_ text: String) {
    var reader = Reader(bytes: Array(text.utf8))
    guard text.utf8.count < 256, let name = reader.name(), let offset = reader.time(maximumHours: 24) else { return nil }
    standard = ZoneRules.LocalType(offset: -offset, name: name)
    // What glibc assumes when a rule names daylight time without dates.
    var start = Change(day: .week(month: 3, week: 2, weekday: 0), seconds: 7200)
    var end = Change(day: .week(month: 11, week: 1, weekday: 0), seconds: 7200)
    var daylight: ZoneRules.LocalType?
    if !reader.isAtEnd {
      guard let name = reader.name() else { return nil }
      var offset = offset - 3600
      if !reader.isAtEnd, reader.peek != UInt8(ascii: ",") {
        guard let given = reader.time(maximumHours: 24) else { return nil }
        offset = given
      }
      daylight = ZoneRules.LocalType(offset: -offset, name: name)
      if reader.take(",") {
        guard let first = reader.change(), reader.take(","), let second = reader.change() else { return nil }
        start = first
        end = second
      }
      guard reader.isAtEnd else { return nil }
    }
    self.daylight = daylight
    self.start = start
    self.end = end
  }

  func type(at seconds: Int64) -> ZoneRules.LocalType {
    guard let daylight else { return standard }
    let year = CivilTime(epochSeconds: seconds.addingClamped(Int64(standard.offset))).year
    let from = Self.instant(start, year).addingClamped(Int64(-standard.offset))
    let to = Self.instant(end, year).addingClamped(Int64(-daylight.offset))
    let isDaylight = from < to ? seconds >= from && seconds < to : seconds >= from || seconds < to
    return isDaylight ? daylight : standard
  }

  private static func instant(_ change: Change, _ year: Int64) -> Int64 {
    let first = CivilTime.days(year: year, month: 1, day: 1)
    let day: Int64
    switch change.day {
    case .julian(let n): day = first + Int64(n - 1) + (CivilTime.isLeap(year) && n >= 60 ? 1 : 0)
    case .zeroBased(let n): day = first + Int64(n)
    case .week(let month, let week, let weekday):
      let civil = CivilTime(year: year, month: month, day: 1)
      var number = 1 + (weekday - civil.weekday + 7) % 7 + (week - 1) * 7
      while number > CivilTime.daysIn(month: month, year: year) { number -= 7 }
      day = CivilTime.days(year: year, month: month, day: number)
    }
    return day &* 86400 &+ Int64(change.seconds)
  }

  private struct Reader {
    let bytes: [UInt8]
    var i = 0
    init(bytes: [UInt8]) { self.bytes = bytes }
    var peek: UInt8? { i < bytes.count ? bytes[i] : nil }
    var isAtEnd: Bool { i == bytes.count }

    mutating func take(_ c: Unicode.Scalar) -> Bool {
      guard peek == UInt8(ascii: c) else { return false }
      i += 1
      return true
    }

    mutating func name() -> String? {
      let isQuoted = take("<")
      let start = i
      while let c = peek, isQuoted ? c != UInt8(ascii: ">") : (c | 0x20) >= 97 && (c | 0x20) <= 122 { i += 1 }
      let text = bytes[start..<i]
      if isQuoted, !take(">") { return nil }
      return text.count < (isQuoted ? 1 : 3) || text.count > 16 ? nil : String(decoding: text, as: UTF8.self)
    }

    mutating func number(_ range: ClosedRange<Int>) -> Int? {
      var value: Int?
      while let c = peek, c >= 48, c <= 57 {
        value = min((value ?? 0) * 10 + Int(c) - 48, 100_000)
        i += 1
      }
      guard let value, range.contains(value) else { return nil }
      return value
    }

    mutating func time(maximumHours: Int) -> Int? {
      var sign = 1
      if take("-") { sign = -1 } else { _ = take("+") }
      guard let hours = number(0...maximumHours) else { return nil }
      var total = hours * 3600
      if take(":") {
        guard let minutes = number(0...59) else { return nil }
        total += minutes * 60
        if take(":") {
          guard let seconds = number(0...59) else { return nil }
          total += seconds
        }
      }
      return sign * total
    }

    mutating func change() -> Change? {
      let day: Change.Day
      if take("M") {
        guard let month = number(1...12), take("."), let week = number(1...5), take("."), let weekday = number(0...6) else {
          return nil
        }
        day = .week(month: month, week: week, weekday: weekday)
      } else if take("J") {
        guard let n = number(1...365) else { return nil }
        day = .julian(n)
      } else {
        guard let n = number(0...365) else { return nil }
        day = .zeroBased(n)
      }
      guard take("/") else { return Change(day: day, seconds: 7200) }
      guard let seconds = time(maximumHours: 167) else { return nil }
      return Change(day: day, seconds: seconds)
    }
  }
}
