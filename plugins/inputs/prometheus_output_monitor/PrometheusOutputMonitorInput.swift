public import AggCore

/// Fluentd's `fluentd_output_status_…` of every output, on the pages of `@type prometheus`.
public struct PrometheusOutputMonitorInput: Input {
  public struct Config: Configurable {
    var gaugeAll = true
    var labels: ConfigElement?
    public init() {}
    public static let parameters: [Parameter<Self>] = [
      .optional("gauge_all", \.gaugeAll, "Type what only grows as gauges too, as Fluentd does; false: as counters"),
      .element("labels", \.labels, "Further labels: text, ${hostname}, ${worker_id}"),
      .ignored("interval", "Figures are read for each page"),
    ]
  }
  public static let name = "prometheus_output_monitor"
  public static let summary = "Buffers, retries and writes of every output for Prometheus, under Fluentd's names."

  private let context: PluginContext
  private let labels: MonitorLabels
  private let gaugeAll: Bool

  public init(_ config: Config, _ context: PluginContext) throws {
    self.context = context
    gaugeAll = config.gaugeAll
    labels = try MonitorLabels(config.labels, context)
  }

  private struct Row: Sendable {
    let name: String
    let help: String
    /// Counter without gauge_all.
    let grows: Bool
    let value: @Sendable (PluginSnapshot) -> Double?
    init(_ name: String, _ help: String, grows: Bool = false, _ value: @escaping @Sendable (PluginSnapshot) -> Double?) {
      (self.name, self.help, self.grows, self.value) = ("fluentd_output_status_" + name, help, grows, value)
    }
  }
  private static let rows: [Row] = [
    Row("buffer_total_bytes", "Current total size of stage and queue buffers.") {
      $0.buffer.map { Double($0.stagedBytes &+ $0.queuedBytes) }
    },
    Row("buffer_stage_length", "Current length of stage buffers.") { $0.buffer.map { Double($0.stagedChunks) } },
    Row("buffer_stage_byte_size", "Current total size of stage buffers.") { $0.buffer.map { Double($0.stagedBytes) } },
    Row("buffer_queue_length", "Current length of queue buffers.") { $0.buffer.map { Double($0.queuedChunks) } },
    Row("buffer_queue_byte_size", "Current total size of queue buffers.") { $0.buffer.map { Double($0.queuedBytes) } },
    Row("buffer_available_space_ratio", "Ratio of available space in buffer.") { $0.buffer.map { Self.available($0) } },
    Row("buffer_newest_timekey", "Newest timekey in buffer.") { $0.buffer?.timekeys.last.map { Double($0) } },
    Row("buffer_oldest_timekey", "Oldest timekey in buffer.") { $0.buffer?.timekeys.first.map { Double($0) } },
    Row("retry_count", "Current retry counts.", grows: true) { Double($0.counters[.writeErrors]) },
    Row("num_errors", "Current number of errors.", grows: true) { Double($0.counters[.writeErrors]) },
    Row("emit_count", "Current emit counts.", grows: true) { Double($0.counters[.emits]) },
    Row("emit_records", "Current emit records.", grows: true) { Double($0.counters[.offered]) },
    Row("write_count", "Current write counts.", grows: true) { Double($0.counters[.writes]) },
    Row("rollback_count", "Current rollback counts.") { Double($0.counters[.writeErrors]) },
    Row("flush_time_count", "Total flush time.", grows: true) { Double($0.counters[.writeMilliseconds]) },
    Row("slow_flush_count", "Current slow flush counts.", grows: true) { Double($0.counters[.slowWrites]) },
    Row("retry_wait", "Current retry wait") { $0.retry.map { Double(max(0, $0.next.seconds &- $0.started.seconds)) } },
  ]
  /// In percent, one decimal, as Fluentd's `buffer_available_buffer_space_ratios`.
  private static func available(_ buffer: BufferSnapshot) -> Double {
    let used = buffer.limitBytes > 0 ? Double(buffer.stagedBytes &+ buffer.queuedBytes) / Double(buffer.limitBytes) : 0
    return ((1 - used) * 1000).rounded() / 10
  }

  public func run(_ emitter: Emitter) async throws {
    try await MonitorLabels.serve(context, emitter) { [labels, gaugeAll] monitor, _, page in
      // copy and roundrobin are no Output in Fluentd's sense.
      let outputs = monitor.snapshot().plugins.filter { $0.kind == "output" && $0.type != "copy" && $0.type != "roundrobin" }
      for row in Self.rows {
        page.family(row.name, row.grows && !gaugeAll ? .counter : .gauge, row.help) { family in
          for plugin in outputs {
            if let value = row.value(plugin) {
              family.add(labels.pairs + [("plugin_id", plugin.id), ("type", plugin.type)], value)
            }
          }
        }
      }
    }
  }
}
