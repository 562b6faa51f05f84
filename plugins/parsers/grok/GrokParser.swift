public import AggCore

/// Parses text by patterns with names: `%{IP:client} %{NUMBER:bytes:integer}`.
///
/// Source: fluent-plugin-grok-parser 2.6.
public struct GrokParser: Parser {
  public struct Config: GrokConfigurable {
    public var time = TimeParameters()
    public var parse = ParseParameters(timeKey: "time")
    public var grok = GrokParameters()
    public init() {}
    public static let parameters: [Parameter<Self>] = grokRows + parseRows
  }
  public static let name = "grok"
  public static let summary = "Parses text by patterns with names."
  private let fields: GrokFields

  public init(_ config: Config, _ context: PluginContext) throws {
    fields = try GrokFields(config.grok, config.parse, config.time, multiline: false, context)
  }
  public func parse(_ text: UnsafeRawBufferPointer, into batch: inout BatchBuilder, _ context: inout ParseContext) -> ParseOutcome
  {
    fields.parse(text, into: &batch, &context)
  }
}

/// One pattern of several.
public struct GrokSection: Configurable {
  var name: String?
  var pattern = ""
  var keepTimeKey: Bool?
  var timeKey = "time"
  var timeFormat: String?
  var timezone: String?
  public init() {}
  public static let parameters: [Parameter<Self>] = [
    .required("pattern", \.pattern, "The pattern"),
    .optional("name", \.name, "Its name, for grok_name_key; without it its number, from 0"),
    .optional("time_key", \.timeKey, "Field that holds the event's time"),
    .optional("time_format", \.timeFormat, "strftime format of the time, where it is not the parser's"),
    .optional("timezone", \.timezone, "Zone of times without one, where it is not the parser's"),
    .optional("keep_time_key", \.keepTimeKey, "Leave the time's field in the record"),
  ]
}

/// What grok and multiline_grok have in common.
public struct GrokParameters: Sendable {
  public enum Series: String, ConfigEnum {
    case legacy
    case ecs = "ecs-v1"
  }
  var pattern: String?
  var customPath: String?
  var failureKey: String?
  var nameKey: String?
  var series = Series.legacy
  var sections: [GrokSection] = []
  public init() {}
}

public protocol GrokConfigurable: ParseConfigurable {
  var grok: GrokParameters { get set }
}

extension GrokConfigurable {
  static var grokRows: [Parameter<Self>] {
    [
      .optional("grok_pattern", \Self.grok.pattern, "The pattern, where there is one"),
      .sections("grok", \Self.grok.sections, "One of several patterns; the first that matches counts"),
      .optional(
        "custom_pattern_path", \Self.grok.customPath,
        "File of further patterns, NAME and expression in a line, or a folder of such files"),
      .optional("grok_failure_key", \Self.grok.failureKey, "Field that says so where no pattern matched"),
      .optional("grok_name_key", \Self.grok.nameKey, "Field that gets the name of the pattern that matched"),
      .optional("grok_pattern_series", \Self.grok.series, "Which patterns: agg has legacy"),
    ]
  }
}
