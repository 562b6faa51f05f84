import AggCore
import Synchronization

/// The streams of one holding filter: changed batch by batch, stored with each batch's commit, let go after a time and at the end.
final class HeldStreams: Sendable {
  struct Settings: Sendable {
    /// The fields whose text grows; `HeldEvent.field` says which.
    var keys: [[UInt8]]
    var separator: [UInt8]
    /// How long an event waits for more, in nanoseconds; nil: for ever.
    var wait: Int64?
    /// Where events go whose time is over, or that are left at the end.
    var route: HoldEmitter.Route
    /// Those events get the present time rather than that of their first line; at the end it is always the first line's.
    var usesPresentTime = false
    /// Told with events that go to `@ERROR`, and logged.
    var lateReason = "Timeout flush"
  }
  /// Streams come from outside: beyond this many the one that waits longest is let go, as if its time were over.
  static let maximumStreams = 10_000
  /// Twice as many are not held at all: their events go on as they are.
  static let mostStreams = 2 * maximumStreams
  /// An event that grows beyond this goes on as far as it is, and the next line begins a new one.
  static let maximumBytes = 8 << 20
  /// What all streams hold together, before the longest waiting ones are let go.
  static let maximumTotal = 256 << 20

  let settings: Settings
  private let state = Mutex(HeldTable())
  private let waker: Waker
  private let timers: TimerQueue
  private let context: PluginContext

  init(_ settings: Settings, _ context: PluginContext) {
    self.settings = settings
    self.context = context
    timers = context.shared(TimerQueue.self) ?? TimerQueue()
    waker = Waker(timers)
  }

  /// Runs a batch: `body` changes what is held; the rest of the contract (state, undo, counts) is done here.
  func change<R: Sendable>(_ sink: inout FilterSink, _ body: (inout HeldTable, inout FilterSink) -> R) -> R {
    let (result, spans, earlier, difference, wakes) = state.withLock { table in
      let before = table.count
      let result = body(&table, &sink)
      let (spans, earlier) = table.settle()
      return (result, spans, earlier, table.count - before, before == 0 && table.count > 0 || Self.isExcessive(table))
    }
    sink.held += difference
    for span in spans { sink.hold(span.key, span.state) }
    if !earlier.isEmpty { sink.onRefusal { [self] in state.withLock { $0.undo(earlier) } } }
    if wakes { waker.wakeOne() }
    return result
  }

  private static func isExcessive(_ table: HeldTable) -> Bool { table.count > maximumStreams || table.byteCount > maximumTotal }

  func restore(_ held: [(key: String, state: [UInt8])]) {
    if held.isEmpty { return }
    let now = MonotonicTime.now()
    let restored = state.withLock { table in held.filter { table.restore($0.key, $0.state, since: now) }.count }
    // An output's ledger counts what is offered and delivered; what it holds stands beside.
    if context.counters.kind == "filter" {
      context.counters.add(.recovered, .held, restored)
    } else {
      context.counters.add(.held, restored)
    }
    if restored < held.count {
      context.log.error("\(held.count - restored) of \(held.count) held events cannot be read; they are dropped")
    }
    if restored > 0 { waker.wakeOne() }
  }

  // MARK: Letting go

  func run(_ emitter: HoldEmitter) async {
    while !Task.isCancelled {
      let next = state.withLock { table -> MonotonicTime? in
        if Self.isExcessive(table) { return .now() }
        guard let wait = settings.wait, let oldest = table.oldest else { return nil }
        return oldest.since.adding(nanoseconds: wait)
      }
      let now = MonotonicTime.now()
      if let next, next <= now {
        do throws(EmitError) { try await emitter.emit(to: settings.route) { [self] in letGo(all: false) } } catch {
          context.log.warn("what was held for too long is not taken, and is tried again: \(error)")
          await waker.wait(until: now.adding(nanoseconds: 1_000_000_000))
        }
        continue
      }
      await waker.wait(until: next.map { max($0, now.adding(nanoseconds: 50_000_000)) })
    }
    await letGoAll(emitter)
  }

  private func letGoAll(_ emitter: HoldEmitter) async {
    while state.withLock({ $0.count }) > 0 {
      do throws(EmitError) { try await emitter.emit(to: settings.route) { [self] in letGo(all: true) } } catch {
        if case .closed = error { break }
        // The task is cancelled, so nothing that heeds it would wait.
        await withCheckedContinuation { continuation in
          timers.schedule(at: .now().adding(nanoseconds: 200_000_000)) { continuation.resume() }
        }
      }
    }
  }

  /// Takes out what is due, at most a batch's worth, oldest first.
  private func letGo(all: Bool) -> HoldEmission? {
    let now = MonotonicTime.now()
    let (events, spans, earlier) = state.withLock { table in
      var events: [HeldEvent] = []
      var bytes = 0
      while let oldest = table.oldest, events.count < 4096, bytes < 8 << 20 {
        let isDue = settings.wait.map { oldest.since.adding(nanoseconds: $0) <= now } ?? false
        guard all || isDue || Self.isExcessive(table), let slot = table.oldestSlot else { break }
        bytes += oldest.byteCount
        events.append(table.take(slot))
      }
      let (spans, earlier) = table.settle()
      return (events, spans, earlier)
    }
    if events.isEmpty { return nil }
    context.log.info(
      "\(all ? "Flush remaining buffer" : settings.lateReason): \(events.count) events, the first of tag \(events[0].tag)")
    return HoldEmission(
      batches(events, isEnd: all), covering: spans, onRefusal: { [self] in state.withLock { $0.undo(earlier) } })
  }

  private func batches(_ events: [HeldEvent], isEnd: Bool) -> [EventBatch] {
    let present = EventTime.now()
    var batches: [EventBatch] = []
    var start = 0
    while start < events.count {
      let end = events[start...].firstIndex { $0.tag != events[start].tag } ?? events.count
      var builder = BatchBuilder(capacity: 4096)
      for event in events[start..<end] {
        builder.begin(room: event.byteCount + 64)
        let key = settings.keys.indices.contains(event.field) ? settings.keys[event.field] : []
        event.writeJoined(key: key, separator: settings.separator, into: &builder.writer)
        builder.commit(time: settings.usesPresentTime && !isEnd ? present : event.time)
      }
      batches.append(builder.finish(tag: events[start].tag))
      start = end
    }
    return batches
  }
}
