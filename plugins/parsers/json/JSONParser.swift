public import AggCore

/// One JSON object a line (an array of objects is one event each).
public struct JSONParser: Parser {
  public struct Config: TimeConfigurable {
    public var time = TimeParameters(timeType: .float)
    var timeKey: String?
    var keepTimeKey = false
    var estimateCurrentEvent = true
    public init() {}
    public static let parameters: [Parameter<Self>] =
      [
        .optional("time_key", \.timeKey, "Field that holds the event's time; `time` where it is not given"),
        .optional("keep_time_key", \.keepTimeKey, "Leave that field in the record"),
        .optional("estimate_current_event", \.estimateCurrentEvent, "Events without a time get the current one"),
        .ignored("json_parser", "agg has one JSON parser"),
        .ignored("stream_buffer_size", "Blocks are as large as what was read"),
        .ignored("timeout", "Parsing takes time in proportion to the line"),
      ] + timeRows
    public mutating func validate(_ context: ConfigContext) throws {
      // Fluentd's rule: a format makes it a string where no type is given.
      if time.timeFormat != nil, time.timeType == .float { time.timeType = .string }
      try time.validate()
    }
  }
  public static let name = "json"
  public static let summary = "One JSON object a line."

  private let timeKey: [UInt8]
  private let keepTimeKey: Bool
  private let timeParser: TimeParser

  public init(_ config: Config, _ context: PluginContext) throws {
    timeKey = Array((config.timeKey ?? "time").utf8)
    keepTimeKey = config.keepTimeKey
    timeParser = try TimeParser(config.time)
  }

  public func parse(_ text: UnsafeRawBufferPointer, into batch: inout BatchBuilder, _ context: inout ParseContext) -> ParseOutcome {
    var outcome = ParseOutcome.parsed
    let before = batch.count
    run(text, into: &batch, context.now) { _, why in outcome = .rejected(why.text) }
    if batch.count == before, outcome == .parsed { return .rejected("empty") }
    return outcome
  }

  public func parseLines(_ block: UnsafeRawBufferPointer, into batch: inout BatchBuilder, _ context: inout ParseContext) {
    var rejects: [(range: Range<Int>, reason: String)] = []
    run(block, into: &batch, context.now) { line, why in rejects.append((line, why.text)) }
    context.rejects += rejects
  }

  private func run(
    _ block: UnsafeRawBufferPointer, into batch: inout BatchBuilder, _ now: EventTime, rejects: (Range<Int>, JSONTranscoder.Rejection) -> Void
  ) {
    var transcoder = JSONTranscoder()
    transcoder.transcodeLines(
      block, into: &batch, timeKey: timeKey, keepTimeKey: keepTimeKey,
      time: { value in
        guard let value, !value.isNull else { return now }
        if let text = value.stringBytes { return timeParser.parse(text) }
        if let int = value.int64 { return timeParser.parse(int: int) }
        if let double = value.double { return timeParser.parse(double: double) }
        return nil
      }, rejects: rejects)
  }
}

extension JSONTranscoder.Rejection {
  fileprivate var text: String {
    switch self {
    case .invalid: "not JSON"
    case .notAnObject: "not a JSON object"
    case .badTime: "its time cannot be read"
    }
  }
}
