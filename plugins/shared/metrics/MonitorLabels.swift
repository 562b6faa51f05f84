import AggCore

/// `<labels>` of the inputs that show the daemon's figures: values are the same for every series.
struct MonitorLabels: Sendable {
  let pairs: [(String, String)]

  init(_ element: ConfigElement?, _ context: PluginContext) throws {
    var pairs: [(String, String)] = []
    for label in try MetricSection.labels(element) {
      let template: LabelTemplate
      do throws(ConfigValueError) { template = try LabelTemplate(label.value, system: context.system) } catch {
        throw ConfigError(at: label.at, "'\(label.name)' \(error.message)")
      }
      guard let value = template.constant else {
        throw ConfigError(
          at: label.at, "'\(label.name)' cannot come from a record here; write a text, ${hostname} or ${worker_id}")
      }
      pairs.append((label.name, value))
    }
    if context.system.workers > 1, !pairs.contains(where: { $0.0 == "worker_id" }) {
      pairs.append(("worker_id", String(context.system.workerID)))
    }
    self.pairs = pairs
  }

  /// Has `write` called for every page until the task is cancelled; the whole `run` of such an input.
  static func serve(
    _ context: PluginContext, _ emitter: Emitter,
    _ write: @escaping @Sendable (DaemonMonitor, MetricRegistry, inout ExpositionPage) -> Void
  ) async throws {
    guard let registry = context.shared(MetricRegistry.self), let monitor = context.shared(DaemonMonitor.self) else {
      throw ConfigValueError("there is nothing to monitor")
    }
    context.bindToConfiguration()
    let id = registry.addCollector { [weak registry] page in if let registry { write(monitor, registry, &page) } }
    emitter.ready()
    while !Task.isCancelled { try? await Task.sleep(for: .seconds(3600)) }
    registry.removeCollector(id)
  }
}
