import AggCore

extension Bindings {
  func callTime(_ t: RubyTime, _ method: Method, _ a: [RubyValue]) throws(Failure) -> RubyValue? {
    // Farther than any calendar needs: a million years.
    guard Swift.abs(t.time.seconds.clamped) < RubyTime.farthest else {
      switch method {
      case .toI, .tvSec, .toF: break
      default: throw .raise(.rangeError, "time out of range")
      }
      return method == .toF ? .double(t.time.doubleValue) : .int(t.time.seconds)
    }
    switch method {
    case .strftime:
      try arity(a, 1...1)
      return try string(formatted(t, text(a[0])))
    case .toI, .tvSec: return .int(t.time.seconds)
    case .toF, .toR: return .double(t.time.doubleValue)
    case .iso8601, .xmlschema:
      let places = a.isEmpty ? 0 : min(max(0, try integer(a[0])), 30)
      let format = "%Y-%m-%dT%H:%M:%S" + (places > 0 ? ".%\(places)N" : "") + (t.zone.isUTC && !t.isDateTime ? "Z" : "%:z")
      return try string(formatted(t, Array(format.utf8)))
    case .rfc2822: return try string(formatted(t, Array("%a, %d %b %Y %H:%M:%S \(t.zone.isUTC ? "-0000" : "%z")".utf8)))
    case .httpdate: return try string(formatted(RubyTime(t.time, .utc), Array("%a, %d %b %Y %H:%M:%S GMT".utf8)))
    case .utc, .getutc, .gmtime, .getgm: return .time(RubyTime(t.time, .utc, isDateTime: t.isDateTime))
    case .localtime, .getlocal, .newOffset:
      try arity(a, 0...1)
      return .time(RubyTime(t.time, a.isEmpty || a[0].isNull ? (method == .newOffset ? .utc : host.zone) : try zone(a[0]), isDateTime: t.isDateTime))
    case .toTime: return .time(RubyTime(t.time, t.zone))
    case .toDateTime: return .time(RubyTime(t.time, t.zone, isDateTime: true))
    case .round, .floor, .ceil:
      let places = a.isEmpty ? 0 : min(max(0, try integer(a[0])), 9)
      var unit: UInt32 = 1
      for _ in places..<9 { unit *= 10 }
      let rest = t.time.nanoseconds % unit
      let isUp = method == .ceil ? rest > 0 : method == .round && rest >= unit - rest
      return .time(
        RubyTime(shifted(EventTime(seconds: t.time.seconds, nanoseconds: t.time.nanoseconds - rest), nanoseconds: isUp ? Int64(unit) : 0), t.zone))
    case .year: return .int(t.civil.year)
    case .month, .mon: return RubyValue(t.civil.month)
    case .day, .mday: return RubyValue(t.civil.day)
    case .hour: return RubyValue(t.civil.hour)
    case .min, .minute: return RubyValue(t.civil.minute)
    case .sec, .second: return RubyValue(t.civil.second)
    case .usec, .tvUsec: return RubyValue(Int(t.time.nanoseconds / 1000))
    case .nsec, .tvNsec: return RubyValue(Int(t.time.nanoseconds))
    case .wday: return RubyValue(t.civil.weekday)
    case .yday: return RubyValue(t.civil.dayOfYear)
    case .zone:
      let name = t.zone.abbreviation(at: t.time.seconds)
      return name.isEmpty ? .null : RubyValue(name)
    case .utcOffset, .gmtOffset: return RubyValue(t.zone.offset(at: t.time.seconds))
    case .isUTC: return .bool(t.zone.isUTC)
    case .add, .subtract:
      try arity(a, 1...1)
      if method == .subtract, case .time(let other) = a[0] {
        let seconds = t.time.seconds.subtractingReportingOverflow(other.time.seconds)
        if seconds.overflow { throw Failure.overflow }
        return .double(Double(seconds.partialValue) + (Double(t.time.nanoseconds) - Double(other.time.nanoseconds)) / 1e9)
      }
      guard let delta = a[0].number else { throw .type("can't convert \(a[0].describedClass) into an exact number") }
      return .time(RubyTime(try moved(t.time, by: method == .add ? delta : -delta), t.zone, isDateTime: t.isDateTime))
    default: return nil
    }
  }

  func moved(_ time: EventTime, by delta: Double) throws(Failure) -> EventTime {
    guard delta.isFinite, Swift.abs(delta) < 1e15 else { throw .raise(.rangeError, "time out of range") }
    let whole = delta.rounded(.down)
    let (seconds, overflow) = time.seconds.addingReportingOverflow(Int64(whole))
    if overflow { throw .raise(.rangeError, "time out of range") }
    return shifted(EventTime(seconds: seconds, nanoseconds: time.nanoseconds), nanoseconds: Int64(((delta - whole) * 1e9).rounded()))
  }

  private func shifted(_ time: EventTime, nanoseconds: Int64) -> EventTime {
    let total = Int64(time.nanoseconds) + nanoseconds
    let carry: Int64 = total >= 1_000_000_000 ? 1 : 0
    return EventTime(seconds: time.seconds &+ carry, nanoseconds: UInt32(clamping: total - carry * 1_000_000_000))
  }

  func formatted(_ t: RubyTime, _ format: [UInt8]) throws(Failure) -> [UInt8] {
    let program: StrftimeProgram
    if let known = strftimes[format] {
      program = known
    } else {
      guard format.count <= 1000 else { throw .limit("has a time format of more than 1000 bytes") }
      program = StrftimeProgram(String(decoding: format, as: UTF8.self))
      if strftimes.count >= 16 { strftimes = [:] }
      strftimes[format] = program
    }
    var out = ByteWriter(capacity: 64)
    program.format(t.time, zone: t.zone, into: &out)
    // Milliseconds since 1970: DateTime's own.
    guard t.isDateTime, let at = RubyText.find(Array("%Q".utf8), in: out.array, from: 0) else { return out.array }
    let bytes = out.array
    return Array(bytes[..<at]) + Array(String(t.time.seconds &* 1000 &+ Int64(t.time.nanoseconds / 1_000_000)).utf8) + Array(bytes[(at + 2)...])
  }

  /// `"+09:00"`, `"UTC"`, `"Z"` or seconds.
  func zone(_ value: RubyValue) throws(Failure) -> Zone {
    if case .int(let seconds) = value {
      guard (-86399...86399).contains(seconds) else { throw .argument("utc_offset out of range") }
      return .fixed(Int(seconds))
    }
    let name = String(decoding: try text(value), as: UTF8.self)
    if name == "UTC" || name == "Z" { return .utc }
    var digits = Array(name.utf8)
    if digits.count == 6, digits[3] == UInt8(ascii: ":") { digits.remove(at: 3) }
    guard digits.count == 5 || digits.count == 3, digits[0] == UInt8(ascii: "+") || digits[0] == UInt8(ascii: "-"),
      digits.dropFirst().allSatisfy({ $0 >= 48 && $0 <= 57 })
    else { throw .argument("\"+HH:MM\", \"-HH:MM\", \"UTC\" or \"A\"..\"I\",\"K\"..\"Z\" expected for utc_offset: \(name)") }
    let n = digits.dropFirst().map { Int($0) - 48 }
    let seconds = (n[0] * 10 + n[1]) * 3600 + (n.count == 4 ? (n[2] * 10 + n[3]) * 60 : 0)
    guard seconds < 86400 else { throw .argument("utc_offset out of range") }
    return .fixed(digits[0] == UInt8(ascii: "-") ? -seconds : seconds)
  }
}

extension Int64 {
  /// Without the one value that has no opposite.
  fileprivate var clamped: Int64 { Swift.max(self, -.max) }
}
