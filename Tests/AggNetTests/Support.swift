import AggCore
import AggNet
import Foundation
import Synchronization
import Testing

/// Runs a test with a network of its own, shut down afterwards.
func withNetwork<R>(_ body: (Network) async throws -> R) async throws -> R {
  let network = Network(threads: 2)
  do {
    let result = try await body(network)
    await network.shutdown()
    return result
  } catch {
    await network.shutdown()
    throw error
  }
}

/// Runs a listener while `body` runs, then cancels it, waits for its end and closes its socket.
func serving<R: Sendable>(
  _ listener: Listener, _ serve: @escaping @Sendable (Connection) async throws -> Void, _ body: () async throws -> R
) async throws -> R {
  let task = Task { await listener.run(serve) }
  defer { task.cancel() }
  do {
    let result = try await body()
    task.cancel()
    await task.value
    await listener.close()
    return result
  } catch {
    task.cancel()
    await task.value
    await listener.close()
    throw error
  }
}

@Sendable func echo(_ connection: Connection) async throws {
  var writer = ByteWriter()
  while try await connection.read(into: &writer) > 0 {
    try await connection.write(writer)
    writer.removeAll()
  }
}

func text(_ connection: Connection, count: Int) async throws -> String {
  var writer = ByteWriter()
  while writer.count < count {
    if try await connection.read(into: &writer, timeout: .seconds(20)) == 0 { break }
  }
  return writer.string
}

/// All until the peer's end.
func rest(_ connection: Connection) async throws -> String {
  var writer = ByteWriter()
  while try await connection.read(into: &writer, timeout: .seconds(20)) > 0 {}
  return writer.string
}

extension Connection {
  func send(_ text: String) async throws { try await write(Array(text.utf8)) }

  /// Returns when the peer has closed or reset it.
  func waitForEnd() async {
    var writer = ByteWriter()
    while let count = try? await read(into: &writer, timeout: .seconds(30)), count > 0 {}
  }
}

/// Counts what becomes of a listener's connections, and keeps what it logs.
final class Watched: LogWriter {
  let events = Mutex<[ConnectionEvent: Int]>([:])
  private let kept = Mutex<[String]>([])
  func write(_ level: LogLevel, _ source: String, _ message: String) { kept.withLock { $0.append("\(level.name) \(message)") } }
  var lines: [String] { kept.withLock { $0 } }
  func count(_ event: ConnectionEvent) -> Int { events.withLock { $0[event] ?? 0 } }
  /// At most 30 seconds.
  func wait(for event: ConnectionEvent, _ count: Int) async throws {
    for _ in 0..<3000 where self.count(event) < count { try await Task.sleep(for: .milliseconds(10)) }
  }
  func watch(_ options: inout ListenOptions) {
    options.log = Log(level: .trace, writer: self)
    options.onEvent = { event in self.events.withLock { $0[event, default: 0] += 1 } }
  }
}

/// A thing that one task sets and another waits for.
final class Gate: Sendable {
  private let stream: AsyncStream<Void>
  private let continuation: AsyncStream<Void>.Continuation
  init() { (stream, continuation) = AsyncStream.makeStream() }
  func open() { continuation.finish() }
  func wait() async { for await _ in stream {} }
}

func temporaryPath(_ name: String) -> String {
  FileManager.default.temporaryDirectory.path + "/agg-\(UInt32.random(in: 0...UInt32.max))-\(name)"
}

func code(_ body: () async throws -> Void) async -> NetworkError.Code? {
  do { try await body() } catch { return (error as? NetworkError)?.code }
  return nil
}
