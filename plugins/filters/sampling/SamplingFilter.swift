public import AggCore

/// Lets every nth event of a tag, of a field's value, or of all events through.
///
/// Source: fluent-plugin-sampling-filter 1.2.
public struct SamplingFilter: Filter {
  public struct Config: Configurable {
    var interval = 1
    var sampleUnit = "tag"
    var minimumRate: Int?
    public init() {}
    public static let parameters: [Parameter<Self>] = [
      .required("interval", \.interval, "Every how many events one goes through"),
      .optional("sample_unit", \.sampleUnit, "What is counted by itself: tag, all, or a field ($.nested.ones too)"),
      .optional("minimum_rate_per_min", \.minimumRate, "Events of a unit that go through each minute before the interval counts"),
    ]
    public mutating func validate(_ context: ConfigContext) throws {
      if interval < 1 { throw ConfigValueError("'interval' must be at least 1; got \(interval)") }
    }
  }
  public static let name = "sampling"
  public static let summary = "Lets every nth event through."

  private let counts: SampleCounts
  private let path: RecordPath?
  private let perTag: Bool

  public init(_ config: Config, _ context: PluginContext) throws {
    counts = SampleCounts(interval: config.interval, minimumPerMinute: config.minimumRate)
    path = config.sampleUnit == "tag" || config.sampleUnit == "all" ? nil : try RecordPath(config.sampleUnit)
    perTag = config.sampleUnit == "tag"
  }

  public func filter(_ batch: EventBatch, _ sink: inout FilterSink) throws(FilterError) -> EventBatch {
    let unit = Array((perTag ? batch.tag.description : "all").utf8)
    let (taken, additions) = unit.withUnsafeBytes { unit in
      guard let path else { return counts.take(batch, { _ in unit }, whole: true) }
      var key = GroupKey([path])
      return counts.take(batch, { key.bytes($0) }, whole: false)
    }
    sink.onRefusal { [counts] in counts.takeBack(additions) }
    let result = batch.keeping(taken)
    sink.drop(batch.count - result.count, "not_sampled")
    return result
  }
}

extension EventBatch {
  /// The events whose mark is set.
  func keeping(_ marks: [Bool]) -> EventBatch {
    var index = 0
    return filtered { _, _ in
      defer { index += 1 }
      return index < marks.count && marks[index]
    }
  }
}
