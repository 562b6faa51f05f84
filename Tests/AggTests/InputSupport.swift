import AggCore
import AggEngine
import AggExpression
import AggNet
import AggPlugins
import AggTesting
import Foundation
import Glibc
import Synchronization
import Testing

/// What an input's tests need: the input running on a real network, what it emitted, and plain sockets to talk to it.
final class InputBench: PluginServices {
  let network = Network(threads: 2)
  let sink = CollectingSink(id: "bench")
  let counters = Counters(plugin: "bench", type: "bench", kind: "input")
  let log = CollectingLog()
  /// Set to make `emit` refuse.
  let refusal = Mutex<EmitError?>(nil)
  let port: UInt16

  init() throws { port = TestPort.free() }

  func parser(_ section: ConfigElement, default type: String?, _ context: PluginContext) throws -> any Parser {
    let name = section.type ?? type
    guard let found = builtins.parsers.first(where: { $0.name == name }) else { throw ConfigErrors(at: section.at, "unknown parser") }
    return try found.make(section, context, [])
  }
  func formatter(_ section: ConfigElement, default: String?, _ context: PluginContext) throws -> any AggCore.Formatter {
    throw ConfigErrors(at: section.at, "no formatter")
  }
  func output(_ section: ConfigElement, _ context: PluginContext) throws -> any Sink { sink }
  func label(_ name: String, at: AggCore.SourceLocation) -> any Sink { sink }
  func shared<S: Sendable>(_ type: S.Type) -> S? { network as? S }
  func committed(_ plugin: String, _ key: String) -> [UInt8]? { nil }
  func committedKeys(_ plugin: String) -> [String] { [] }
  func emitter(_ context: PluginContext) -> Emitter { Emitter(sink) }

  /// Makes the input of `text`, where `PORT` stands for a free port.
  func make<I: Input>(_ type: I.Type, _ text: String) throws -> I {
    let root = try ConfigParser(environment: .current().evaluatingExpressions).parse(
      "<source>\n\(text.replacingOccurrences(of: "PORT", with: "\(port)"))\n</source>\n", file: "t.conf")
    let element = try #require(root.children.first)
    let context = PluginContext(
      id: "bench", element: element, log: Log(level: .trace, source: "bench", writer: log), counters: counters,
      system: SystemInfo(hostname: "test-host"), config: ConfigContext(), services: self)
    do { return try I(I.Config.load(element, context.config), context) } catch let error as ConfigValueError {
      throw ConfigErrors(at: element.at, error.message)
    }
  }

  /// Runs the input while `body` runs, then cancels it and waits for its end.
  func running<I: Input, R: Sendable>(_ type: I.Type, _ text: String, _ body: () async throws -> R) async throws -> R {
    let input = try make(type, text)
    let ready = AsyncStream<(any Error)?>.makeStream()
    let service = BenchEmitter(bench: self) { ready.continuation.yield(nil) }
    let task = Task {
      do { try await input.run(Emitter(service)) } catch { ready.continuation.yield(error) }
    }
    var waiter = ready.stream.makeAsyncIterator()
    if let error = await waiter.next() ?? nil {
      await network.shutdown()
      throw error
    }
    let result: Result<R, any Error>
    do { result = .success(try await body()) } catch { result = .failure(error) }
    task.cancel()
    await task.value
    await network.shutdown()
    return try result.get()
  }

  /// The events so far, as `tag time-seconds json`.
  var events: [String] {
    sink.batches.flatMap { batch in batch.jsonRecords.map { "\(batch.tag) \($0)" } }
  }
  /// Waits until there are `count` events.
  func events(_ count: Int) async throws -> [String] {
    try await until { self.sink.batches.reduce(0) { $0 + $1.count } >= count }
    return events
  }
  func until(_ condition: () -> Bool) async throws {
    for _ in 0..<1000 {
      if condition() { return }
      try await Task.sleep(for: .milliseconds(10))
    }
    Issue.record("waited in vain; events: \(events), log: \(log.lines)")
  }
}

final class BenchEmitter: EmitService {
  private let bench: InputBench
  private let onReady: @Sendable () -> Void
  init(bench: InputBench, onReady: @escaping @Sendable () -> Void) {
    self.bench = bench
    self.onReady = onReady
  }
  func emit(_ batches: [EventBatch], covering spans: [SourceSpan]) async throws(EmitError) {
    if let error = bench.refusal.withLock({ $0 }) { throw error }
    try await bench.sink.emit(batches, covering: spans)
  }
  func reject(_ batch: EventBatch, reason: String) async { await bench.sink.reject(batch, reason: reason) }
  func ready() { onReady() }
}

final class CollectingLog: LogWriter {
  private let kept = Mutex<[String]>([])
  func write(_ level: LogLevel, _ source: String, _ message: String) { kept.withLock { $0.append("\(level.name) \(message)") } }
  var lines: [String] { kept.withLock { $0 } }
}

private func loopback(_ port: UInt16) -> sockaddr_in {
  var address = sockaddr_in()
  address.sin_family = sa_family_t(AF_INET)
  address.sin_port = port.bigEndian
  address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
  return address
}

/// Sends each text as one datagram from one socket.
func sendDatagrams(_ texts: [String], to port: UInt16) {
  let descriptor = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
  defer { close(descriptor) }
  var address = loopback(port)
  for text in texts {
    let bytes = Array(text.utf8)
    _ = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        sendto(descriptor, bytes, bytes.count, 0, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
  }
}

extension Connection {
  func send(_ text: String) async throws { try await write(Array(text.utf8)) }
  /// All until the peer's end.
  func receiveAll() async throws -> String {
    var writer = ByteWriter()
    while try await read(into: &writer, timeout: .seconds(20)) > 0 {}
    return writer.string
  }
}

/// A client's network for the time of `body`.
func withClient<R>(_ body: (Network) async throws -> R) async throws -> R {
  let network = Network(threads: 1)
  do {
    let result = try await body(network)
    await network.shutdown()
    return result
  } catch {
    await network.shutdown()
    throw error
  }
}
