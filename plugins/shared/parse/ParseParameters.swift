public import AggCore

/// The parameters that every parser shares, as Fluentd's Parser base has them.
public struct ParseParameters: Sendable {
  public var types: StringMap?
  public var timeKey: String?
  public var nullValuePattern: Regexp?
  public var nullEmptyString = false
  public var estimateCurrentEvent = true
  public var keepTimeKey = false
  public init(timeKey: String? = nil) { self.timeKey = timeKey }
}

/// A parser's section; its shared rows are `parseRows`.
public protocol ParseConfigurable: TimeConfigurable {
  var parse: ParseParameters { get set }
}

extension ParseConfigurable {
  public static var parseRows: [Parameter<Self>] {
    [
      .optional("types", \Self.parse.types, "Types of fields: key:type or key:type:option; string, bool, integer, float, time, array"),
      .optional("time_key", \Self.parse.timeKey, "Field that holds the event's time"),
      .optional("null_value_pattern", \Self.parse.nullValuePattern, "Texts that match become null"),
      .optional("null_empty_string", \Self.parse.nullEmptyString, "Empty texts become null"),
      .optional("estimate_current_event", \Self.parse.estimateCurrentEvent, "Events without a time get the current one"),
      .optional("keep_time_key", \Self.parse.keepTimeKey, "Leave the time's field in the record"),
      .ignored("timeout", "A match ends after a number of steps, not after a time"),
    ] + timeRows
  }
  public mutating func validate(_ context: ConfigContext) throws { try time.validate() }
}
