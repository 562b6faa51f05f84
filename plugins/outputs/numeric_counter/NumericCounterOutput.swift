public import AggCore

/// Counts events by the first range that a field's number is in, and reports the counts each interval.
///
/// Source: fluent-plugin-numeric-counter 1.0.
public struct NumericCounterOutput: TimedOutput {
  public struct Config: Configurable {
    public enum Unit: String, ConfigEnum { case minute, hour, day }
    public enum Aggregate: String, ConfigEnum { case tag, all }
    var interval = TimeSpan(seconds: 60)
    var unit: Unit?
    var outputPerTag = false
    var aggregate = Aggregate.tag
    var tag = "numcount"
    var tagPrefix: String?
    var removePrefix: String?
    var countKey = ""
    var outcastUnmatched = false
    var outputMessages = false
    var patterns = [String?](repeating: nil, count: PatternList.maximum)
    public init() {}
    public static let parameters: [Parameter<Self>] =
      [
        .optional("count_interval", \.interval, "How often counts are reported"),
        .optional("unit", \.unit, "Likewise, as a word"),
        .optional("aggregate", \.aggregate, "Count each tag by itself, or all events together"),
        .optional("output_per_tag", \.outputPerTag, "One event a tag, under the tag, instead of one for all; wants @label or tag_prefix"),
        .optional("tag", \.tag, "Tag of the report"),
        .optional("tag_prefix", \.tagPrefix, "Put before the tag with output_per_tag", deprecated: "use @label routing instead"),
        .optional("input_tag_remove_prefix", \.removePrefix, "Taken off tags in the report"),
        .required("count_key", \.countKey, "Field whose number is looked at; events without it are not counted"),
        .optional("outcast_unmatched", \.outcastUnmatched, "Leave what is in no range out of the percentages"),
        .optional("output_messages", \.outputMessages, "Report the number of events looked at too"),
        .ignored("store_storage", "What was counted since the last report is reported when the daemon stops"),
        .ignored("store_file", "What was counted since the last report is reported when the daemon stops"),
      ]
      + (0..<PatternList.maximum).map { i in
        .optional("pattern\(i + 1)", \Self.patterns[i], i == 0 ? "NAME LOW HIGH: from LOW up to below HIGH, as 10, 0.5 or 10k; required" : "Likewise; the last may be without HIGH")
      }
    public mutating func validate(_ context: ConfigContext) throws {
      try PatternList.check(patterns, "a name and two numbers")
      if unit == nil, interval.nanoseconds < 1_000_000_000 { throw ConfigValueError("'count_interval' must be at least 1 second") }
    }
  }
  public static let name = "numeric_counter"
  public static let summary = "Counts events by ranges of a field's number and reports the counts each interval."

  private struct Range: Sendable {
    var low: Double
    var high: Double?
  }
  private let key: [UInt8]
  private let countsAll: Bool
  private let ranges: [Range]
  private let report: PatternReport
  private let tally: Tally<[Int]>
  private let timer: ReportTimer

  public init(_ config: Config, _ context: PluginContext) throws {
    if config.outputPerTag, config.tagPrefix == nil, context.element["@label"] == nil {
      throw ConfigValueError("specify @label to route output events into other <label> sections")
    }
    var names = ["unmatched"]
    var ranges: [Range] = []
    let texts = config.patterns.compactMap { $0 }
    for (index, text) in texts.enumerated() {
      let parts = text.split(separator: " ").map(String.init)
      guard parts.count > 1 else { throw ConfigValueError("'pattern\(index + 1)': numbers of low/high missing; got '\(text)'") }
      if parts.count < 3, index + 1 < texts.count { throw ConfigValueError("'pattern\(index + 1)': unspecified high threshold allowed only in last pattern") }
      if names.contains(parts[0]) { throw ConfigValueError("duplicated pattern names found: \(parts[0])") }
      names.append(parts[0])
      ranges.append(Range(low: try Self.number(parts[1]), high: parts.count > 2 ? try Self.number(parts[2]) : nil))
    }
    self.ranges = ranges
    key = Array(config.countKey.utf8)
    countsAll = config.aggregate == .all
    report = PatternReport(
      names: names, countsAll: countsAll, outputPerTag: config.outputPerTag, tag: config.tag, tagPrefix: config.tagPrefix.map { $0 + "." } ?? "",
      removePrefix: config.removePrefix, outcastUnmatched: config.outcastUnmatched, outputMessages: config.outputMessages)
    tally = Tally(context)
    let seconds: Double =
      switch config.unit {
      case nil: config.interval.seconds
      case .minute: 60
      case .hour: 3600
      case .day: 86400
      }
    timer = ReportTimer(seconds: seconds, context)
  }

  private static func number(_ text: String) throws(ConfigValueError) -> Double {
    if let number = Double(text), number.isFinite { return number }
    return Double(try ByteSize(configText: text, strict: true).bytes)
  }

  public func process(_ batch: EventBatch) throws(WriteError) {
    var counts = [Int](repeating: 0, count: ranges.count + 1)
    batch.forEachEvent { _, record in
      guard let value = record.find(key), !value.isNull else { return }
      let number = value.number ?? value.textBytes.map { RubyText.float($0) } ?? 0
      let found = ranges.firstIndex { range in number >= range.low && (range.high.map { number < $0 } ?? true) }
      counts[found.map { $0 + 1 } ?? 0] += 1
    }
    tally.add(countsAll ? "all" : batch.tag.description, events: batch.count, zero: [Int](repeating: 0, count: counts.count)) { sum in
      for index in counts.indices { sum[index] += counts[index] }
    }
  }

  public func run() async { await report.run(timer, tally) }
}
