public import AggCore

/// Counts events, and bytes of fields where wanted, and reports both each unit of time.
///
/// Source: fluent-plugin-flowcounter 1.3.
public struct FlowCounterOutput: TimedOutput {
  public struct Config: Configurable {
    public enum Unit: String, ConfigEnum { case second, minute, hour, day }
    public enum Aggregate: String, ConfigEnum { case tag, all }
    public enum Style: String, ConfigEnum { case joined, tagged }
    var unit = Unit.minute
    var timestampCounting = false
    var timestampTimezone: String?
    var aggregate = Aggregate.tag
    var style = Style.joined
    var tag = "flowcount"
    var removePrefix: String?
    var countKeys: [String] = []
    var delimiter = "_"
    var deleteIdle = false
    public init() {}
    public static let parameters: [Parameter<Self>] = [
      .optional("unit", \.unit, "How often counts are reported"),
      .optional("aggregate", \.aggregate, "Count each tag by itself, or all events together"),
      .optional(
        "output_style", \.style, "joined: one event with each tag in its field names; tagged: one event a tag, with the tag in it"
      ),
      .optional("tag", \.tag, "Tag of the report"),
      .optional("input_tag_remove_prefix", \.removePrefix, "Taken off tags in the report"),
      .optional(
        "count_keys", \.countKeys, "Fields whose bytes are counted; *: whole records as MessagePack; without it events alone"),
      .optional("delimiter", \.delimiter, "Stands between tag and count in field names"),
      .optional("delete_idle", \.deleteIdle, "Forget tags that nothing came from in the last unit, instead of reporting 0"),
      .optional("timestamp_counting", \.timestampCounting, "Report at whole minutes, hours or days"),
      .optional("timestamp_timezone", \.timestampTimezone, "Where days begin, as +09:00; required with that and unit day"),
    ]
    public mutating func validate(_ context: ConfigContext) throws {
      if style == .tagged, aggregate != .tag {
        throw ConfigValueError("flowcounter aggregate must be 'tag' when output_style is 'tagged'")
      }
      if timestampCounting, unit == .second { throw ConfigValueError("timestamp_counting cannot be enabled with unit: second") }
      if timestampCounting, unit == .day, timestampTimezone == nil {
        throw ConfigValueError("timestamp_counting requires timestamp_timezone to be configured (e.g., '-0700') if unit is day")
      }
    }
  }
  public static let name = "flowcounter"
  public static let summary = "Counts events and bytes and reports them each unit of time."

  struct Count: Sendable {
    var events = 0
    var bytes = 0
  }
  private let config: Config
  private let keys: [[UInt8]]
  private let countsAll: Bool
  private let tally: Tally<Count>
  private let timer: ReportTimer

  public init(_ config: Config, _ context: PluginContext) throws {
    self.config = config
    keys = config.countKeys.map { Array($0.utf8) }
    countsAll = config.countKeys == ["*"]
    tally = Tally(context)
    let seconds: Double =
      switch config.unit {
      case .second: 1
      case .minute: 60
      case .hour: 3600
      case .day: 86400
      }
    var aligned: Int64?
    if config.timestampCounting {
      aligned = 0
      if config.unit == .day, let text = config.timestampTimezone {
        do throws(ConfigValueError) { aligned = -Int64(try Zone(configText: text).offset(at: 0)) } catch {
          throw ConfigValueError("invalid timestamp_timezone value (specify like '-0700')")
        }
      }
    }
    timer = ReportTimer(seconds: seconds, alignedAt: aligned, context)
  }

  public func process(_ batch: EventBatch) throws(WriteError) {
    var bytes = 0
    if countsAll {
      batch.forEachEvent { _, record in bytes += record.bytes.count }
    } else if !keys.isEmpty {
      var text = ByteWriter(capacity: 256)
      batch.forEachEvent { _, record in
        for key in keys {
          guard let value = record.find(key) else { continue }
          if let content = value.textBytes {
            bytes += content.count
          } else {
            text.removeAll()
            RubyText.write(value, into: &text)
            bytes += text.count
          }
        }
      }
    }
    let name = config.aggregate == .all ? "" : TagPrefix.removing(config.removePrefix, from: batch.tag.description)
    tally.add(name, events: batch.count, zero: Count()) { count in
      count.events += batch.count
      count.bytes += bytes
    }
  }

  public func run() async {
    if config.aggregate == .all { tally.add("", events: 0, zero: Count()) { _ in } }
    await timer.run { moment in
      let rows = tally.takeAll { _ in config.deleteIdle && config.aggregate == .tag ? nil : Count() }
      if moment.isLast, rows.allSatisfy({ $0.count.events == 0 }) { return [] }
      return report(rows, moment)
    }
  }

  private func report(_ rows: [Tally<Count>.Row], _ moment: ReportTimer.Moment) -> [EventBatch] {
    if rows.isEmpty { return [] }
    if config.style == .tagged {
      return rows.map { row in
        var fields = counts(row, prefix: "") + rates(row, prefix: "", moment.step)
        fields.append(.init(key: "tag", value: Value(row.name)))
        return .report(config.tag, moment.time, FieldMap(fields))
      }
    }
    func prefix(_ row: Tally<Count>.Row) -> String { config.aggregate == .all ? "" : row.name + config.delimiter }
    let fields = rows.flatMap { counts($0, prefix: prefix($0)) } + rows.flatMap { rates($0, prefix: prefix($0), moment.step) }
    return [.report(config.tag, moment.time, FieldMap(fields))]
  }

  private func counts(_ row: Tally<Count>.Row, prefix: String) -> [FieldMap.Field] {
    var fields = [FieldMap.Field(key: Value(prefix + "count"), value: .int(Int64(row.count.events)))]
    if !keys.isEmpty { fields.append(.init(key: Value(prefix + "bytes"), value: .int(Int64(row.count.bytes)))) }
    return fields
  }
  private func rates(_ row: Tally<Count>.Row, prefix: String, _ step: Double) -> [FieldMap.Field] {
    var fields = [FieldMap.Field(key: Value(prefix + "count_rate"), value: .double(Rate.perSecond(row.count.events, step)))]
    if !keys.isEmpty {
      fields.append(.init(key: Value(prefix + "bytes_rate"), value: .double(Rate.perSecond(row.count.bytes, step))))
    }
    return fields
  }
}
