import AggCore
import AggEngine
import AggExpression
import AggNet
import AggPlugins
import AggTesting
import Foundation
import Synchronization
import Testing

/// An engine made of configuration text with the real plugins, an input to feed (`@type feed`) and an output that keeps
/// what comes (`@type collect`).
final class RunningEngine: Sendable {
  let engine: Engine
  let feed = Feed()
  let collected = Collected()
  let log = KeptLog()
  let network: Network
  let ledger: LedgerReader
  let metrics = MetricRegistry()

  private init(_ text: String) throws {
    let host = EngineHost(log: Log(level: .trace, writer: log))
    network = Network()
    ledger = LedgerReader()
    host.register(network)
    host.register(ledger)
    host.register(metrics)
    host.register(feed)
    host.register(collected)
    RunningEngine.register?(host, ledger)
    var plugins = builtins
    plugins.inputs.append(.init(FeedInput.self))
    plugins.outputs.append(.init(CollectOutput.self))
    plugins.outputs.append(.init(EchoOutput.self))
    plugins.filters.append(.init(PairFilter.self))
    let warnings = ConfigWarnings()
    let root = try ConfigParser(environment: .current().evaluatingExpressions, warnings: warnings).parse(text, file: "test.conf")
    let topology = try TopologyBuilder(
      plugins: plugins, host: host, system: SystemConfig(), info: SystemInfo(hostname: "test-host"), context: ConfigContext(warnings: warnings)
    ).build(root)
    engine = Engine(topology)
    ledger.follow(topology)
  }
  /// What the executable registers beside the network, where a test needs it.
  nonisolated(unsafe) static var register: (@Sendable (EngineHost, LedgerReader) -> Void)?

  /// Starts, runs `body`, and stops whatever happens.
  static func with<R>(_ text: String, _ body: (RunningEngine) async throws -> R) async throws -> R {
    let running = try RunningEngine(text)
    try await running.engine.start()
    do {
      let result = try await body(running)
      await running.stop()
      return result
    } catch {
      await running.stop()
      throw error
    }
  }
  private func stop() async {
    await engine.stop()
    await network.shutdown()
  }

  func counters(_ id: String) throws -> Counters.Snapshot {
    try #require(engine.topology.plugins.first { $0.id == id }).counters.snapshot()
  }
}

/// Waits for `condition`, at most 30 seconds; a machine under load is slow, not wrong.
func soon(_ what: String, _ condition: () async throws -> Bool) async throws {
  for _ in 0..<1500 {
    if try await condition() { return }
    try await Task.sleep(for: .milliseconds(20))
  }
  Issue.record("never came true: \(what)")
}

final class Feed: Sendable {
  private let emitter = Mutex<Emitter?>(nil)
  /// Of `EchoOutput`.
  let isWriting = Mutex(false)
  let mayEcho = Mutex(false)
  func attach(_ emitter: Emitter) { self.emitter.withLock { $0 = emitter } }
  func send(_ batch: EventBatch) async throws { try await send([batch]) }
  /// In one emit.
  func send(_ batches: [EventBatch]) async throws { try await #require(emitter.withLock { $0 }).emit(batches) }
  func send(_ records: [String], tag: String) async throws { try await send(.json(records, tag: tag)) }
}

struct FeedInput: Input {
  struct Config: Configurable {
    static let parameters: [Parameter<Self>] = []
  }
  static let name = "feed"
  static let summary = "For tests."
  private let feed: Feed?
  init(_ config: Config, _ context: PluginContext) throws { feed = context.shared(Feed.self) }
  func run(_ emitter: Emitter) async throws {
    feed?.attach(emitter)
    emitter.ready()
    while !Task.isCancelled { try? await Task.sleep(for: .seconds(60)) }
  }
}

final class Collected: Sendable {
  private let kept = Mutex<[EventBatch]>([])
  func add(_ batch: EventBatch) { kept.withLock { $0.append(batch) } }
  var batches: [EventBatch] { kept.withLock { $0 } }
  /// `tag record`, in the order they came.
  var lines: [String] { batches.flatMap { batch in batch.jsonRecords.map { "\(batch.tag) \($0.trimmingCharacters(in: .newlines))" } } }
  var times: [EventTime] {
    var times: [EventTime] = []
    for batch in batches { batch.forEachEvent { time, _ in times.append(time) } }
    return times
  }
}

struct CollectOutput: DirectOutput {
  struct Config: Configurable {
    static let parameters: [Parameter<Self>] = []
  }
  static let name = "collect"
  static let summary = "For tests."
  private let collected: Collected?
  init(_ config: Config, _ context: PluginContext) throws { collected = context.shared(Collected.self) }
  func process(_ batch: EventBatch) throws(WriteError) { collected?.add(batch) }
}

/// Emits two events under `echo` while it writes a chunk, once the test lets it.
struct EchoOutput: Output {
  struct Config: Configurable {
    static let parameters: [Parameter<Self>] = []
  }
  static let name = "echo"
  static let summary = "For tests."
  private let feed: Feed?
  init(_ config: Config, _ context: PluginContext) throws { feed = context.shared(Feed.self) }
  func write(_ chunk: ChunkView) async throws(WriteError) {
    feed?.isWriting.withLock { $0 = true }
    do {
      while feed?.mayEcho.withLock({ $0 }) == false { try await Task.sleep(for: .milliseconds(5)) }
      try await feed?.send([#"{"e":1}"#, #"{"e":2}"#], tag: "echo")
    } catch { throw .retry("\(error)") }
  }
}

final class KeptLog: LogWriter {
  private let kept = Mutex<[String]>([])
  func write(_ level: LogLevel, _ source: String, _ message: String) { kept.withLock { $0.append("\(level.name) \(source): \(message)") } }
  var lines: [String] { kept.withLock { $0 } }
}

/// A folder of its own, removed afterwards.
func withFolder<R>(_ body: (String) async throws -> R) async throws -> R {
  let path = FileManager.default.temporaryDirectory.appending(path: "agg-test-\(UUID().uuidString)").path
  try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  defer { try? FileManager.default.removeItem(atPath: path) }
  return try await body(path)
}
