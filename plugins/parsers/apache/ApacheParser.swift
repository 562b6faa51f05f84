public import AggCore

/// Apache's common and combined log, as Fluentd's older parser reads it: every field a text.
public struct ApacheParser: Parser {
  public struct Config: ParseConfigurable {
    public var time = TimeParameters(timeFormat: "%d/%b/%Y:%H:%M:%S %z")
    public var parse = ParseParameters(timeKey: "time")
    var expression = try? Regexp(
      #"^(?<host>[^ ]*) [^ ]* (?<user>[^ ]*) \[(?<time>[^\]]*)\] "(?<method>\S+)(?: +(?<path>[^ ]*) +\S*)?" (?<code>[^ ]*) (?<size>[^ ]*)(?: "(?<referer>[^\"]*)" "(?<agent>[^\"]*)")?$"#
    )
    public init() {}
    public static let parameters: [Parameter<Self>] =
      [
        .optional("expression", \.expression, "Another expression"),
        .unsupported("ignorecase", "write (?i) in the expression"), .unsupported("multiline", "write (?m) in the expression"),
      ] + parseRows
  }
  public static let name = "apache"
  public static let summary = "Apache access log; every field a text."
  private let fields: RegexpFields

  public init(_ config: Config, _ context: PluginContext) throws {
    guard let regexp = config.expression else { throw ConfigValueError("'expression' must not be nil") }
    fields = try RegexpFields(regexp, ParseRules(config.parse, config.time))
  }

  public func parse(_ text: UnsafeRawBufferPointer, into batch: inout BatchBuilder, _ context: inout ParseContext) -> ParseOutcome
  {
    fields.parse(text, into: &batch, &context)
  }
  public func parseLines(_ block: UnsafeRawBufferPointer, into batch: inout BatchBuilder, _ context: inout ParseContext) {
    fields.parseLines(block, into: &batch, &context)
  }
}
