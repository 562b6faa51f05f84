/// Reads a record's time as Fluentd's `time_type` and `time_format` say; nil is "no valid time".
///
/// A value: copy it, use it from any thread. Without a format a text is guessed as Ruby's `Time.parse` does.
public struct TimeParser: Sendable {
  enum Kind: Sendable {
    case guess
    case iso8601
    case program(StrptimeProgram)
    case unixtime
    case float
    /// Units in one second: unixtime_millis 1000 …
    case units(Int64)
    case mixed([TimeParser])
  }
  let kind: Kind
  let zone: Zone

  public init(_ parameters: TimeParameters) throws(ConfigValueError) {
    try parameters.validate()
    switch parameters.timeType {
    case .string:
      if parameters.timeFormat == nil, !parameters.isLocal { throw ConfigValueError("specifying timezone requires time format") }
      try self.init(format: parameters.timeFormat, zone: try parameters.zone())
    case .unixtime: self.init(.unixtime, .utc)
    case .float: self.init(.float, .utc)
    case .unixtimeMillis: self.init(.units(1000), .utc)
    case .unixtimeMicros: self.init(.units(1_000_000), .utc)
    case .unixtimeNanos: self.init(.units(1_000_000_000), .utc)
    case .mixed:
      var parsers: [TimeParser] = []
      for format in (parameters.timeFormat.map { [$0] } ?? []) + parameters.fallbacks.formats {
        switch format {
        case "unixtime": parsers.append(TimeParser(.unixtime, .utc))
        case "float": parsers.append(TimeParser(.float, .utc))
        default: parsers.append(try TimeParser(format: format, zone: try parameters.zone()))
        }
      }
      self.init(.mixed(parsers), .utc)
    }
  }

  /// `time_type string` with a format, `%iso8601`, or nil to guess.
  public init(format: String?, zone: Zone) throws(ConfigValueError) {
    switch format {
    case nil: self.init(.guess, zone)
    case "%iso8601": self.init(.iso8601, zone)
    case .some(let format): self.init(.program(try StrptimeProgram(format)), zone)
    }
  }

  private init(_ kind: Kind, _ zone: Zone) {
    self.kind = kind
    self.zone = zone
  }

  public func parse(_ text: UnsafeRawBufferPointer, now: () -> EventTime = EventTime.now) -> EventTime? {
    switch kind {
    case .program(let program): return program.parse(text, zone: zone, now: now)
    case .iso8601: return ISO8601Text.parse(text, zone: zone)
    case .guess: return ISO8601Text.parse(text, zone: zone) ?? GuessedTime.parse(text, zone: zone, now: now)
    case .unixtime: return EventTime(seconds: NumberText.integer(text))
    case .float: return NumberText.float(text)
    case .units(let units): return split(NumberText.integer(text), units)
    case .mixed(let parsers):
      for parser in parsers where !parser.isNumeric || NumberText.isNumber(text) {
        if let time = parser.parse(text, now: now) { return time }
      }
      return nil
    }
  }

  public func parse(_ text: String) -> EventTime? {
    var text = text
    return text.withUTF8 { parse(UnsafeRawBufferPointer($0)) }
  }

  /// A number in the record: a time for the numeric types, none for text formats.
  public func parse(int value: Int64) -> EventTime? {
    switch kind {
    case .unixtime, .float: EventTime(seconds: value)
    case .units(let units): split(value, units)
    case .mixed(let parsers): parsers.lazy.compactMap { $0.parse(int: value) }.first
    default: nil
    }
  }

  public func parse(double value: Double) -> EventTime? {
    guard value.isFinite, value.magnitude < 9e15 else { return nil }
    switch kind {
    case .unixtime: return EventTime(seconds: Int64(value))
    case .float:
      var text = value.description
      return text.withUTF8 { NumberText.float(UnsafeRawBufferPointer($0)) }
    case .units(let units): return split(Int64(value), units)
    case .mixed(let parsers): return parsers.lazy.compactMap { $0.parse(double: value) }.first
    default: return nil
    }
  }

  private var isNumeric: Bool {
    switch kind {
    case .unixtime, .float, .units: true
    default: false
    }
  }

  private func split(_ value: Int64, _ units: Int64) -> EventTime {
    let seconds = value / units - (value % units < 0 ? 1 : 0)
    return EventTime(
      seconds: seconds, nanoseconds: UInt32(truncatingIfNeeded: (value &- seconds &* units) &* (1_000_000_000 / units)))
  }
}

/// Numbers in text as Ruby's `to_i` and `Float()` read them.
enum NumberText {
  /// The leading integer; 0 when there is none; clamped to 64 bits.
  static func integer(_ text: UnsafeRawBufferPointer) -> Int64 {
    var i = 0
    while i < text.count, text[i] == 32 || (9...13).contains(text[i]) { i += 1 }
    var isNegative = false
    if i < text.count, text[i] == UInt8(ascii: "-") || text[i] == UInt8(ascii: "+") {
      isNegative = text[i] == UInt8(ascii: "-")
      i += 1
    }
    var value: Int64 = 0
    while i < text.count,
      ZoneText.isDigit(text[i]) || (text[i] == UInt8(ascii: "_") && i + 1 < text.count && ZoneText.isDigit(text[i + 1]))
    {
      if text[i] != UInt8(ascii: "_") {
        let (scaled, overflow) = value.multipliedReportingOverflow(by: 10)
        if overflow { return isNegative ? .min : .max }
        value = scaled.addingClamped(Int64(text[i]) - 48)
      }
      i += 1
    }
    return isNegative ? -value : value
  }

  /// `seconds.fraction`; what follows a second dot says nothing.
  static func float(_ text: UnsafeRawBufferPointer) -> EventTime {
    let dot = text.firstIndex(of: UInt8(ascii: ".")) ?? text.count
    let seconds = integer(UnsafeRawBufferPointer(rebasing: text[..<dot]))
    var nanoseconds: UInt32 = 0
    var unit: UInt32 = 100_000_000
    for byte in text[min(dot + 1, text.count)...] {
      guard ZoneText.isDigit(byte), unit > 0 else { break }
      nanoseconds += UInt32(byte - 48) * unit
      unit /= 10
    }
    return EventTime(seconds: seconds, nanoseconds: nanoseconds)
  }

  /// Whether Ruby's `Float()` would take it: sign, digits, fraction, exponent, blanks around.
  static func isNumber(_ text: UnsafeRawBufferPointer) -> Bool {
    var i = 0
    var end = text.count
    while i < end, text[i] == 32 || (9...13).contains(text[i]) { i += 1 }
    while end > i, text[end - 1] == 32 || (9...13).contains(text[end - 1]) { end -= 1 }
    func digits() -> Bool {
      let start = i
      while i < end, ZoneText.isDigit(text[i]) { i += 1 }
      return i > start
    }
    if i < end, text[i] == UInt8(ascii: "-") || text[i] == UInt8(ascii: "+") { i += 1 }
    guard digits() else { return false }
    if i < end, text[i] == UInt8(ascii: ".") {
      i += 1
      guard digits() else { return false }
    }
    if i < end, text[i] | 0x20 == UInt8(ascii: "e") {
      i += 1
      if i < end, text[i] == UInt8(ascii: "-") || text[i] == UInt8(ascii: "+") { i += 1 }
      guard digits() else { return false }
    }
    return i == end
  }
}
