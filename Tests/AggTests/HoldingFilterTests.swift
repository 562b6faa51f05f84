import AggCore
import AggEngine
import AggTesting
import Foundation
import Synchronization
import Testing

/// Passes events on in pairs; an odd one is held.
struct PairFilter: HoldingFilter {
  struct Config: Configurable {
    var keeps = false
    static let parameters: [Parameter<Self>] = [.optional("keep", \.keeps, "Emit nothing at the end, as after a kill")]
  }
  static let name = "pair"
  static let summary = "For tests."
  let gate = HoldGate()
  private let keeps: Bool
  private let context: PluginContext
  private final class Held: Sendable { let event = Mutex<EventBatch?>(nil) }
  private let held = Held()

  init(_ config: Config, _ context: PluginContext) throws {
    keeps = config.keeps
    self.context = context
  }

  func filter(_ batch: EventBatch, _ sink: inout FilterSink) throws(FilterError) -> EventBatch {
    let before = held.event.withLock { $0 }
    var all = before?.jsonRecords ?? []
    all += batch.jsonRecords
    let odd = all.count % 2 == 1 ? all.removeLast() : nil
    let after = odd.flatMap { try? EventBatch.json([$0], tag: "t") }
    held.event.withLock { $0 = after }
    sink.held = (after == nil ? 0 : 1) - (before == nil ? 0 : 1)
    sink.hold("odd", odd.map { Array($0.utf8) } ?? [])
    sink.onRefusal { [held] in held.event.withLock { $0 = before } }
    return (try? EventBatch.json(all, tag: "t")) ?? batch
  }

  func restore(_ states: [(key: String, state: [UInt8])]) {
    guard let state = states.first?.state, let batch = try? EventBatch.json([String(decoding: state, as: UTF8.self)], tag: "t") else { return }
    held.event.withLock { $0 = batch }
    context.counters.add(.recovered, .held, 1)
  }

  func run(_ emitter: HoldEmitter) async {
    while !Task.isCancelled { try? await Task.sleep(for: .seconds(60)) }
    if keeps { return }
    try? await emitter.emit(to: .downstream) { [held] in
      guard let event = held.event.withLock({ $0.take() }) else { return nil }
      return HoldEmission([event], covering: [SourceSpan(key: "odd", state: [])]) { held.event.withLock { $0 = event } }
    }
  }
}

@Suite struct HoldingFilterTests {
  private func source(_ buffer: String, filter: String = "") -> String {
    """
    <source>
      @type feed
      @id in
    </source>
    <filter t>
      @type pair
      @id pair
      \(filter)
    </filter>
    <match t>
      @type file
      @id out
      \(buffer)
    </match>
    """
  }

  @Test func `what is held at the end goes on behind the filter`() async throws {
    try await RunningEngine.with(
      """
      <source>
        @type feed
        @id in
      </source>
      <filter t>
        @type pair
        @id pair
      </filter>
      <match t>
        @type collect
        @id out
      </match>
      """
    ) { agg in
      try await agg.feed.send([#"{"n":1}"#, #"{"n":2}"#, #"{"n":3}"#], tag: "t")
      #expect(agg.collected.lines == [#"t {"n":1}"#, #"t {"n":2}"#])
      #expect(try agg.counters("pair")[.held] == 1)
      await agg.engine.stop()
      #expect(agg.collected.lines == [#"t {"n":1}"#, #"t {"n":2}"#, #"t {"n":3}"#])
      let counters = try agg.counters("pair")
      #expect(counters[.in] == 3 && counters[.out] == 3 && counters[.held] == 0)
    }
  }

  @Test func `a refused batch leaves what is held as it was, and counts nothing`() async throws {
    // Nobody listens there: what is in the buffer stays.
    let text = source("endpoint http://127.0.0.1:\(TestPort.free())/\n<buffer>\n@type memory\ntotal_limit_size 20\nretry_wait 1h\nflush_at_shutdown false\n</buffer>")
      .replacing("@type file", with: "@type http")
    try await RunningEngine.with(text) { agg in
      try await agg.feed.send([#"{"n":1}"#, #"{"n":2}"#, #"{"n":3}"#], tag: "t")
      // The buffer is over its limit now.
      await #expect(throws: EmitError.self) { try await agg.feed.send([#"{"n":4}"#, #"{"n":5}"#], tag: "t") }
      let counters = try agg.counters("pair")
      #expect(counters[.in] == 3 && counters[.out] == 2 && counters[.held] == 1)
    }
  }

  @Test func `what was held when the daemon ended comes back with the next start`() async throws {
    try await withFolder { folder in
      let text = source("path \(folder)/out\n<buffer>\n@type file\npath \(folder)/buffer\nflush_mode immediate\n</buffer>\nappend true", filter: "keep true")
      try await RunningEngine.with(text) { agg in try await agg.feed.send([#"{"n":1}"#, #"{"n":2}"#, #"{"n":3}"#], tag: "t") }
      try await RunningEngine.with(text) { agg in
        #expect(try agg.counters("pair")[.held] == 1)
        try await agg.feed.send([#"{"n":4}"#], tag: "t")
        try await soon("both are delivered") { try agg.counters("out")[.delivered] == 2 }
        let counters = try agg.counters("pair")
        #expect(counters[.in] == 1 && counters[.recovered] == 1 && counters[.out] == 2 && counters[.held] == 0)
      }
    }
  }

  @Test func `batches of many tasks go through one at a time`() async throws {
    try await RunningEngine.with(
      """
      <source>
        @type feed
        @id in
      </source>
      <filter t>
        @type pair
        @id pair
      </filter>
      <match t>
        @type collect
        @id out
      </match>
      """
    ) { agg in
      try await withThrowingTaskGroup(of: Void.self) { group in
        for n in 0..<101 { group.addTask { try await agg.feed.send([#"{"n":\#(n)}"#], tag: "t") } }
        try await group.waitForAll()
      }
      #expect(agg.collected.lines.count == 100)
      #expect(Set(agg.collected.lines).count == 100)
      #expect(try agg.counters("pair")[.held] == 1)
    }
  }

  @Test func `who waits for room does not keep others from the filter`() async throws {
    try await RunningEngine.with(
      """
      <source>
        @type feed
        @id in
      </source>
      <filter {t,echo}>
        @type pair
        @id pair
      </filter>
      <match t>
        @type echo
        @id out
        <buffer>
          @type memory
          total_limit_size 20
          overflow_action block
          flush_mode immediate
        </buffer>
      </match>
      <match echo>
        @type collect
      </match>
      """
    ) { agg in
      try await agg.feed.send([#"{"n":1}"#, #"{"n":2}"#, #"{"n":3}"#, #"{"n":4}"#], tag: "t")
      try await soon("the chunk is being written") { agg.feed.isWriting.withLock { $0 } }
      // Over the limit until the chunk is written, which takes an emit through the same filter.
      let second = Task { try await agg.feed.send([#"{"n":5}"#, #"{"n":6}"#], tag: "t") }
      try await Task.sleep(for: .milliseconds(200))
      agg.feed.mayEcho.withLock { $0 = true }
      try await soon("both chunks are written") { try agg.counters("out")[.delivered] == 6 }
      try await second.value
      // The small limit makes a chunk of every event, and each is answered with two.
      #expect(agg.collected.lines.count == 12)
      let counters = try agg.counters("pair")
      #expect(counters[.in] == 18 && counters[.out] == 18 && counters[.held] == 0)
    }
  }

  @Test func `a store that ignores errors hides no filter that is busy`() async throws {
    try await RunningEngine.with(
      """
      <source>
        @type feed
        @id in
      </source>
      <match t>
        @type copy
        <store ignore_error>
          @type relabel
          @label @L
        </store>
        <store>
          @type collect
        </store>
      </match>
      <label @L>
        <filter t>
          @type pair
          @id pair
        </filter>
        <match t>
          @type collect
        </match>
      </label>
      """
    ) { agg in
      try await withThrowingTaskGroup(of: Void.self) { group in
        for n in 0..<50 { group.addTask { try await agg.feed.send([#"{"n":\#(n)}"#, #"{"m":\#(n)}"#], tag: "t") } }
        try await group.waitForAll()
      }
      #expect(agg.collected.lines.count == 200)
      #expect(try agg.counters("pair")[.in] == 100)
    }
  }
}
