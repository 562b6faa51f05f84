/// `2026-11-23T18:00:00[.fraction][Z|±HH:MM]`, as Ruby's `Time.iso8601` takes it.
enum ISO8601Text {
  static func parse(_ text: UnsafeRawBufferPointer, zone: Zone) -> EventTime? {
    guard text.count >= 19, text.count <= 64, let year = digits(text, 0, 4), text[4] == UInt8(ascii: "-"),
      let month = digits(text, 5, 2),
      text[7] == UInt8(ascii: "-"), let day = digits(text, 8, 2), text[10] | 0x20 == UInt8(ascii: "t"),
      let hour = digits(text, 11, 2),
      text[13] == UInt8(ascii: ":"), let minute = digits(text, 14, 2), text[16] == UInt8(ascii: ":"),
      let second = digits(text, 17, 2),
      (1...12).contains(month), (1...31).contains(day), hour <= 24, minute <= 59, second <= 60,
      hour < 24 || (minute == 0 && second == 0)
    else { return nil }
    var i = 19
    var nanoseconds = 0
    if i < text.count, text[i] == UInt8(ascii: ".") {
      i += 1
      var unit = 100_000_000
      let start = i
      while i < text.count, ZoneText.isDigit(text[i]) {
        nanoseconds += Int(text[i] - 48) * unit
        unit /= 10
        i += 1
      }
      guard i > start else { return nil }
    }
    let civil = CivilTime(year: Int64(year), month: month, day: day, hour: hour, minute: minute, second: second)
    let fraction = UInt32(truncatingIfNeeded: nanoseconds)
    if i == text.count { return EventTime(seconds: zone.instant(of: civil), nanoseconds: fraction) }
    if i == text.count - 1, text[i] | 0x20 == UInt8(ascii: "z") {
      return EventTime(seconds: civil.epochSeconds, nanoseconds: fraction)
    }
    guard i == text.count - 6, text[i] == UInt8(ascii: "+") || text[i] == UInt8(ascii: "-"), let hours = digits(text, i + 1, 2),
      text[i + 3] == UInt8(ascii: ":"), let minutes = digits(text, i + 4, 2), hours < 24, minutes < 60
    else { return nil }
    let offset = Int64((hours * 60 + minutes) * 60)
    return EventTime(seconds: civil.epochSeconds + (text[i] == UInt8(ascii: "-") ? offset : -offset), nanoseconds: fraction)
  }

  private static func digits(_ text: UnsafeRawBufferPointer, _ at: Int, _ count: Int) -> Int? {
    var value = 0
    for k in at..<at + count {
      guard k < text.count, ZoneText.isDigit(text[k]) else { return nil }
      value = value * 10 + Int(text[k] - 48)
    }
    return value
  }
}
