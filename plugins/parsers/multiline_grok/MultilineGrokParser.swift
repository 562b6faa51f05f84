public import AggCore

/// The grok parser for events that span lines.
///
/// Source: fluent-plugin-grok-parser 2.6.
public struct MultilineGrokParser: MultilineParser {
  public struct Config: GrokConfigurable {
    public var time = TimeParameters()
    public var parse = ParseParameters(timeKey: "time")
    public var grok = GrokParameters()
    var startRegexp: Regexp?
    public init() {}
    public static let parameters: [Parameter<Self>] =
      grokRows + [.optional("multiline_start_regexp", \.startRegexp, "/…/ that an event's first line matches")] + parseRows
  }
  public static let name = "multiline_grok"
  public static let summary = "The grok parser for events that span lines."
  private let fields: GrokFields
  private let start: Regexp?

  public init(_ config: Config, _ context: PluginContext) throws {
    fields = try GrokFields(config.grok, config.parse, config.time, multiline: true, context)
    start = config.startRegexp
  }

  public var hasFirstLine: Bool { start != nil }
  public func eventStarts(_ block: UnsafeRawBufferPointer) -> [Int] {
    guard let start else { return [] }
    var matcher = start.matcher()
    var starts: [Int] = []
    forEachLine(block) { line, offset in if matcher.match(line) { starts.append(offset) } }
    return starts
  }
  public func parse(_ text: UnsafeRawBufferPointer, into batch: inout BatchBuilder, _ context: inout ParseContext) -> ParseOutcome
  {
    fields.parse(text, into: &batch, &context)
  }
}
