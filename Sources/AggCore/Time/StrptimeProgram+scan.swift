extension StrptimeProgram {
  @inline(__always) private static func digit(_ text: UnsafeRawBufferPointer, _ i: Int) -> Int? {
    guard i < text.count else { return nil }
    let value = text[i] &- 48
    return value <= 9 ? Int(value) : nil
  }

  /// Up to `maximum` digits (at most 18 count, so nothing overflows); nil without one.
  @inline(__always) private static func number(_ text: UnsafeRawBufferPointer, _ i: inout Int, _ maximum: Int) -> Int? {
    guard var value = digit(text, i) else { return nil }
    i &+= 1
    var count = 1
    while count < maximum, let next = digit(text, i) {
      if count >= 18 { return nil }
      value = value &* 10 &+ next
      i &+= 1
      count &+= 1
    }
    return value
  }

  /// Two digits within a range; Ruby's reader also takes a blank for the first where `blank` says so.
  @inline(__always) private func two(
    _ text: UnsafeRawBufferPointer, _ i: inout Int, _ range: ClosedRange<Int>, blank: Bool = false
  ) -> Int? {
    if blank, i < text.count, text[i] == 32 {
      i &+= 1
      guard let value = Self.number(text, &i, 1), range.contains(value) else { return nil }
      return value
    }
    guard let value = Self.number(text, &i, 2), range.contains(value) else { return nil }
    return value
  }

  func scan(_ text: UnsafeRawBufferPointer, _ f: inout StrptimeFields) -> Bool {
    var i = 0
    for op in ops {
      switch op {
      case .literal(let byte):
        guard i < text.count, text[i] == byte else { return false }
        i &+= 1
      case .blanks:
        while i < text.count, text[i] == 32 || (text[i] >= 9 && text[i] <= 13) { i &+= 1 }
      case .year(let maximum):
        var isNegative = false
        if i < text.count, text[i] == UInt8(ascii: "-") || text[i] == UInt8(ascii: "+") {
          isNegative = text[i] == UInt8(ascii: "-")
          i &+= 1
        }
        guard let value = Self.number(text, &i, maximum) else { return false }
        f.year = isNegative ? -value : value
      case .month:
        guard let value = two(text, &i, 1...12) else { return false }
        f.month = value
      case .day:
        guard let value = two(text, &i, 1...31, blank: true) else { return false }
        f.day = value
      case .hour:
        guard let value = two(text, &i, 0...24, blank: true) else { return false }
        f.hour = value
      case .minute:
        guard let value = two(text, &i, 0...59) else { return false }
        f.minute = value
      case .second:
        guard let value = two(text, &i, 0...60) else { return false }
        f.second = value
      case .monthName:
        guard let (value, length) = Self.name(text, i, monthNames) else { return false }
        f.month = value &+ 1
        i &+= length
      case .fraction(let maximum):
        guard let nanoseconds = Self.fraction(text, &i, maximum) else { return false }
        f.nanoseconds = nanoseconds
      case .zone:
        guard let length = ZoneText.length(text, i) else { return false }
        f.zoneText = i..<(i &+ length)
        f.zone = ZoneText.offset(UnsafeRawBufferPointer(rebasing: text[i..<(i &+ length)]))
        i &+= length
      default:
        guard scanRare(op, text, &i, &f) else { return false }
      }
    }
    return f.finish()
  }

  @inline(never) private func scanRare(_ op: Op, _ text: UnsafeRawBufferPointer, _ i: inout Int, _ f: inout StrptimeFields)
    -> Bool
  {
    switch op {
    case .century:
      var isNegative = false
      if i < text.count, text[i] == UInt8(ascii: "-") || text[i] == UInt8(ascii: "+") {
        isNegative = text[i] == UInt8(ascii: "-")
        i &+= 1
      }
      guard let value = Self.number(text, &i, 2) else { return false }
      f.century = isNegative ? -value : value
    case .shortYear:
      guard let value = two(text, &i, 0...99) else { return false }
      f.year = value
      if f.century == nil { f.year = value + (value < 69 ? 2000 : 1900) }
      f.yearInCentury = value
    case .dayOfYear:
      guard let value = Self.number(text, &i, 3), (1...366).contains(value) else { return false }
      f.dayOfYear = value
    case .hour12:
      guard let value = two(text, &i, 1...12, blank: true) else { return false }
      f.hour = value
    case .meridian:
      guard i < text.count, i + 1 < text.count else { return false }
      let letter = text[i] | 0x20
      guard letter == UInt8(ascii: "a") || letter == UInt8(ascii: "p") else { return false }
      let isDotted = text[i + 1] == UInt8(ascii: ".")
      let second = i + (isDotted ? 2 : 1)
      guard second < text.count, text[second] | 0x20 == UInt8(ascii: "m") else { return false }
      if isDotted { guard second + 1 < text.count, text[second + 1] == UInt8(ascii: ".") else { return false } }
      i = second + (isDotted ? 2 : 1)
      f.meridian = letter == UInt8(ascii: "p") ? 12 : 0
    case .epoch, .epochMillis:
      let isNegative = i < text.count && text[i] == UInt8(ascii: "-")
      if i < text.count, text[i] == UInt8(ascii: "-") || text[i] == UInt8(ascii: "+") { i += 1 }
      guard let value = Self.number(text, &i, 19) else { return false }
      let signed = Int64(isNegative ? -value : value)
      guard case .epochMillis = op else {
        f.epoch = signed
        break
      }
      let seconds = signed / 1000 - (signed % 1000 < 0 ? 1 : 0)
      f.epoch = seconds
      f.nanoseconds = UInt32(truncatingIfNeeded: (signed - seconds * 1000) * 1_000_000)
    case .weekdayName:
      guard let (value, length) = Self.name(text, i, weekdayNames) else { return false }
      f.weekday = value
      i += length
    case .weekday(let lowest):
      guard let value = Self.number(text, &i, 1), (lowest...(lowest + 6)).contains(value) else { return false }
      f.weekday = value % 7
    case .isoYear:
      guard let value = Self.number(text, &i, 4) else { return false }
      f.isoYear = value
    case .isoWeek:
      guard let value = two(text, &i, 1...53) else { return false }
      f.isoWeek = value
    case .week(let fromMonday):
      guard let value = two(text, &i, 0...53) else { return false }
      f.week = value
      f.weekStart = fromMonday ? 1 : 0
    default: return false
    }
    return true
  }

  /// Digits after the decimal point; those past the ninth say nothing.
  @inline(__always) private static func fraction(_ text: UnsafeRawBufferPointer, _ i: inout Int, _ maximum: Int) -> UInt32? {
    guard let first = digit(text, i) else { return nil }
    var value = first
    i &+= 1
    var count = 1
    while count < maximum, let next = digit(text, i) {
      if count < 9 { value = value &* 10 &+ next }
      i &+= 1
      count &+= 1
    }
    while count < 9 {
      value = value &* 10
      count &+= 1
    }
    return UInt32(truncatingIfNeeded: value)
  }

  /// The index of a name and the length that was read: whole, or its first three letters; case does not matter.
  @inline(__always) static func name(_ text: UnsafeRawBufferPointer, _ i: Int, _ names: [StaticString]) -> (Int, Int)? {
    guard i &+ 3 <= text.count else { return nil }
    let a = text[i] | 0x20
    let b = text[i &+ 1] | 0x20
    let c = text[i &+ 2] | 0x20
    for index in names.indices {
      let name = names[index]
      let p = name.utf8Start
      guard a == p[0], b == p[1], c == p[2] else { continue }
      let length = name.utf8CodeUnitCount
      guard i &+ length <= text.count else { return (index, 3) }
      var k = 3
      while k < length, text[i &+ k] | 0x20 == p[k] { k &+= 1 }
      return (index, k == length ? length : 3)
    }
    return nil
  }
}

let monthNames: [StaticString] = [
  "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december",
]
let weekdayNames: [StaticString] = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"]
