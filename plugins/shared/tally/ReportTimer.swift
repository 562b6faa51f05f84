import AggCore

/// Emits an output's reports: one an interval, and what was counted since at the end.
struct ReportTimer: Sendable {
  /// A report that is due.
  struct Moment: Sendable {
    /// The time of its events.
    var time: EventTime
    /// Seconds since the report before.
    var step: Double
    /// The daemon stops: nothing follows.
    var isLast: Bool
  }
  /// Nanoseconds.
  let interval: Int64
  /// Reports at whole multiples of the interval since 1970, so many seconds later; nil: counted from the start.
  var alignedAt: Int64?
  let context: PluginContext
  let emitter: Emitter

  init(seconds: Double, alignedAt: Int64? = nil, _ context: PluginContext) {
    interval = max(Int64(TimeSpan(seconds: seconds).nanoseconds), 1_000_000)
    self.alignedAt = alignedAt
    self.context = context
    emitter = context.emitter()
  }

  /// Until cancelled. `report` is called once a moment.
  func run(_ report: (Moment) -> [EventBatch]) async {
    let waker = Waker(context.shared(TimerQueue.self) ?? TimerQueue())
    var last = MonotonicTime.now()
    var next = last.adding(nanoseconds: alignedAt == nil ? interval : untilBoundary().wait)
    while !Task.isCancelled {
      await waker.wait(until: next)
      if Task.isCancelled { break }
      let now = MonotonicTime.now()
      if now < next { continue }
      var moment = Moment(time: .now(), step: Double(now.since(last)) / 1e9, isLast: false)
      if alignedAt != nil {
        moment.time = EventTime(seconds: untilBoundary().boundary)
        moment.step = Double(interval) / 1e9
      }
      last = now
      // What a slow output kept from being reported is not made up for.
      next =
        alignedAt == nil
        ? max(next, now.adding(nanoseconds: -interval)).adding(nanoseconds: interval)
        : now.adding(nanoseconds: untilBoundary().wait)
      await emit(report(moment), waker)
    }
    await emit(report(Moment(time: .now(), step: max(Double(MonotonicTime.now().since(last)) / 1e9, 0.001), isLast: true)), waker)
  }

  /// The last multiple of the interval, in seconds, and the nanoseconds to the next one.
  private func untilBoundary() -> (boundary: Int64, wait: Int64) {
    let now = EventTime.now()
    let length = max(interval / 1_000_000_000, 1)
    let shifted = now.seconds &- (alignedAt ?? 0)
    let passed = ((shifted % length) + length) % length
    return (now.seconds - passed, (length - passed) * 1_000_000_000 - Int64(now.nanoseconds))
  }

  private func emit(_ batches: [EventBatch], _ waker: Waker) async {
    if batches.isEmpty { return }
    var isTold = false
    while true {
      do throws(EmitError) { return try await emitter.emit(batches) } catch {
        guard error.isTransient, !Task.isCancelled else {
          return context.log.error("a report of \(batches.reduce(0) { $0 + $1.count }) events was not taken: \(error)")
        }
        if !isTold { context.log.warn("\(error); the report waits for room") }
        isTold = true
        await waker.wait(until: .now().adding(nanoseconds: 1_000_000_000))
      }
    }
  }
}

extension EventBatch {
  /// One event.
  static func report(_ tag: String, _ time: EventTime, _ record: FieldMap) -> EventBatch {
    var builder = BatchBuilder(capacity: 1024)
    builder.begin()
    record.encode(into: &builder.writer)
    builder.commit(time: time)
    return builder.finish(tag: Tag(tag))
  }
}
