public import AggCore

/// The parameters that the filter and the output detect_exceptions share.
public struct TraceOptions: Sendable {
  var message = ""
  var languages: [String] = []
  var flushInterval: TimeSpan?
  var maximumLines = 1000
  var maximumBytes = ByteSize(bytes: 0)
  var stream = ""
  var forceLineBreaks = false
  public init() {}
}

public protocol TraceConfigurable: Configurable {
  var trace: TraceOptions { get set }
}

extension TraceConfigurable {
  static var traceRows: [Parameter<Self>] {
    [
      .optional("message", \Self.trace.message, "Field that holds the line; empty: message, or log where that is absent"),
      .optional(
        "languages", \Self.trace.languages,
        "Whose traces are joined: java, javascript, csharp, python, php, go, ruby, dart; without it all"),
      .optional(
        "multiline_flush_interval", \Self.trace.flushInterval, "A trace that began this long ago is let go; nil: when it ends"),
      .optional("max_lines", \Self.trace.maximumLines, "A trace of so many lines is let go; 0: no limit"),
      .optional(
        "max_bytes", \Self.trace.maximumBytes, "A trace is let go before it has more bytes of text; 0: no limit but agg's own"),
      .optional("stream", \Self.trace.stream, "Field that tells streams of one tag apart"),
      .optional("force_line_breaks", \Self.trace.forceLineBreaks, "Lines that have no line break get one between them"),
    ]
  }
  public mutating func validate(_ context: ConfigContext) throws {
    if trace.maximumLines < 0 { throw ConfigValueError("'max_lines' must not be negative; got \(trace.maximumLines)") }
    if trace.maximumBytes.bytes < 0 { throw ConfigValueError("'max_bytes' must not be negative") }
    if let interval = trace.flushInterval, interval.nanoseconds <= 0 {
      throw ConfigValueError("'multiline_flush_interval' must be longer than 0")
    }
  }
}
