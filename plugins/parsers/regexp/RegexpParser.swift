public import AggCore

/// Named captures of a regular expression.
public struct RegexpParser: Parser {
  public struct Config: ParseConfigurable {
    public var time = TimeParameters()
    public var parse = ParseParameters(timeKey: "time")
    var expression: Regexp?
    var ignoreCase = false
    var multiline = false
    public init() {}
    public static let parameters: [Parameter<Self>] =
      [
        .required("expression", \.expression, "The expression: /…/ with the options i and m, or the text itself"),
        .optional("ignorecase", \.ignoreCase, "Letters match in both cases", deprecated: "Use /pattern/i"),
        .optional("multiline", \.multiline, "The dot matches a newline", deprecated: "Use /pattern/m"),
      ] + parseRows
  }
  public static let name = "regexp"
  public static let summary = "Named captures of a regular expression."
  private let fields: RegexpFields

  public init(_ config: Config, _ context: PluginContext) throws {
    guard var regexp = config.expression else { throw ConfigValueError("'expression' parameter is required") }
    if config.ignoreCase || config.multiline {
      // Fluentd's rule: these replace the options of the literal.
      var options: Regexp.Options = []
      if config.ignoreCase { options.insert(.ignoreCase) }
      if config.multiline { options.insert(.multiline) }
      regexp = try Regexp(regexp.source, options: options)
    }
    fields = try RegexpFields(regexp, ParseRules(config.parse, config.time))
  }

  public func parse(_ text: UnsafeRawBufferPointer, into batch: inout BatchBuilder, _ context: inout ParseContext) -> ParseOutcome {
    fields.parse(text, into: &batch, &context)
  }
  public func parseLines(_ block: UnsafeRawBufferPointer, into batch: inout BatchBuilder, _ context: inout ParseContext) {
    fields.parseLines(block, into: &batch, &context)
  }
}
