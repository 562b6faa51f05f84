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
