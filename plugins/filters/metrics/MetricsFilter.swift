public import AggCore

/// Makes metrics of records: entries that Prometheus reads, or metric events that go their own way; the records pass as they are.
public struct MetricsFilter: TimedFilter {
  enum Target: String, ConfigEnum { case registry, events }

  public struct Config: Configurable {
    var target = Target.registry
    var tag: String?
    var interval = TimeSpan(seconds: 60)
    var host: String?
    var service: String?
    var metrics: [MetricSection] = []
    var labels: ConfigElement?
    public init() {}
    public static let parameters: [Parameter<Self>] = [
      .optional("to", \.target, "registry: the pages of the input prometheus; events: metric events with `tag`"),
      .optional("tag", \.tag, "Tag of the metric events"),
      .optional("interval", \.interval, "How often the figures of counters, histograms and summaries become events"),
      .optional("host", \.host, "`host` of the metric events"),
      .optional("service", \.service, "`service` of the metric events"),
      .sections("metric", \.metrics, "A metric and where its values come from", required: true),
      .element("labels", \.labels, "Labels of every metric here"),
    ]
    public mutating func validate(_ context: ConfigContext) throws {
      if target == .events, tag?.isEmpty ?? true {
        throw ConfigValueError("'to events' needs 'tag', the tag of the metric events")
      }
      if target == .registry, tag != nil || host != nil || service != nil {
        throw ConfigValueError("'tag', 'host' and 'service' are for metric events; add 'to events'")
      }
      if interval.nanoseconds <= 0 { throw ConfigValueError("'interval' must be more than 0") }
    }
  }
  public static let name = "metrics"
  public static let summary = "Makes metrics of records, for Prometheus' pages or as events."

  private let config: Config
  /// Counted when the batch is stored: all metrics, or all but gauges where those become events.
  private let counted: MetricRules
  private let gauges: MetricRules?
  private let ticker: MetricTicker?

  public init(_ config: Config, _ context: PluginContext) throws {
    self.config = config
    guard config.target == .events, let tag = config.tag else {
      counted = try MetricRules(config.metrics, common: config.labels, context)
      gauges = nil
      ticker = nil
      return
    }
    let registry = MetricRegistry()
    let all = try MetricRules(config.metrics, common: config.labels, registry: registry, context)
    gauges = all.only { $0 == .gauge }
    counted = all.only { $0 != .gauge }
    ticker = counted.rules.isEmpty ? nil : MetricTicker(counted, tag: Tag(tag), config, context)
  }

  public func filter(_ batch: EventBatch, _ sink: inout FilterSink) throws(FilterError) -> EventBatch {
    // Its own events come by where its pattern fits their tag too.
    if batch.isEmpty || (config.target == .events && config.tag == batch.tag.description) { return batch }
    if !counted.rules.isEmpty {
      let count = counted.tally(batch)
      sink.onCommit { [ticker] in
        count()
        ticker?.counted()
      }
    }
    if let gauges, let tag = config.tag {
      let events = gauges.events(batch, Tag(tag), host: config.host, service: config.service)
      if !events.isEmpty {
        sink.created += events.count
        sink.derive(events)
      }
    }
    return batch
  }

  public func run() async { await ticker?.run() }
}

extension MetricRules {
  /// One metric event for every record and gauge, at the record's time. Nothing is kept, so label sets need no limit.
  func events(_ batch: EventBatch, _ tag: Tag, host: String?, service: String?) -> EventBatch {
    var writer = MetricWriter(host: host, service: service, capacity: 128 * batch.count * rules.count)
    var problems = MetricRule.Problems()
    let scope = TagScope(batch.tag)
    for rule in rules {
      var keys = LabelKeyWriter(rule.labels.map { $0.parts(scope) })
      let names = rule.family.shape.labels
      // Most records of a batch have the labels of the one before.
      var last: (key: [UInt8], labels: MetricLabels)?
      batch.forEachEvent { time, record in
        guard let value = rule.value(record, &problems) else { return }
        keys.withKey(record) { key in
          if last == nil || !(last?.key.elementsEqual(key) ?? false) {
            last = (Array(key), MetricLabels(zip(names, MetricTally.values(key)).map { (name: $0, value: $1) }))
          }
          writer.add(rule.family.shape.name, value, .gauge, last?.labels ?? .none, at: time)
        }
      }
    }
    quiet.tell(problems)
    return writer.finish(tag: tag)
  }

  /// The figures of every family as they are now.
  func snapshot(_ tag: Tag, at time: EventTime, host: String?, service: String?) -> EventBatch {
    var writer = MetricWriter(host: host, service: service)
    for family in rules.map(\.family) {
      let shape = family.shape
      family.forEach { values, series in
        let labels = zip(shape.labels, values).map { (name: $0, value: $1) }
        switch shape.kind {
        case .counter, .gauge, .untyped: writer.add(shape.name, series.value, shape.kind, MetricLabels(labels), at: time)
        case .histogram, .summary:
          for (bound, count) in family.cumulative(series) {
            writer.add(
              shape.name + "_bucket", Int64(count), shape.kind, MetricLabels(labels + [(name: "le", value: bound)]), at: time)
          }
          writer.add(shape.name + "_sum", series.value, shape.kind, MetricLabels(labels), at: time)
          writer.add(shape.name + "_count", Int64(series.count), shape.kind, MetricLabels(labels), at: time)
        }
      }
    }
    return writer.finish(tag: tag)
  }
}
