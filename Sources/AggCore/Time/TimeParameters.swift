/// How a section's times are read and written: `time_type`, `time_format`, `localtime`, `utc`, `timezone`,
/// `time_format_fallbacks`. Store one in a configuration that is `TimeConfigurable`.
public struct TimeParameters: Sendable {
  public enum TimeType: String, Sendable, Hashable, CaseIterable {
    case string, unixtime, float, mixed
    case unixtimeMillis = "unixtime_millis"
    case unixtimeMicros = "unixtime_micros"
    case unixtimeNanos = "unixtime_nanos"
  }

  public var timeType: TimeType
  public var timeFormat: String?
  public var localtime: TimeFlag?
  public var utc: TimeFlag?
  public var timezone: String?
  public var fallbacks = TimeFormatList()

  public init(timeType: TimeType = .string, timeFormat: String? = nil, utc: Bool? = nil, timezone: String? = nil) {
    self.timeType = timeType
    self.timeFormat = timeFormat
    self.utc = utc.map(TimeFlag.init)
    self.timezone = timezone
  }

  /// Fluentd's rule: `localtime` where it is given, else not `utc`; a timezone wins over both.
  public var isLocal: Bool { timezone == nil && (localtime?.isOn ?? !(utc?.isOn ?? false)) }

  public func validate() throws(ConfigValueError) {
    if let localtime, let utc, localtime.isOn == utc.isOn {
      throw ConfigValueError("both of utc and localtime are specified, use only one of them")
    }
    if timeType == .mixed, timeFormat == nil, fallbacks.formats.isEmpty {
      throw ConfigValueError("time_type is mixed but time_format and time_format_fallbacks is empty")
    }
    if let timezone { _ = try Zone(configText: timezone) }
  }

  /// Where a time without a zone is; reads the machine's zone when it is local.
  public func zone() throws(ConfigValueError) -> Zone {
    if let timezone { return try Zone(configText: timezone) }
    return isLocal ? .local() : .utc
  }
}

/// A section with the time parameters; its rows are `timeRows`.
public protocol TimeConfigurable: Configurable {
  var time: TimeParameters { get set }
}

extension TimeConfigurable {
  public static var timeRows: [Parameter<Self>] {
    [
      .optional("time_type", \Self.time.timeType, "how times are written: string, unixtime, float, mixed"),
      .optional("time_format", \Self.time.timeFormat, "strftime format of a time, or %iso8601"),
      .optional("localtime", \Self.time.localtime, "times without a zone are the machine's"),
      .optional("utc", \Self.time.utc, "times without a zone are UTC"),
      .optional("timezone", \Self.time.timezone, "zone of times without one: +HH:MM or Region/Zone"),
      .optional("time_format_fallbacks", \Self.time.fallbacks, "formats to try after time_format, with time_type mixed"),
    ]
  }
}

extension TimeParameters.TimeType: ConfigReadable {
  public static var configType: String { "enum" }
  public init(configText text: String, strict: Bool) throws(ConfigValueError) {
    guard let value = Self(rawValue: text) else {
      throw ConfigValueError("valid options are \(Self.allCases.map(\.rawValue).joined(separator: ",")) but got \(text)")
    }
    self = value
  }
  public var configText: String { rawValue }
}

/// `localtime` or `utc`: a line without a value is on, as Fluentd reads booleans.
public struct TimeFlag: ConfigReadable, Hashable {
  public static var configType: String { "bool" }
  public var isOn: Bool
  public init(_ isOn: Bool) { self.isOn = isOn }
  public init(configText text: String, strict: Bool) throws(ConfigValueError) {
    switch text {
    case "true", "yes", "": isOn = true
    case "false", "no": isOn = false
    case _ where text.hasPrefix("#"): isOn = true
    case _ where strict: throw ConfigValueError("is not true or false: \(text)")
    default: isOn = false
    }
  }
  public var configText: String { isOn ? "true" : "false" }
}

/// Formats between commas, or a JSON array of strings without escapes.
public struct TimeFormatList: ConfigReadable, Hashable {
  public static var configType: String { "array" }
  public var formats: [String]
  public init(_ formats: [String] = []) { self.formats = formats }
  public init(configText text: String, strict: Bool) throws(ConfigValueError) {
    var text = Substring(text)
    let isArray = text.hasPrefix("[") && text.hasSuffix("]")
    if isArray { text = text.dropFirst().dropLast() }
    formats = text.split(separator: ",").map { item in
      var item = item
      while item.first == " " { item = item.dropFirst() }
      while item.last == " " { item = item.dropLast() }
      if isArray, item.count >= 2, item.first == "\"", item.last == "\"" { item = item.dropFirst().dropLast() }
      return String(item)
    }
  }
  public var configText: String { formats.joined(separator: ",") }
}
