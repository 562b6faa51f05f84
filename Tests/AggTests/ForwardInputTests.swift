import AggCore
import AggNet
import AggPlugins
import AggTesting
import Foundation
import Testing

/// Runs a network for one test.
func withForwardNetwork<R>(_ body: (Network) async throws -> R) async throws -> R {
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

/// One value that the peer sent.
func forwardValue(_ connection: Connection, _ buffer: inout ByteWriter) async throws -> Value? {
  while true {
    if case .complete(let end) = MessagePackScanner.skip(buffer.bytes), let base = buffer.bytes.baseAddress {
      let value = Value(ValueView(unchecked: base))
      buffer.removeFirst(end)
      return value
    }
    if try await connection.read(into: &buffer, timeout: .seconds(20)) == 0 { return nil }
  }
}

func forwardEventually(_ what: Comment, _ condition: () -> Bool) async {
  for _ in 0..<2000 {
    if condition() { return }
    try? await Task.sleep(for: .milliseconds(10))
  }
  Issue.record(what)
}

@Suite struct ForwardInputTests {
  /// Runs an in_forward with these lines more, and hands over a way to connect to it.
  func running(
    _ lines: String = "", _ body: (Network, Int, PluginDriver) async throws -> Void
  ) async throws {
    try await withForwardNetwork { network in
      let port = Int(TestPort.free())
      var driver = PluginDriver(builtins)
      driver.services = [network]
      let input = try driver.make(ForwardInput.self, "port \(port)\nbind 127.0.0.1\n\(lines)")
      let sink = driver.sink
      let task = Task { try await input.run(Emitter(sink)) }
      for _ in 0..<500 {
        if let connection = try? await network.connect(.host("127.0.0.1", port)) {
          await connection.close()
          break
        }
        try await Task.sleep(for: .milliseconds(10))
      }
      do { try await body(network, port, driver) } catch {
        task.cancel()
        throw error
      }
      task.cancel()
      try await task.value
    }
  }
  func send(_ value: Value, _ connection: Connection) async throws { try await connection.write(ForwardProtocolTests.message(value)) }

  @Test func `events of single messages become one batch, with tag and fields as configured`() async throws {
    try await running("add_tag_prefix in\nsource_address_key peer") { network, port, driver in
      let connection = try await network.connect(.host("127.0.0.1", port))
      let one = ForwardProtocolTests.message(["a.b", 1_700_000_000, ["i": 1]])
      try await connection.write(one + one + one)
      await forwardEventually("three events") { driver.sink.batches.reduce(0) { $0 + $1.count } == 3 }
      #expect(driver.sink.batches.allSatisfy { $0.tag.description == "in.a.b" })
      #expect(driver.sink.batches.first?.jsonRecords.first == #"{"i":1,"peer":"127.0.0.1"}"#)
      await connection.close()
    }
  }

  @Test func `a chunk that comes again is acknowledged and not stored again, unless it holds something else`() async throws {
    try await running { network, port, driver in
      let connection = try await network.connect(.host("127.0.0.1", port))
      var buffer = ByteWriter()
      let chunk: Value = "AAECAwQFBgcICQoLDA0O/w==\n"
      for count in [3, 3, 2] {
        try await send(["t", .binary(ForwardProtocolTests.packed(count)), ["chunk": chunk]], connection)
        #expect(try await forwardValue(connection, &buffer) == ["ack": chunk])
      }
      #expect(driver.sink.batches.map(\.count) == [3, 2])
      #expect(driver.counters.snapshot()[.duplicates] == 1)
      await connection.close()
    }
  }

  @Test func `deny_keepalive closes after the first message, and tells so in the handshake`() async throws {
    try await running("deny_keepalive true\n<security>\nself_hostname me\nshared_key k\n</security>") { network, port, driver in
      let connection = try await network.connect(.host("127.0.0.1", port))
      var buffer = ByteWriter()
      let helo = try await forwardValue(connection, &buffer)
      #expect(helo?.array?.last?["keepalive"] == false)
      // Whatever comes before a valid PING is not taken.
      try await send(["t", 1_700_000_000, ["i": 1]], connection)
      let pong = try await forwardValue(connection, &buffer)
      #expect(pong == ["PONG", false, "invalid ping message", "", ""])
      #expect(try await forwardValue(connection, &buffer) == nil)
      #expect(driver.sink.batches.isEmpty)
      await connection.close()
    }
  }

  @Test func `a message over chunk_size_limit is dropped without an acknowledgement, and what follows is taken`() async throws {
    try await running("chunk_size_limit 1k") { network, port, driver in
      let connection = try await network.connect(.host("127.0.0.1", port))
      var buffer = ByteWriter()
      try await send(["t", .binary(ForwardProtocolTests.packed(1000)), ["chunk": "large"]], connection)
      try await send(["t", .binary(ForwardProtocolTests.packed(2)), ["chunk": "small"]], connection)
      #expect(try await forwardValue(connection, &buffer) == ["ack": "small"])
      #expect(driver.sink.batches.map(\.count) == [2])
      #expect(driver.counters.snapshot()[.rejected] == 1)
      await connection.close()
    }
  }

  @Test func `wrong entries are left out alone, and a wrong message is acknowledged`() async throws {
    try await running { network, port, driver in
      let connection = try await network.connect(.host("127.0.0.1", port))
      var buffer = ByteWriter()
      try await send(["t", [[1, ["a": 1]], ["no time", ["a": 2]], [3, "no record"], [0, ["a": 4]]], ["chunk": "c"]], connection)
      #expect(try await forwardValue(connection, &buffer) == ["ack": "c"])
      #expect(driver.sink.batches.first?.jsonRecords == [#"{"a":1}"#, #"{"a":4}"#])
      driver.sink.batches.last?.forEachEvent { time, record in if record.find("a")?.int64 == 4 { #expect(time.seconds > 1_700_000_000) } }
      try await send([42, [[1, ["a": 1]]], ["chunk": "d"]], connection)
      try await send(["t", 1, ["a": 5], ["chunk": "e"]], connection)
      #expect(try await forwardValue(connection, &buffer) == ["ack": "e"])
      await connection.close()
    }
  }

  @Test func `what the configuration must not say`() throws {
    func message(_ lines: String) -> String {
      do {
        _ = try PluginDriver(builtins).make(ForwardInput.self, lines)
        return ""
      } catch { return "\(error)" }
    }
    #expect(message("tag ").contains("'tag' parameter must not be empty"))
    #expect(message("source_hostname_key h\nresolve_hostname false").contains("resolve_hostname must be true with source_hostname_key"))
    #expect(message("send_keepalive_packet true\ndeny_keepalive true").contains("both 'send_keepalive_packet' and 'deny_keepalive'"))
    let security = "<security>\nself_hostname a\nshared_key b\n"
    #expect(message(security + "user_auth true\n</security>").contains("<user> sections required"))
    #expect(message(security + "allow_anonymous_source false\n</security>").contains("<client> sections required"))
    #expect(message(security + "<client>\n</client>\n</security>").contains("Either of 'host' and 'network'"))
    #expect(message(security + "<client>\nnetwork 10.0.0.0/99\n</client>\n</security>").contains("address format is invalid"))
    #expect(message("<transport udp>\n</transport>").contains("<transport udp> is unknown here"))
  }
}
