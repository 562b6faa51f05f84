import AggCore

/// How the monitoring inputs hand their events over: a full buffer makes them wait, what is given up is counted.
struct PluginStore: Sendable {
  let context: PluginContext
  let services: CommandServices

  /// Returns whether the events are stored.
  @discardableResult
  func emit(_ batch: EventBatch, _ emitter: Emitter, covering spans: [SourceSpan] = []) async -> Bool {
    if batch.isEmpty { return true }
    let waker = Waker(services.timers)
    var isWaiting = false
    while true {
      do throws(EmitError) {
        try await emitter.emit(batch, covering: spans)
        return true
      } catch {
        if error.isTransient, !Task.isCancelled {
          if !isWaiting { context.log.warn("\(error); the next run waits until there is room") }
          isWaiting = true
          await waker.wait(until: .now().adding(nanoseconds: 1_000_000_000))
          continue
        }
        context.counters.add(.received, .lost, batch.count)
        context.log.error("\(batch.count) events were not taken: \(error)")
        return false
      }
    }
  }

  func reject(_ count: Int, _ why: String) {
    if count == 0 { return }
    context.counters.add(.received, .rejected, count)
    context.log.warn("\(count) lines were not taken: \(why)")
  }
}

/// Ticks at whole multiples of an interval of wall time, as mackerel-agent's minutes: points of one minute carry one second.
struct PluginClock: Sendable {
  /// Nanoseconds.
  let interval: Int64
  private var last: Int64?

  init(_ interval: TimeSpan) { self.interval = Int64(max(interval.nanoseconds, 1_000_000)) }

  /// Waits for the next tick; nil when the task is cancelled. `missed` ticks passed while the caller was busy.
  mutating func next(_ waker: Waker) async -> (time: EventTime, missed: Int64)? {
    let wall = EventTime.now()
    let now = wall.seconds.multipliedReportingOverflow(by: 1_000_000_000).partialValue &+ Int64(wall.nanoseconds)
    let tick = (now / interval &+ 1) &* interval
    let deadline = MonotonicTime.now().adding(nanoseconds: tick &- now)
    while MonotonicTime.now() < deadline {
      if Task.isCancelled { return nil }
      await waker.wait(until: deadline)
    }
    if Task.isCancelled { return nil }
    let missed = last.map { max(0, (tick &- $0) / interval &- 1) } ?? 0
    last = tick
    return (EventTime(seconds: tick / 1_000_000_000, nanoseconds: UInt32(truncatingIfNeeded: tick % 1_000_000_000)), missed)
  }
}
