public import AggCore

/// Fluentd's `fluentd_tail_file_…` of every followed file, on the pages of `@type prometheus`.
public struct PrometheusTailMonitorInput: Input {
  public static let name = "prometheus_tail_monitor"
  public static let summary = "Positions of the files that tail follows for Prometheus, under Fluentd's names."

  private let context: PluginContext
  private let labels: MonitorLabels

  public init(_ config: PrometheusMonitorInput.Config, _ context: PluginContext) throws {
    self.context = context
    labels = try MonitorLabels(config.labels, context)
  }

  private static let rows: [(name: String, help: String, value: @Sendable (TailFigures.Input, TailFigures.File) -> Double)] = [
    ("fluentd_tail_file_position", "Current position of file.", { Double($1.position) }),
    ("fluentd_tail_file_inode", "Current inode of file.", { Double($1.inode) }),
    ("fluentd_tail_file_closed", "Number of files closed.", { input, _ in Double(input.closed) }),
    ("fluentd_tail_file_opened", "Number of files opened.", { input, _ in Double(input.opened) }),
    ("fluentd_tail_file_rotated", "Number of files rotated.", { input, _ in Double(input.rotated) }),
    ("fluentd_tail_file_throttled", "Number of times files got throttled.", { input, _ in Double(input.throttled) }),
  ]

  public func run(_ emitter: Emitter) async throws {
    try await MonitorLabels.serve(context, emitter) { [labels] _, registry, page in
      let inputs = registry.tails.all
      for row in Self.rows {
        page.family(row.name, .gauge, row.help) { family in
          for (plugin, input) in inputs {
            // A file that was renamed and its successor have one name: the page shows the one that is followed by name.
            var seen: Set<String> = []
            for file in input.files where seen.insert(file.path).inserted {
              family.add(labels.pairs + [("plugin_id", plugin), ("type", "tail"), ("path", file.path)], row.value(input, file))
            }
          }
        }
      }
    }
  }
}
