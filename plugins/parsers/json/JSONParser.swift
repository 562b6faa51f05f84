public import AggCore

/// One JSON object a line (an array of objects is one event each).
public struct JSONParser: Parser {
  public struct Config: ParseConfigurable {
    public var time = TimeParameters(timeType: .float)
    public var parse = ParseParameters(timeKey: "time")
    public init() {}
    public static let parameters: [Parameter<Self>] =
      [
        .ignored("json_parser", "agg has one JSON parser"),
        .ignored("stream_buffer_size", "Blocks are as large as what was read"),
      ] + parseRows
    public mutating func validate(_ context: ConfigContext) throws { try time.validate() }
  }
  public static let name = "json"
  public static let summary = "One JSON object a line."

  private let rules: ParseRules

  public init(_ config: Config, _ context: PluginContext) throws {
    var time = config.time
    // Fluentd's rule: a format makes it a string where no type is given.
    let entries = context.element.entries
    if entries.contains(where: { $0.name == "time_format" }), !entries.contains(where: { $0.name == "time_type" }) { time.timeType = .string }
    rules = try ParseRules(config.parse, time)
  }

  public func parse(_ text: UnsafeRawBufferPointer, into batch: inout BatchBuilder, _ context: inout ParseContext) -> ParseOutcome {
    var outcome = ParseOutcome.parsed
    let before = batch.count
    run(text, into: &batch, &context) { _, why in outcome = .rejected(why) }
    if batch.count == before, outcome == .parsed { return .rejected("empty") }
    return outcome
  }

  public func parseLines(_ block: UnsafeRawBufferPointer, into batch: inout BatchBuilder, _ context: inout ParseContext) {
    var rejects: [(range: Range<Int>, reason: String)] = []
    run(block, into: &batch, &context) { line, why in rejects.append((line, why)) }
    context.rejects += rejects
  }

  private func run(
    _ block: UnsafeRawBufferPointer, into batch: inout BatchBuilder, _ context: inout ParseContext, rejects: (Range<Int>, String) -> Void
  ) {
    if rules.convertsValues { return runConverting(block, into: &batch, &context, rejects: rejects) }
    var transcoder = JSONTranscoder()
    let time = rules.time
    let now = context.now
    let untimed = rules.estimatesCurrentEvent ? now : context.timeOfUntimed
    guard let timeKey = rules.timeKey, rules.estimatesCurrentEvent else {
      return runUntimed(&transcoder, block, into: &batch, &context, untimed, rejects: rejects)
    }
    transcoder.transcodeLines(
      block, into: &batch, timeKey: timeKey, keepTimeKey: rules.keepTimeKey,
      time: { value in
        guard let value else { return now }
        return time.parse(value)
      }, rejects: { rejects($0, $1.text) })
  }

  /// Without a time key, or where events without a time are not the current one's.
  private func runUntimed(
    _ transcoder: inout JSONTranscoder, _ block: UnsafeRawBufferPointer, into batch: inout BatchBuilder, _ context: inout ParseContext,
    _ untimed: EventTime?, rejects: (Range<Int>, String) -> Void
  ) {
    var index = batch.count
    var found: [Int] = []
    transcoder.transcodeLines(
      block, into: &batch, timeKey: rules.timeKey ?? [], keepTimeKey: rules.keepTimeKey || rules.timeKey == nil,
      time: { value in
        let time: EventTime?
        if let value, rules.timeKey != nil { time = rules.time.parse(value) } else {
          time = untimed
          if time != nil { found.append(index) }
        }
        if time != nil { index += 1 }
        return time
      }, rejects: { rejects($0, $1.text) })
    if !rules.estimatesCurrentEvent { context.untimed += found }
  }

  /// Values change on their way: every record is written twice.
  private func runConverting(
    _ block: UnsafeRawBufferPointer, into batch: inout BatchBuilder, _ context: inout ParseContext, rejects: (Range<Int>, String) -> Void
  ) {
    var rewriter = RecordRewriter(rules)
    var transcoder = JSONTranscoder()
    var raw = BatchBuilder(capacity: 4096)
    // Line by line, so that what is refused later is still told by its line.
    forEachLine(block) { line, offset in
      raw.writer.removeAll()
      transcoder.transcodeLines(line, into: &raw, time: context.now) { range, why in
        rejects(offset + range.lowerBound..<offset + range.upperBound, why.text)
      }
      var cursor = EventCursor(unchecked: raw.writer.bytes)
      while let event = cursor.next() {
        if case .rejected(let reason) = rewriter.append(event.record, into: &batch, &context) { rejects(offset..<offset + line.count, reason) }
      }
    }
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
