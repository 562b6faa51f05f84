public import AggCore

/// Counts records for Prometheus; the records pass as they are.
public struct PrometheusFilter: Filter {
  public struct Config: Configurable {
    var metrics: [MetricSection] = []
    var labels: ConfigElement?
    public init() {}
    public static let parameters: [Parameter<Self>] = [
      .sections("metric", \.metrics, "A metric that records are counted into"),
      .element("labels", \.labels, "Labels of every metric here"),
    ]
  }
  public static let name = "prometheus"
  public static let summary = "Counts records for Prometheus; the records pass as they are."

  private let rules: MetricRules

  public init(_ config: Config, _ context: PluginContext) throws {
    rules = try MetricRules(config.metrics, common: config.labels, context)
  }

  public func filter(_ batch: EventBatch, _ sink: inout FilterSink) throws(FilterError) -> EventBatch {
    // A refused batch comes again: it counts when it is stored.
    if !batch.isEmpty { sink.onCommit(rules.tally(batch)) }
    return batch
  }
}
