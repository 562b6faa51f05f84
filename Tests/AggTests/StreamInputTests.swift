import AggCore
import AggNet
import AggPlugins
import AggTesting
import Foundation
import Testing

@Suite struct StreamInputTests {
  static let fixtures = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().appending(path: "fixtures/tls").path

  /// Sends the pieces over one connection, waiting a little between them, and closes it.
  static func send(_ pieces: [String], to endpoint: Endpoint, tls: TLSClientConfiguration? = nil) async throws {
    try await withClient { network in
      var options = ConnectOptions()
      options.tls = tls
      let connection = try await network.connect(endpoint, options)
      for (index, piece) in pieces.enumerated() {
        if index > 0 { try await Task.sleep(for: .milliseconds(30)) }
        try await connection.send(piece)
      }
      try? await connection.closeOutput()
      _ = try? await connection.receiveAll()
      await connection.close()
    }
  }

  static func tcp(_ config: String, _ pieces: [String], wait: Int) async throws -> InputBench {
    let bench = try InputBench()
    try await bench.running(TCPInput.self, "tag t\nport PORT\nbind 127.0.0.1\n" + config) {
      try await send(pieces, to: .host("127.0.0.1", Int(bench.port)))
      _ = try await bench.events(wait)
    }
    return bench
  }
  static let none = "<parse>\n@type none\n</parse>"

  @Test func `a record may come in pieces and a bad one is counted alone`() async throws {
    let bench = try await Self.tcp("<parse>\n@type json\n</parse>", ["{\"a\":1}\n{\"b\"", ":2}\nrubbish\n{\"c\":3}\n"], wait: 3)
    #expect(bench.events == ["t {\"a\":1}", "t {\"b\":2}", "t {\"c\":3}"])
    #expect(bench.counters.snapshot()[.rejected] == 1)
    #expect(bench.log.lines.contains { $0.contains("pattern not matched") && $0.contains("rubbish") })
  }

  @Test func `a delimiter of several bytes may be cut between two segments`() async throws {
    let bench = try await Self.tcp("delimiter \"#!\"\n" + Self.none, ["one#!two#", "!th#ree#!", "rest"], wait: 3)
    #expect(bench.events == ["t {\"message\":\"one\"}", "t {\"message\":\"two\"}", "t {\"message\":\"th#ree\"}"])
  }

  @Test func `a record without a delimiter at the end is dropped and counted`() async throws {
    let bench = try await Self.tcp(Self.none, ["one\ntwo"], wait: 1)
    #expect(bench.events == ["t {\"message\":\"one\"}"])
    #expect(bench.counters.snapshot()[.rejected] == 1)
  }

  @Test func `a record that is too long is skipped whether it came whole or in pieces`() async throws {
    let long = String(repeating: "x", count: 40)
    let bench = try await Self.tcp(
      "message_length_limit 10\n" + Self.none, ["short\n\(long)\nok\n", long, long, "\nlast\n"], wait: 3)
    #expect(bench.events == ["t {\"message\":\"short\"}", "t {\"message\":\"ok\"}", "t {\"message\":\"last\"}"])
    #expect(bench.counters.snapshot()[.rejected] == 2)
  }

  @Test func `the source's address is a field, also in place of one that is there`() async throws {
    let bench = try await Self.tcp("source_address_key ip\n<parse>\n@type json\n</parse>", ["{\"ip\":1,\"a\":2}\n{\"b\":3}\n"], wait: 2)
    #expect(bench.events == ["t {\"ip\":\"127.0.0.1\",\"a\":2}", "t {\"b\":3,\"ip\":\"127.0.0.1\"}"])
  }

  @Test(arguments: [("127.0.0.0/8", 1), ("10.0.0.0/8", 0), ("127.0.0.0/255.0.0.0", 1)])
  func `only clients of the list may connect`(network: String, count: Int) async throws {
    let bench = try InputBench()
    let config = "tag t\nport PORT\nbind 127.0.0.1\n<security>\n<client>\nnetwork \(network)\n</client>\n</security>\n" + Self.none
    try await bench.running(TCPInput.self, config) {
      try? await Self.send(["one\n"], to: .host("127.0.0.1", Int(bench.port)))
      try await bench.until { bench.events.count == count && (count > 0 || bench.log.lines.contains { $0.contains("denied") }) }
    }
    #expect(bench.events.count == count)
  }

  @Test func `TLS with a client certificate`() async throws {
    let bench = try InputBench()
    let config = """
      tag t
      port PORT
      bind 127.0.0.1
      <transport tls>
        cert_path \(Self.fixtures)/server.pem
        private_key_path \(Self.fixtures)/server.key
        ca_path \(Self.fixtures)/ca.pem
        client_cert_auth true
        min_version TLS1_2
        max_version TLS1_3
      </transport>
      \(Self.none)
      """
    var tls = TLSClientConfiguration()
    tls.caPaths = [Self.fixtures + "/ca.pem"]
    tls.verifiesHostName = false
    let anonymous = tls
    tls.certificatePath = Self.fixtures + "/client.pem"
    tls.privateKeyPath = Self.fixtures + "/client.key"
    let known = tls
    try await bench.running(TCPInput.self, config) {
      let endpoint = Endpoint.host("127.0.0.1", Int(bench.port))
      try? await Self.send(["nobody\n"], to: endpoint, tls: anonymous)
      try await Self.send(["known\n"], to: endpoint, tls: known)
      _ = try await bench.events(1)
    }
    #expect(bench.events == ["t {\"message\":\"known\"}"])
  }

  @Test(arguments: [
    ("<transport tls>\n</transport>", "cert_path"), ("<transport tls>\ninsecure true\n</transport>", "makes no certificates"),
    ("<transport tls>\ncert_path /x\n</transport>", "private_key_path"), ("<transport udp>\n</transport>", "unknown here"),
    ("<transport tls>\ncert_path /x\nprivate_key_path /y\ncert_verifier z\n</transport>", "Ruby"),
    ("<transport tls>\ncert_path /x\nprivate_key_path /y\nmin_version TLS1_2\n</transport>", "together"),
    ("<security>\n<client>\nnetwork 300.1.1.1/8\n</client>\n</security>", "no network"),
    ("<security>\n<client>\n</client>\n</security>", "either"),
  ])
  func `what cannot work is an error when it is read`(section: String, text: String) throws {
    let bench = try InputBench()
    let error = #expect(throws: (any Error).self) { _ = try bench.make(TCPInput.self, "tag t\n\(section)\n\(Self.none)") }
    #expect("\(String(describing: error))".contains(text))
  }

  @Test func `a batch that a full buffer refuses is lost, counted and told`() async throws {
    let bench = try InputBench()
    bench.refusal.withLock { $0 = .full("out") }
    try await bench.running(TCPInput.self, "tag t\nport PORT\nbind 127.0.0.1\n" + Self.none) {
      try await Self.send(["one\ntwo\n"], to: .host("127.0.0.1", Int(bench.port)))
      try await bench.until { bench.counters.snapshot()[.lost] == 2 }
    }
    #expect(bench.log.lines.contains { $0.contains("2 events were not taken: buffer of out is full") })
  }

  @Test func `datagrams are records whatever is in them`() async throws {
    let bench = try InputBench()
    try await bench.running(UDPInput.self, "tag u\nport PORT\nbind 127.0.0.1\nsource_address_key from\nmessage_length_limit 20\n" + Self.none) {
      sendDatagrams(["first\r\n", "second\ninner", "", "last\n\n", String(repeating: "y", count: 30)], to: bench.port)
      _ = try await bench.events(5)
    }
    #expect(
      bench.events == ["first", "second\\ninner", "", "last\\n", String(repeating: "y", count: 20)].map {
        "u {\"message\":\"\($0)\",\"from\":\"127.0.0.1\"}"
      })
  }

  @Test func `a JSON datagram may hold line breaks, and a bad one is counted`() async throws {
    let bench = try InputBench()
    try await bench.running(UDPInput.self, "tag u\nport PORT\nbind 127.0.0.1\nremove_newline false\n<parse>\n@type json\n</parse>") {
      sendDatagrams(["{\"a\":\n1}", "no", "{\"b\":2}"], to: bench.port)
      _ = try await bench.events(2)
    }
    #expect(bench.events == ["u {\"a\":1}", "u {\"b\":2}"])
    #expect(bench.counters.snapshot()[.rejected] == 1)
  }

  static func unix(_ config: String, _ pieces: [[UInt8]], wait: Int) async throws -> InputBench {
    let bench = try InputBench()
    let path = "/tmp/agg-\(UInt32.random(in: 0...UInt32.max))/in.sock"
    try await bench.running(UnixInput.self, "path \(path)\n" + config) {
      try await withClient { network in
        let connection = try await network.connect(.unix(path))
        for piece in pieces {
          try await connection.write(piece)
          try await Task.sleep(for: .milliseconds(20))
        }
        try? await connection.closeOutput()
        _ = try? await connection.receiveAll()
        await connection.close()
      }
      _ = try await bench.events(wait)
    }
    try? FileManager.default.removeItem(atPath: String(path.dropLast(8)))
    return bench
  }
  static func packed(_ value: Value) -> [UInt8] {
    var out = ByteWriter()
    value.encode(into: &out)
    return out.array
  }

  @Test func `MessagePack over a unix socket in all three shapes, cut anywhere`() async throws {
    let entry = Self.packed([1_700_000_003, ["d": 4]])
    let all =
      Self.packed(["u.one", 1_700_000_000, ["a": 1]]) + Self.packed(["u.one", nil, ["b": 2]])
      + Self.packed(["u.two", [[1_700_000_002, ["c": 3]], ["no"]]]) + Self.packed(["u.three", .binary(entry)])
    let bench = try await Self.unix("", [Array(all[..<7]), Array(all[7..<40]), Array(all[40...])], wait: 4)
    #expect(bench.events == ["u.one {\"a\":1}", "u.one {\"b\":2}", "u.two {\"c\":3}", "u.three {\"d\":4}"])
    #expect(bench.counters.snapshot()[.rejected] == 1)
  }

  @Test func `JSON over a unix socket, and a broken stream ends its connection`() async throws {
    let text = "[\"j\",1700000000,{\"a\":1}] [\"j\",[[1700000001,{\"b\":2}]]]\n[\"j\",0"
    let bench = try await Self.unix("tag mine", [Array(text.utf8), Array(",{\"c\":3}] nonsense]".utf8)], wait: 3)
    #expect(bench.events == ["mine {\"a\":1}", "mine {\"b\":2}", "mine {\"c\":3}"])
    #expect(bench.log.lines.contains { $0.contains("not JSON") })
  }
}
