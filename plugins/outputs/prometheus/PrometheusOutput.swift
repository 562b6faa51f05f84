public import AggCore

/// Counts records for Prometheus and is their end; in a `<copy>` beside the output that stores them.
public struct PrometheusOutput: DirectOutput {
  public static let name = "prometheus"
  public static let summary = "Counts records for Prometheus."

  private let rules: MetricRules

  public init(_ config: PrometheusFilter.Config, _ context: PluginContext) throws {
    rules = try MetricRules(config.metrics, common: config.labels, context)
  }

  public func process(_ batch: EventBatch) throws(WriteError) { rules.tally(batch)() }
}
