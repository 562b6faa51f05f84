public import AggCore

/// Counts events by the first pattern that a field's value matches, and reports the counts each interval.
///
/// Source: fluent-plugin-datacounter 1.0.
public struct DataCounterOutput: TimedOutput {
  public struct Config: Configurable {
    public enum Unit: String, ConfigEnum { case minute, hour, day }
    public enum Aggregate: String, ConfigEnum { case tag, all }
    var interval: TimeSpan?
    var unit = Unit.minute
    var outputPerTag = false
    var aggregate = Aggregate.tag
    var tag = "datacount"
    var tagPrefix: String?
    var removePrefix: String?
    var countKey = ""
    var outcastUnmatched = false
    var outputMessages = false
    var patterns = [String?](repeating: nil, count: PatternList.maximum)
    public init() {}
    public static let parameters: [Parameter<Self>] =
      [
        .optional("count_interval", \.interval, "How often counts are reported; without it as `unit` says"),
        .optional("unit", \.unit, "How often counts are reported"),
        .optional("aggregate", \.aggregate, "Count each tag by itself, or all events together"),
        .optional("output_per_tag", \.outputPerTag, "One event a tag, under tag_prefix and the tag, instead of one for all"),
        .optional("tag", \.tag, "Tag of the report"),
        .optional("tag_prefix", \.tagPrefix, "Put before the tag with output_per_tag"),
        .optional("input_tag_remove_prefix", \.removePrefix, "Taken off tags in the report"),
        .required("count_key", \.countKey, "Field whose value is looked at; events without it are not counted"),
        .optional("outcast_unmatched", \.outcastUnmatched, "Leave what matched nothing out of the percentages"),
        .optional("output_messages", \.outputMessages, "Report the number of events looked at too"),
        .ignored("store_storage", "What was counted since the last report is reported when the daemon stops"),
        .ignored("store_file", "What was counted since the last report is reported when the daemon stops"),
      ]
      + (0..<PatternList.maximum).map { i in
        .optional(
          "pattern\(i + 1)", \Self.patterns[i],
          i == 0 ? "NAME and a regular expression (no slashes), with a blank between; required" : "Likewise")
      }
    public mutating func validate(_ context: ConfigContext) throws {
      try PatternList.check(patterns, "a name and a regular expression, with a blank between")
      if outputPerTag, tagPrefix == nil { throw ConfigValueError("tag_prefix must be specified with output_per_tag") }
      if let interval, interval.nanoseconds < 1_000_000_000 {
        throw ConfigValueError("'count_interval' must be at least 1 second")
      }
    }
  }
  public static let name = "datacounter"
  public static let summary = "Counts events by patterns and reports the counts each interval."

  private let config: Config
  private let report: PatternReport
  private let patterns: [Regexp]
  private let key: [UInt8]
  private let tally: Tally<[Int]>
  private let timer: ReportTimer

  public init(_ config: Config, _ context: PluginContext) throws {
    self.config = config
    var names = ["unmatched"]
    var patterns: [Regexp] = []
    for (index, text) in config.patterns.enumerated() {
      guard let text else { continue }
      let parts = text.split(separator: " ", maxSplits: 1)
      guard parts.count == 2 else {
        throw ConfigValueError("'pattern\(index + 1)' wants a name and a regular expression with a blank between; got '\(text)'")
      }
      if names.contains(String(parts[0])) { throw ConfigValueError("duplicated pattern names: \(parts[0])") }
      names.append(String(parts[0]))
      patterns.append(try Regexp(String(parts[1])))
    }
    report = PatternReport(
      names: names, countsAll: config.aggregate == .all, outputPerTag: config.outputPerTag, tag: config.tag, tagPrefix: config.tagPrefix.map { $0 + "." } ?? "",
      removePrefix: config.removePrefix, outcastUnmatched: config.outcastUnmatched, outputMessages: config.outputMessages)
    self.patterns = patterns
    key = Array(config.countKey.utf8)
    tally = Tally(context)
    let seconds = config.interval?.seconds ?? (config.unit == .minute ? 60 : config.unit == .hour ? 3600 : 86400)
    timer = ReportTimer(seconds: seconds, context)
  }

  public func process(_ batch: EventBatch) throws(WriteError) {
    var undecided = [Int](repeating: 0, count: batch.count)
    var counts = [Int](repeating: 0, count: patterns.count + 1)
    var text = ByteWriter(capacity: 256)
    // Pattern by pattern, so that one matcher serves all events.
    for (number, pattern) in patterns.enumerated() {
      var matcher = pattern.matcher()
      var index = 0
      batch.forEachEvent { _, record in
        defer { index += 1 }
        if undecided[index] != 0 { return }
        guard let value = record.find(key), !value.isNull else {
          undecided[index] = -1
          return
        }
        var bytes = value.textBytes
        if bytes == nil {
          text.removeAll()
          RubyText.write(value, into: &text)
          bytes = text.bytes
        }
        guard let bytes, matcher.match(bytes) else { return }
        undecided[index] = number + 1
        counts[number + 1] += 1
      }
    }
    for state in undecided where state == 0 { counts[0] += 1 }
    let name = config.aggregate == .all ? "all" : batch.tag.description
    tally.add(name, events: batch.count, zero: [Int](repeating: 0, count: counts.count)) { sum in
      for index in counts.indices { sum[index] += counts[index] }
    }
  }

  public func run() async { await report.run(timer, tally) }
}
