import AggCore
import AggNet
import AggPlugins
import AggTesting
import Foundation
import Synchronization
import Testing

@Suite struct ForwardOutputTests {
  /// A server that keeps what it gets; `answer` decides what is sent back for a message, nil closes.
  final class Server: Sendable {
    let port: Int
    let messages = Mutex<[Value]>([])
    let connections = Mutex(0)
    private let listener: Listener
    private let task: Mutex<Task<Void, Never>?> = Mutex(nil)

    init(_ network: Network, _ answer: @escaping @Sendable (Value) -> [UInt8]? = { _ in [] }) async throws {
      listener = try await Listener.bind(.host("127.0.0.1", 0), on: network)
      guard case .host(_, let port) = listener.endpoint else { throw CancellationError() }
      self.port = port
      let running = Task { [listener] in
        await listener.run { connection in
          self.connections.withLock { $0 += 1 }
          var buffer = ByteWriter()
          while let value = try await forwardValue(connection, &buffer) {
            self.messages.withLock { $0.append(value) }
            guard let bytes = answer(value) else { return }
            if !bytes.isEmpty { try await connection.write(bytes) }
          }
        }
      }
      task.withLock { $0 = running }
    }
    func stop() async {
      let running = task.withLock { $0.take() }
      running?.cancel()
      await running?.value
    }
    var count: Int { messages.withLock { $0.count } }

    /// Acknowledges as in_forward does.
    static let ack: @Sendable (Value) -> [UInt8]? = { ForwardProtocolTests.message(["ack": $0.array?.last?["chunk"] ?? nil]) }
  }

  func output(_ network: Network, _ lines: String) async throws -> (ForwardOutput, PluginDriver) {
    var driver = PluginDriver(builtins)
    driver.services = [network]
    let output = try driver.make(ForwardOutput.self, "heartbeat_type none\nconnect_timeout 5\n" + lines)
    try await output.prepare()
    return (output, driver)
  }
  func server(_ port: Int, _ lines: String = "") -> String { "<server>\nhost 127.0.0.1\nport \(port)\n\(lines)\n</server>\n" }
  func chunk(_ batches: [EventBatch]) -> ChunkView { ChunkView(id: .random(), metadata: ChunkMetadata(tag: batches.first?.tag), batches: batches) }
  func failure(_ body: () async throws(WriteError) -> Void) async -> String? {
    do throws(WriteError) { try await body() } catch { return error.description }
    return nil
  }

  @Test func `a chunk is done when it is acknowledged; one message a tag, each with an id of its own`() async throws {
    try await withForwardNetwork { network in
      let server = try await Server(network, Server.ack)
      let (output, _) = try await output(network, "require_ack_response true\n" + self.server(server.port))
      let batches = [
        try EventBatch.json([#"{"i":1}"#], tag: "a"), try EventBatch.json([#"{"i":2}"#], tag: "b"), try EventBatch.json([#"{"i":3}"#], tag: "a"),
      ]
      try await output.write(chunk(batches))
      let messages = server.messages.withLock { $0 }
      #expect(messages.map { $0.array?.first } == ["a", "b"])
      #expect(messages.map { $0.array?.last?["size"] } == [2, 1])
      #expect(Set(messages.map { $0.array?.last?["chunk"]?.text ?? "" }).count == 2)
      await output.close()
      await server.stop()
    }
  }

  @Test(arguments: ["text", "gzip", "zstd"])
  func `what is sent is what in_forward takes`(_ compress: String) async throws {
    try await withForwardNetwork { network in
      let server = try await Server(network)
      let (output, _) = try await output(network, "compress \(compress)\nkeepalive true\n" + self.server(server.port))
      let batches = try (0..<300).map { try EventBatch.json((0..<100).map { #"{"n":\#($0),"text":"0123456789012345678901234567890"}"# }, time: EventTime(seconds: 1_700_000_000 + Int64($0))) }
      try await output.write(chunk(batches))
      try await output.write(chunk([batches[0]]))
      await forwardEventually("both messages") { server.count == 2 }
      let sent = server.messages.withLock { $0 }
      #expect(sent.first?.array?.last?["compressed"] == Value(compress))
      #expect(ForwardProtocolTests.read(sent.map { ForwardProtocolTests.message($0) }, limit: 64 << 20) == 30_100)
      #expect(server.connections.withLock { $0 } == 1, "keepalive")
      await output.close()
      await server.stop()
    }
  }

  @Test func `a server that refuses, closes, answers garbage or nothing is passed over`() async throws {
    try await withForwardNetwork { network in
      let answers: [@Sendable (Value) -> [UInt8]?] = [
        { _ in nil }, { _ in [0xc1] }, { _ in [] }, { _ in ForwardProtocolTests.message(["ack": "another"]) }, { _ in [0x01] },
      ]
      let good = try await Server(network, Server.ack)
      let refused = Int(TestPort.free())
      for answer in answers {
        let bad = try await Server(network, answer)
        let (output, _) = try await output(
          network, "require_ack_response true\nack_response_timeout 8\n" + server(bad.port) + server(refused) + server(good.port))
        var written = 0
        let before = good.count
        while bad.count == 0, written < 100 {
          try await output.write(chunk([try .json([#"{"i":1}"#])]))
          written += 1
        }
        #expect(good.count - before == written)
        #expect(bad.count == 1)
        await output.close()
        await bad.stop()
      }
      await good.stop()
    }
  }

  @Test func `without a server left the error says what happened to the last`() async throws {
    try await withForwardNetwork { network in
      let refused = Int(TestPort.free())
      let (output, _) = try await output(network, server(refused))
      let text = await failure { () async throws(WriteError) in try await output.write(chunk([try! .json([#"{"i":1}"#])])) }
      #expect(text?.contains("connection refused (127.0.0.1:\(refused))") == true)
      await output.close()
    }
  }

  @Test func `a kept connection that the server closed is not written to`() async throws {
    try await withForwardNetwork { network in
      let server = try await Server(network) { _ in nil }
      let (output, _) = try await output(network, "keepalive true\n" + self.server(server.port))
      for sent in 1...3 {
        try await output.write(chunk([try .json([#"{"i":1}"#])]))
        await forwardEventually("message \(sent)") { server.count == sent }
        try await Task.sleep(for: .milliseconds(50))
      }
      #expect(server.connections.withLock { $0 } == 3)
      await output.close()
      await server.stop()
    }
  }

  @Test func `heartbeats take a failed server out, use the standby, and bring it back`() async throws {
    try await withForwardNetwork { network in
      let standby = try await Server(network)
      let port = Int(TestPort.free())
      var driver = PluginDriver(builtins)
      driver.services = [network]
      let lines = "heartbeat_interval 0.02\nhard_timeout 0.5\nrecover_wait 0.1\n" + server(port) + server(standby.port, "standby true")
      let output = try driver.make(ForwardOutput.self, lines)
      try await output.prepare()
      let task = Task { await output.run() }
      let text = await failure { () async throws(WriteError) in try await output.write(chunk([try! .json([#"{"i":1}"#])])) }
      #expect(text?.contains("refused") == true)
      var isTaken = false
      for _ in 0..<500 where !isTaken {
        isTaken = await failure { () async throws(WriteError) in try await output.write(chunk([try! .json([#"{"i":1}"#])])) } == nil
        try await Task.sleep(for: .milliseconds(10))
      }
      await forwardEventually("the standby gets it") { standby.count == 1 }
      task.cancel()
      await task.value
      await output.close()
      await standby.stop()
    }
  }

  @Test func `in_forward and out_forward know each other by the shared key, and UDP heartbeats are answered`() async throws {
    try await withForwardNetwork { network in
      let port = Int(TestPort.free())
      var driver = PluginDriver(builtins)
      driver.services = [network]
      let security = "shared_key k\n</security>\n"
      let input = try driver.make(ForwardInput.self, "port \(port)\nbind 127.0.0.1\n<security>\nself_hostname in\nuser_auth true\n<user>\nusername u\npassword p\n</user>\n" + security)
      let sink = driver.sink
      let receiving = Task { try await input.run(Emitter(sink)) }
      try await Task.sleep(for: .milliseconds(100))
      for (password, hostname, wanted) in [("p", "out", nil), ("q", "out", "username/password mismatch"), ("p", "in", "same hostname")] {
        let (output, _) = try await output(
          network, "require_ack_response true\n<security>\nself_hostname \(hostname)\n" + security + server(port, "username u\npassword \(password)"))
        let text = await failure { () async throws(WriteError) in try await output.write(chunk([try! .json([#"{"i":1}"#])])) }
        if let wanted { #expect(text?.contains(wanted) == true, "\(text ?? "")") } else { #expect(text == nil, "\(text ?? "")") }
        await output.close()
      }
      #expect(sink.batches.map(\.count) == [1])

      let socket = try await DatagramSocket.bind(.host("127.0.0.1", 0), on: network)
      let peer = try #require(try await network.resolve("127.0.0.1", port: port).first)
      try await [0 as UInt8].sendAsDatagram(socket, peer)
      var batch = DatagramBatch()
      #expect(try await socket.receive(into: &batch) == 1)
      #expect(Array(batch.datagram(0)) == [0])
      await socket.close()
      receiving.cancel()
      try await receiving.value
    }
  }

  @Test func `services come from a file, which is read again`() async throws {
    try await withForwardNetwork { network in
      let first = try await Server(network)
      let second = try await Server(network)
      let path = FileManager.default.temporaryDirectory.path + "/agg-sd-\(UInt32.random(in: 0 ... .max)).yaml"
      defer { try? FileManager.default.removeItem(atPath: path) }
      try "- host: 127.0.0.1\n  port: \(first.port)\n  weight: 1\n".write(toFile: path, atomically: true, encoding: .utf8)
      let (output, _) = try await output(network, "<service_discovery>\n@type file\npath \(path)\n</service_discovery>")
      let task = Task { await output.run() }
      try await output.write(chunk([try .json([#"{"i":1}"#])]))
      await forwardEventually("the first server") { first.count == 1 }
      try #"[{"host": "127.0.0.1", "port": \#(second.port)}]"#.write(toFile: path, atomically: true, encoding: .utf8)
      for _ in 0..<1000 where second.count == 0 {
        try await output.write(chunk([try .json([#"{"i":1}"#])]))
        try await Task.sleep(for: .milliseconds(10))
      }
      #expect(second.count > 0)
      task.cancel()
      await task.value
      await output.close()
      await first.stop()
      await second.stop()
    }
  }

  @Test func `services come from a name server`() async throws {
    try await withForwardNetwork { network in
      let server = try await Server(network)
      let dns = try await DatagramSocket.bind(.host("127.0.0.1", 0), on: network)
      guard case .host(_, let port) = dns.endpoint else { return }
      // On threads of its own: the look-up blocks one of the few that all tests share.
      let answering = Task(executorPreference: BlockingPool()) {
        var batch = DatagramBatch()
        while try await dns.receive(into: &batch) > 0 {
          for (index, entry) in batch.entries.enumerated() {
            var out = ByteWriter()
            out.append(Self.answer(Array(batch.datagram(index)), port: server.port))
            try await dns.send(out.bytes, to: entry.peer)
          }
        }
      }
      let (output, _) = try await output(
        network, "<service_discovery>\n@type srv\nservice fluent\nhostname example.test\ndns_server_host 127.0.0.1:\(port)\n</service_discovery>")
      try await output.write(chunk([try .json([#"{"i":1}"#])]))
      await forwardEventually("the message") { server.count == 1 }
      await output.close()
      answering.cancel()
      await dns.close()
      await server.stop()
    }
  }

  /// For a question of type SRV one record whose target is n1.example.test, for type A 127.0.0.1.
  static func answer(_ query: [UInt8], port: Int) -> [UInt8] {
    var end = 12
    while end < query.count, query[end] != 0 { end += 1 + Int(query[end]) }
    end += 5
    guard end <= query.count else { return [] }
    let isService = query[end - 3] == 33
    let target: [UInt8] = [2] + Array("n1".utf8) + [7] + Array("example".utf8) + [4] + Array("test".utf8) + [0]
    let data: [UInt8] = isService ? [0, 1, 0, 10, UInt8(port >> 8), UInt8(port & 255)] + target : [127, 0, 0, 1]
    let head: [UInt8] = Array(query[..<2]) + [0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]
    return head + Array(query[12..<end]) + [0xc0, 12, 0, isService ? 33 : 1, 0, 1, 0, 0, 0, 60, 0, UInt8(data.count)] + data
  }

  @Test func `what the configuration must not say`() throws {
    func message(_ lines: String, tagged: Bool = true) -> String {
      var driver = PluginDriver(builtins)
      if !tagged { driver.chunkKeys = ChunkKeys() }
      do {
        _ = try driver.make(ForwardOutput.self, lines)
        return ""
      } catch { return "\(error)" }
    }
    let server = "<server>\nhost 127.0.0.1\n</server>"
    #expect(message(server) == "")
    #expect(message("").contains("requires at least one node"))
    #expect(message(server, tagged: false).contains("buffer chunk key must include 'tag'"))
    #expect(message("heartbeat_type udp\ndns_round_robin true\n" + server).contains("to use dns_round_robin option"))
    #expect(message("send_keepalive_packet true\n" + server).contains("Enable 'keepalive'"))
    #expect(message("host 127.0.0.1\n" + server).contains("test.conf:2: 'host' parameter is already removed"))
    #expect(message("transport tls\ntls_cert_path /none.pem\n" + server).contains("specified cert path does not exist:/none.pem"))
    #expect(message("<service_discovery>\n@type consul\n</service_discovery>").contains("unknown service discovery 'consul'"))
    #expect(message("<service_discovery>\n@type file\npath /none\n</service_discovery>").contains("sd_file: path=/none not found"))
  }
}

extension [UInt8] {
  fileprivate func sendAsDatagram(_ socket: DatagramSocket, _ peer: PeerAddress) async throws {
    var writer = ByteWriter()
    writer.append(self)
    try await socket.send(writer.bytes, to: peer)
  }
}
