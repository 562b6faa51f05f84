/// What a strptime program read, and the instant that it means.
struct StrptimeFields {
  var year: Int?
  var month: Int?
  var day: Int?
  var hour: Int?
  var minute: Int?
  var second: Int?
  var nanoseconds: UInt32?
  /// Seconds east of Greenwich, when the text's zone is one that Ruby knows.
  var zone: Int?
  var zoneText: Range<Int>?
  var epoch: Int64?
  var meridian: Int?
  var century: Int?
  var yearInCentury: Int?
  var dayOfYear: Int?
  var weekday: Int?
  var isoYear: Int?
  var isoWeek: Int?
  var week: Int?
  /// The weekday that `week` starts with.
  var weekStart = 0

  /// Joins the parts that one value was read in.
  mutating func finish() -> Bool {
    if let meridian, let hour { self.hour = hour % 12 + meridian }
    if let century, let yearInCentury { year = century * 100 + yearInCentury }
    return true
  }

  func instant(zone local: Zone, now: () -> EventTime) -> EventTime? {
    if let epoch { return EventTime(seconds: epoch, nanoseconds: nanoseconds ?? 0) }
    return ruby(local, now())
  }

  private func place(_ civil: CivilTime, _ local: Zone) -> EventTime {
    let seconds = civil.epochSeconds
    return EventTime(
      seconds: zone.map { seconds.addingClamped(Int64(-$0)) } ?? local.instant(ofCivilSeconds: seconds),
      nanoseconds: nanoseconds ?? 0)
  }

  private func ruby(_ local: Zone, _ now: EventTime) -> EventTime? {
    if (isoYear != nil && year == nil) || ((isoWeek != nil || isoYear != nil) && !(month != nil && day != nil)) {
      guard let days = isoDays() else { return nil }
      return place(CivilTime(epochSeconds: days * 86400), local)
    }
    var copy = self
    if let week, dayOfYear == nil, month == nil || day == nil {
      let year = Int64(self.year ?? 1970)
      let first = CivilTime(year: year).weekday
      let offset = ((weekday ?? weekStart) - weekStart + 7) % 7
      let day = (week - 1) * 7 + (weekStart - first + 7) % 7 + offset + 1
      guard day >= 1, day <= 366 else { return nil }
      copy.dayOfYear = day
    }
    return copy.make(local, now)
  }

  private func isoDays() -> Int64? {
    guard let isoYear else { return nil }
    let fourth = CivilTime(year: Int64(isoYear), month: 1, day: 4)
    let monday = CivilTime.days(year: Int64(isoYear), month: 1, day: 4) - Int64((fourth.weekday + 6) % 7)
    return monday + Int64(((isoWeek ?? 1) - 1) * 7 + ((weekday ?? 1) + 6) % 7)
  }

  /// Ruby's `Time.make_time`: nil without any field, with a month of 13, or a day that no month has.
  func make(_ local: Zone, _ now: EventTime?) -> EventTime? {
    guard
      year != nil || dayOfYear != nil || month != nil || day != nil || hour != nil || minute != nil || second != nil
        || nanoseconds != nil
    else { return nil }
    let current = now.map { (zone.map { Zone.fixed($0) } ?? local).civil(at: $0.seconds) }
    var nanoseconds = nanoseconds
    var civil = CivilTime(year: 1970)
    if let year { civil.year = Int64(year) } else if let current { civil.year = current.year }
    if let dayOfYear {
      guard (1...366).contains(dayOfYear), dayOfYear < 366 || CivilTime.isLeap(civil.year) else { return nil }
      let date = CivilTime(epochSeconds: (CivilTime.days(year: civil.year, month: 1, day: 1) + Int64(dayOfYear - 1)) * 86400)
      civil.month = date.month
      civil.day = date.day
    } else {
      var isGiven = year != nil
      if let month { civil.month = month } else if !isGiven, let current { civil.month = current.month }
      isGiven = isGiven || month != nil
      if let day { civil.day = day } else if !isGiven, let current { civil.day = current.day }
      isGiven = isGiven || day != nil
      if !isGiven, hour == nil, let current {
        civil.hour = current.hour
        if minute == nil {
          civil.minute = current.minute
          if second == nil {
            civil.second = current.second
            if nanoseconds == nil { nanoseconds = now?.nanoseconds }
          }
        }
      }
    }
    if let hour { civil.hour = hour }
    if let minute { civil.minute = minute }
    if let second { civil.second = second }
    guard (1...12).contains(civil.month), (1...31).contains(civil.day), (0...24).contains(civil.hour),
      (0...59).contains(civil.minute),
      (0...60).contains(civil.second), civil.hour < 24 || (civil.minute == 0 && civil.second == 0)
    else { return nil }
    var copy = self
    copy.nanoseconds = nanoseconds
    return copy.place(civil, local)
  }
}
