import AggCore
import AggPlugins
import AggTesting
import Synchronization
import Testing

/// A holding filter run alone: batches in, what comes out, what the commit would store, and what is let go.
final class HoldingBench: HoldService {
  let filter: any HoldingFilter
  let counters: Counters
  private struct State {
    var stored: [String: [UInt8]] = [:]
    var released: [String] = []
    var routes: [HoldEmitter.Route] = []
    var refusals = 0
    var held = 0
  }
  private let state = Mutex(State())

  init(_ filter: any HoldingFilter, _ counters: Counters = Counters(plugin: "test", type: "test", kind: "filter")) {
    self.filter = filter
    self.counters = counters
  }
  convenience init<F: HoldingFilter>(_ type: F.Type, _ config: String) throws {
    let driver = PluginDriver()
    self.init(try driver.make(type, config), driver.counters)
  }

  /// One batch, `seconds record` each; the result likewise.
  func add(_ events: [(Int64, String)], tag: String = "test", refusing: Bool = false) throws -> [String] {
    var builder = BatchBuilder()
    for (seconds, record) in events {
      let value = try #require(JSONTranscoder.decode(record))
      builder.begin()
      value.encode(into: &builder.writer)
      builder.commit(time: EventTime(seconds: seconds))
    }
    var sink = FilterSink()
    let result = try filter.filter(builder.finish(tag: Tag(tag)), &sink)
    let dropped = sink.dropped.reduce(0) { $0 + $1.count } + sink.failures.reduce(0) { $0 + $1.batch.count }
    #expect(events.count + sink.created == result.count + dropped + sink.merged + sink.held)
    if refusing {
      for body in sink.refusals.reversed() { body() }
    } else {
      for body in sink.commits { body() }
      state.withLock { state in
        state.held += sink.held
        for span in sink.spans { state.stored[span.key] = span.state.isEmpty ? nil : span.state }
        #expect(state.stored.count == state.held)
      }
    }
    return Self.lines(result)
  }
  func add(_ records: [String], tag: String = "test") throws -> [String] {
    try add(records.map { (1, $0) }, tag: tag).map { String($0.drop { $0 != "{" }) }
  }

  /// What the next start gets.
  var stored: [(key: String, state: [UInt8])] { state.withLock { state in state.stored.map { (key: $0.key, state: $0.value) } } }
  var released: [String] { state.withLock { $0.released } }
  var routes: [HoldEmitter.Route] { state.withLock { $0.routes } }
  /// Another start after what was stored.
  func resume(_ stored: [(key: String, state: [UInt8])]) {
    filter.restore(stored)
    state.withLock { state in
      state.held = stored.count
      for (key, bytes) in stored { state.stored[key] = bytes }
    }
  }
  func note(_ routes: [HoldEmitter.Route]) { state.withLock { $0.routes += routes } }
  func refuse(_ n: Int) { state.withLock { $0.refusals = n } }

  func emit(to route: HoldEmitter.Route, _ make: @Sendable () -> HoldEmission?) async throws(EmitError) {
    guard let emission = make() else { return }
    let isRefused = state.withLock { state in
      state.refusals -= 1
      return state.refusals >= 0
    }
    if isRefused {
      emission.onRefusal()
      throw .full("test")
    }
    state.withLock { state in
      state.routes.append(route)
      for batch in emission.batches { state.released += Self.lines(batch).map { "\(batch.tag) \($0)" } }
      for span in emission.spans { state.stored[span.key] = span.state.isEmpty ? nil : span.state }
      state.held -= emission.batches.reduce(0) { $0 + $1.count }
      #expect(state.stored.count == state.held)
    }
    emission.onCommit()
  }

  /// Lets everything go, as the end of the daemon does.
  func end() async -> [String] {
    let task = Task { await filter.run(HoldEmitter(self)) }
    task.cancel()
    await task.value
    return released
  }

  private static func lines(_ batch: EventBatch) -> [String] {
    var times: [Int64] = []
    batch.forEachEvent { time, _ in times.append(time.seconds) }
    return zip(times, batch.jsonRecords).map { "\($0) \($1)" }
  }
}
