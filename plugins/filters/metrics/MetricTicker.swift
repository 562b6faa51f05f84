import AggCore
import Synchronization

/// Emits what a filter counted: every interval once something is, and at the end what came since.
final class MetricTicker: Sendable {
  private let rules: MetricRules
  private let tag: Tag
  private let config: MetricsFilter.Config
  private let timer: ReportTimer
  private let isNew = Atomic(false)

  init(_ rules: MetricRules, tag: Tag, _ config: MetricsFilter.Config, _ context: PluginContext) {
    self.rules = rules
    self.tag = tag
    self.config = config
    timer = ReportTimer(seconds: config.interval.seconds, context)
  }

  /// Something was counted; may be called for every batch.
  func counted() { if !isNew.load(ordering: .relaxed) { isNew.store(true, ordering: .releasing) } }

  /// Until cancelled, which comes when the inputs have stopped: what they counted last is emitted then.
  func run() async {
    await timer.run { moment in
      let isNew = isNew.exchange(false, ordering: .acquiring)
      // Cumulative figures are told again though they stand still; at the end only what nobody has been told.
      if moment.isLast, !isNew { return [] }
      let batch = rules.snapshot(tag, at: moment.time, host: config.host, service: config.service)
      return batch.isEmpty ? [] : [batch]
    }
  }
}
