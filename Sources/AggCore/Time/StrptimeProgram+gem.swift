extension StrptimeProgram {
  /// The gem's directives run over plain integers: the common formats of logs take this way.
  func parseGem(_ text: UnsafeRawBufferPointer, zone local: Zone, now: () -> EventTime) -> EventTime? {
    let lacking = Int.min
    var year = lacking
    var month = lacking
    var day = lacking
    var hour = lacking
    var minute = lacking
    var second = lacking
    var nanoseconds: UInt32 = 0
    var offset = lacking
    let count = text.count
    var i = 0

    @inline(__always) func digits(_ maximum: Int) -> Int {
      guard i < count, text[i] &- 48 <= 9 else { return lacking }
      var value = Int(text[i] &- 48)
      let end = min(count, i &+ maximum)
      i &+= 1
      while i < end {
        let digit = text[i] &- 48
        if digit > 9 { break }
        value = value &* 10 &+ Int(digit)
        i &+= 1
      }
      return value
    }

    let fits = ops.withUnsafeBufferPointer { ops -> Bool in
      for k in 0..<ops.count {
        switch ops[k] {
        case .literal(let byte):
          guard i < count, text[i] == byte else { return false }
          i &+= 1
        case .blanks:
          while i < count, text[i] == 32 || (text[i] >= 9 && text[i] <= 13) { i &+= 1 }
        case .year:
          guard i < count else { return false }
          let sign = text[i]
          if sign == UInt8(ascii: "-") || sign == UInt8(ascii: "+") { i &+= 1 }
          year = digits(4)
          guard year >= 0 else { return false }
          if sign == UInt8(ascii: "-") { year = 0 &- year }
        case .shortYear:
          year = digits(2)
          guard year >= 0 else { return false }
          year &+= year < 69 ? 2000 : 1900
        case .month:
          month = digits(2)
          guard month >= 1, month <= 12 else { return false }
        case .monthName:
          guard let (index, length) = Self.name(text, i, monthNames) else { return false }
          month = index &+ 1
          i &+= length
        case .day:
          day = digits(2)
          guard day >= 1, day <= 31 else { return false }
        case .hour:
          hour = digits(2)
          guard hour >= 0, hour <= 23 else { return false }
        case .minute:
          minute = digits(2)
          guard minute >= 0, minute <= 59 else { return false }
        case .second:
          second = digits(2)
          guard second >= 0, second <= 60 else { return false }
        case .fraction(let maximum):
          let start = i
          let value = digits(min(maximum, 9))
          guard value >= 0 else { return false }
          nanoseconds = UInt32(truncatingIfNeeded: value &* Self.scale(i &- start))
        case .offset:
          guard i < count else { return false }
          let sign = text[i]
          if sign | 0x20 == UInt8(ascii: "z") {  // the gem does not step over it
            offset = 0
            break
          }
          if sign == UInt8(ascii: "-") || sign == UInt8(ascii: "+") { i &+= 1 }
          var minutes = digits(2)
          guard minutes >= 0 else { return false }
          minutes &*= 60
          if i < count, text[i] == UInt8(ascii: ":") { i &+= 1 }
          let more = digits(2)
          if more >= 0 { minutes &+= more }
          guard minutes < 1440 else { return false }
          offset = (sign == UInt8(ascii: "-") ? 0 &- minutes : minutes) &* 60
        default: return false
        }
      }
      return true
    }
    guard fits else { return nil }

    if year == lacking {
      // The gem takes the current time for what stands above the first field given.
      let zone = offset == lacking ? local : .fixed(offset)
      let current = zone.civil(at: now().seconds)
      year = Int(truncatingIfNeeded: current.year)
      if month == lacking {
        month = current.month
        if day == lacking {
          day = current.day
          if hour == lacking {
            hour = current.hour
            if minute == lacking {
              minute = current.minute
              if second == lacking { second = current.second }
            }
          }
        }
      }
    }
    let days = CivilTime.days(year: Int64(year), month: month == lacking ? 1 : month, day: day == lacking ? 1 : day)
    let clock = (hour == lacking ? 0 : hour) &* 3600 &+ (minute == lacking ? 0 : minute) &* 60 &+ (second == lacking ? 0 : second)
    let civil = days &* 86400 &+ Int64(clock)
    let seconds = offset == lacking ? local.instant(ofCivilSeconds: civil) : civil &- Int64(offset)
    return EventTime(seconds: seconds, nanoseconds: nanoseconds)
  }

  /// 10 to the power of what lacks to nine digits.
  @inline(__always) private static func scale(_ digits: Int) -> Int {
    var factor = 1
    var k = digits
    while k < 9 {
      factor = factor &* 10
      k &+= 1
    }
    return factor
  }
}
