import AggCore
import Synchronization

/// Emits what a filter counted, every interval from the first count on, for as long as the filter is there.
final class MetricTicker: Sendable {
  private let rules: MetricRules
  private let tag: Tag
  private let config: MetricsFilter.Config
  private let context: PluginContext
  private let timers: TimerQueue?
  private let isStarted = Atomic(false)

  init(_ rules: MetricRules, tag: Tag, _ config: MetricsFilter.Config, _ context: PluginContext) {
    self.rules = rules
    self.tag = tag
    self.config = config
    self.context = context
    timers = context.shared(TimerQueue.self)
  }

  /// The first call starts it; may be called for every batch.
  func start() {
    if isStarted.load(ordering: .relaxed) || isStarted.exchange(true, ordering: .relaxed) { return }
    schedule(from: .now())
  }

  private func schedule(from time: MonotonicTime) {
    let next = time.adding(nanoseconds: Int64(config.interval.nanoseconds))
    timers?.schedule(at: next) { [weak self] in
      guard let self else { return }
      Task { await self.emit(next) }
    }
  }

  private func emit(_ time: MonotonicTime) async {
    let batch = rules.snapshot(tag, at: .now(), host: config.host, service: config.service)
    if !batch.isEmpty {
      do throws(EmitError) { try await context.emitter().emit(batch) } catch {
        if case .closed = error { return }
        // The next figures hold what these did.
        context.log.warn("\(batch.count) metrics were not taken: \(error)")
      }
    }
    // Late by more than an interval: what was missed is not made up for.
    let now = MonotonicTime.now()
    schedule(from: now.since(time) > Int64(config.interval.nanoseconds) ? now : time)
  }
}
