public import AggCore

/// Apache's error log.
public struct ApacheErrorParser: Parser {
  public struct Config: ParseConfigurable {
    public var time = TimeParameters()
    public var parse = ParseParameters(timeKey: "time")
    var expression = try? Regexp(
      #"^\[[^ ]* (?<time>[^\]]*)\] \[(?<level>[^\]]*)\](?: \[pid (?<pid>[^\]]*)\])?( \[client (?<client>[^\]]*)\])? (?<message>.*)$"#
    )
    public init() {}
    public static let parameters: [Parameter<Self>] =
      [
        .optional("expression", \.expression, "Another expression"),
        .unsupported("ignorecase", "write (?i) in the expression"), .unsupported("multiline", "write (?m) in the expression"),
      ] + parseRows
  }
  public static let name = "apache_error"
  public static let summary = "Apache error log."
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
