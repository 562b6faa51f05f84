public import AggCore

/// Fluentd's `fluentd_status_…` of every plugin, on the pages of `@type prometheus`.
public struct PrometheusMonitorInput: Input {
  public struct Config: Configurable {
    var labels: ConfigElement?
    public init() {}
    public static let parameters: [Parameter<Self>] = [
      .element("labels", \.labels, "Further labels: text, ${hostname}, ${worker_id}"),
      .ignored("interval", "Figures are read for each page"),
    ]
  }
  public static let name = "prometheus_monitor"
  public static let summary = "Buffers and retries of every plugin for Prometheus, under Fluentd's names."

  private let context: PluginContext
  private let labels: MonitorLabels

  public init(_ config: Config, _ context: PluginContext) throws {
    self.context = context
    labels = try MonitorLabels(config.labels, context)
  }

  private static let rows: [(name: String, help: String, value: @Sendable (PluginSnapshot) -> Int?)] = [
    ("fluentd_status_buffer_newest_timekey", "Newest timekey in buffer.", { $0.buffer?.timekeys.last.map { Int($0) } }),
    ("fluentd_status_buffer_oldest_timekey", "Oldest timekey in buffer.", { $0.buffer?.timekeys.first.map { Int($0) } }),
    ("fluentd_status_buffer_queue_length", "Current buffer queue length.", { $0.buffer?.queuedChunks }),
    (
      "fluentd_status_buffer_total_bytes", "Current total size of queued buffers.",
      { $0.buffer.map { $0.stagedBytes &+ $0.queuedBytes } }
    ),
    ("fluentd_status_retry_count", "Current retry counts.", { $0.kind == "output" ? $0.counters[.writeErrors] : nil }),
  ]

  public func run(_ emitter: Emitter) async throws {
    try await MonitorLabels.serve(context, emitter) { [labels] monitor, _, page in
      let plugins = monitor.snapshot().plugins.filter { $0.kind != "label" }
      for row in Self.rows {
        page.family(row.name, .gauge, row.help) { family in
          for plugin in plugins {
            guard let value = row.value(plugin) else { continue }
            family.add(
              labels.pairs + [("plugin_id", plugin.id), ("plugin_category", plugin.kind), ("type", plugin.type)], Double(value))
          }
        }
      }
    }
  }
}
