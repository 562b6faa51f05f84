import AggCore

/// in_http's own reading of records: `<parse>` without a type, or with `in_http`. Says only how an event gets its time.
struct HTTPDefaultParse: TimeConfigurable {
  var time = TimeParameters(timeType: .string)
  var timeKey: String? = "time"
  var keepTimeKey = false
  init() {}
  static let parameters: [Parameter<Self>] =
    [
      .optional("time_key", \.timeKey, "Field that holds an event's time"),
      .optional("keep_time_key", \.keepTimeKey, "Leave that field in the record"),
      .ignored("estimate_current_event", "Events without a time get the current one"),
      .ignored("types", "Values stay as they came"),
      .ignored("null_value_pattern", "Values stay as they came"),
      .ignored("null_empty_string", "Values stay as they came"),
      .ignored("timeout", "Parsing takes time in proportion to the body"),
    ] + timeRows
  mutating func validate(_ context: ConfigContext) throws { try time.validate() }
}

/// Turns a record's own time into the event's.
struct HTTPRecordTime: Sendable {
  let key: [UInt8]
  let keepsKey: Bool
  /// Set when the configuration says how times are written; else numbers are seconds.
  private let parser: TimeParser?

  init(_ section: ConfigElement?, _ context: ConfigContext) throws {
    guard let section else {
      (key, keepsKey, parser) = (Array("time".utf8), false, nil)
      return
    }
    let config = try HTTPDefaultParse.load(section, context)
    key = Array((config.timeKey ?? "").utf8)
    keepsKey = config.keepTimeKey
    parser = section.entry("time_type") == nil && section.entry("time_format") == nil ? nil : try TimeParser(config.time)
  }

  /// `now` for a record without a time; nil when its time cannot be read.
  func time(_ value: ValueView?, _ now: EventTime) -> EventTime? {
    guard let value, !value.isNull, value.bool != false else { return now }
    if let parser {
      if let text = value.stringBytes { return parser.parse(text) }
      if let int = value.int64 { return parser.parse(int: int) }
      return value.double.flatMap { parser.parse(double: $0) }
    }
    if let int = value.int64 { return EventTime(seconds: int) }
    return value.double.map { EventTime($0) }
  }
}

/// The `time` parameter of a request: seconds as Ruby's `to_f` reads them.
enum HTTPTimeParameter {
  /// `now` for zero and for what is no number.
  static func time(_ text: String, _ now: EventTime) -> EventTime {
    guard let value = float(text), value != 0, value.isFinite else { return now }
    // By way of the shortest decimal, so that 1700000000.25 has exactly its digits.
    return (try? TimeParser(TimeParameters(timeType: .float)))?.parse(double: value) ?? EventTime(value)
  }

  private static func float(_ text: String) -> Double? {
    var out = ""
    var seenDot = false
    var seenExponent = false
    for c in text.utf8.drop(while: { $0 == 0x20 || (0x09...0x0d).contains($0) }) {
      let isStart = out.isEmpty || out.utf8.last == 0x65
      switch c {
      case 0x30...0x39: break
      case 0x2d where isStart, 0x2b where isStart: break
      case 0x2e where !seenDot && !seenExponent: seenDot = true
      case 0x65, 0x45:
        if seenExponent || out.isEmpty { return Double(out) }
        seenExponent = true
        out += "e"
        continue
      default: return finish(out)
      }
      out.unicodeScalars.append(UnicodeScalar(c))
    }
    return finish(out)
  }

  /// Without an exponent or a dot that nothing follows.
  private static func finish(_ text: String) -> Double? {
    var text = text
    while let last = text.utf8.last, !(0x30...0x39).contains(last) { text.removeLast() }
    return Double(text)
  }
}
