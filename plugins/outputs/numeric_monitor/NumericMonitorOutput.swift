public import AggCore

/// Reports least, greatest, mean, sum and percentiles of a field's numbers each interval.
///
/// Source: fluent-plugin-numeric-monitor 1.0.
public struct NumericMonitorOutput: TimedOutput {
  public struct Config: Configurable {
    public enum Unit: String, ConfigEnum { case minute, hour, day }
    public enum Aggregate: String, ConfigEnum { case tag, all }
    var interval = TimeSpan(seconds: 60)
    var unit: Unit?
    var tag = "monitor"
    var aggregate = Aggregate.tag
    var outputPerTag = false
    var removePrefix: String?
    var monitorKey = ""
    var keyPrefix: String?
    var percentiles: [Int]?
    var samplesLimit = 1_000_000
    var tagPrefix: String?
    public init() {}
    public static let parameters: [Parameter<Self>] = [
      .required("monitor_key", \.monitorKey, "Field whose numbers are looked at; events without it are not counted"),
      .optional("count_interval", \.interval, "How often is reported"),
      .optional("unit", \.unit, "Likewise, as a word"),
      .optional("tag", \.tag, "Tag of the report"),
      .optional("aggregate", \.aggregate, "Look at each tag by itself, or at all events together"),
      .optional(
        "output_per_tag", \.outputPerTag, "One event a tag, under the tag, instead of one for all; wants @label or tag_prefix"),
      .optional("input_tag_remove_prefix", \.removePrefix, "Taken off tags in the report"),
      .optional("output_key_prefix", \.keyPrefix, "Put before field names in the report, with _ between"),
      .optional("percentiles", \.percentiles, "Percentiles that are reported too, 1 to 99"),
      .optional("samples_limit", \.samplesLimit, "Most numbers kept for percentiles; beyond that they are chosen at random"),
      .optional("tag_prefix", \.tagPrefix, "Put before the tag with output_per_tag", deprecated: "use @label routing instead"),
    ]
    public mutating func validate(_ context: ConfigContext) throws {
      if let bad = percentiles?.first(where: { !(1...99).contains($0) }) {
        throw ConfigValueError("'percentiles' are from 1 to 99; got \(bad)")
      }
      if samplesLimit < 1 || samplesLimit > 100_000_000 {
        throw ConfigValueError("'samples_limit' must be from 1 to 100000000; got \(samplesLimit)")
      }
      if unit == nil, interval.nanoseconds < 1_000_000_000 {
        throw ConfigValueError("'count_interval' must be at least 1 second")
      }
    }
  }
  public static let name = "numeric_monitor"
  public static let summary = "Reports least, greatest, mean and sum of a field's numbers."

  struct Numbers: Sendable {
    var least: Double?
    var greatest: Double?
    /// nil until a batch came, even one without numbers.
    var sum: Double?
    var count = 0
    var samples: [Double] = []

    mutating func add(_ value: Double, keeping limit: Int) {
      if least.map({ value < $0 }) ?? true { least = value }
      if greatest.map({ value > $0 }) ?? true { greatest = value }
      sum = (sum ?? 0) + value
      count += 1
      if limit == 0 { return }
      // Any of the numbers so far has the same chance to be kept.
      if samples.count < limit {
        samples.append(value)
      } else {
        let place = Int.random(in: 0..<count)
        if place < limit { samples[place] = value }
      }
    }
  }
  private let config: Config
  private let key: [UInt8]
  private let tally: Tally<Numbers>
  private let timer: ReportTimer

  public init(_ config: Config, _ context: PluginContext) throws {
    if config.outputPerTag, config.tagPrefix == nil, context.element["@label"] == nil {
      throw ConfigValueError("specify @label to route output events into other <label> sections")
    }
    self.config = config
    key = Array(config.monitorKey.utf8)
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

  public func process(_ batch: EventBatch) throws(WriteError) {
    var values: [Double] = []
    values.reserveCapacity(batch.count)
    batch.forEachEvent { _, record in
      guard let value = record.find(key), !value.isNull else { return }
      values.append(value.number ?? value.textBytes.map { RubyText.float($0) } ?? 0)
    }
    let limit = config.percentiles == nil ? 0 : config.samplesLimit
    tally.add(config.aggregate == .all ? "all" : batch.tag.description, events: batch.count, zero: Numbers()) { numbers in
      numbers.sum = numbers.sum ?? 0
      for value in values { numbers.add(value, keeping: limit) }
    }
  }

  public func run() async {
    if config.aggregate == .all { tally.add("all", events: 0, zero: Numbers()) { _ in } }
    await timer.run { moment in
      let rows = tally.takeAll { _ in Numbers() }
      if moment.isLast, rows.allSatisfy({ $0.count.count == 0 }) { return [] }
      return report(rows, moment)
    }
  }

  private func report(_ rows: [Tally<Numbers>.Row], _ moment: ReportTimer.Moment) -> [EventBatch] {
    let prefix = config.keyPrefix.map { $0 + "_" } ?? ""
    if config.outputPerTag {
      return rows.map { row in
        .report((config.tagPrefix.map { $0 + "." } ?? "") + shown(row.name), moment.time, FieldMap(fields(row.count, prefix)))
      }
    }
    let all = rows.flatMap { fields($0.count, prefix + (config.aggregate == .all ? "" : shown($0.name) + "_")) }
    return all.isEmpty ? [] : [.report(config.tag, moment.time, FieldMap(all))]
  }

  private func shown(_ tag: String) -> String {
    config.aggregate == .all ? tag : TagPrefix.removing(config.removePrefix, from: tag)
  }

  private func fields(_ numbers: Numbers, _ prefix: String) -> [FieldMap.Field] {
    var fields: [FieldMap.Field] = []
    func put(_ name: String, _ value: Value) { fields.append(.init(key: Value(prefix + name), value: value)) }
    put("num", .int(Int64(numbers.count)))
    if let least = numbers.least { put("min", .double(least)) }
    if let greatest = numbers.greatest { put("max", .double(greatest)) }
    if numbers.count > 0 { put("avg", .double((numbers.sum ?? 0) / Double(numbers.count))) }
    if let sum = numbers.sum { put("sum", numbers.count == 0 ? .int(0) : .double(sum)) }
    let sorted = numbers.samples.sorted()
    for percentile in config.percentiles ?? [] {
      let place = max(sorted.count * percentile / 100 - 1, 0)
      put("percentile_\(percentile)", place < sorted.count ? .double(sorted[place]) : .null)
    }
    return fields
  }
}
