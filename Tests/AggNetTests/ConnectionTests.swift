import AggCore
import AggNet
import Testing

@Suite(.timeLimit(.minutes(1))) struct ConnectionTests {
  @Test func `a refused connection, an unknown host and a missing socket file say so`() async throws {
    try await withNetwork { network in
      let listener = try await Listener.bind(.host("127.0.0.1", 0), on: network)
      await listener.close()
      do {
        _ = try await network.connect(listener.endpoint)
        Issue.record("connected")
      } catch let error as NetworkError {
        #expect(error.description == "connection refused (\(listener.endpoint))")
      }
      #expect(await code { _ = try await network.connect(.host("name.invalid", 1)) } == .unknownHost)
      #expect(await code { _ = try await network.connect(.unix("/nonexistent/socket")) } == .refused)
      #expect(await code { _ = try await network.connect(.host("127.0.0.1", 70_000)) } == .configuration)
    }
  }

  @Test func `a name is connected to through its address`() async throws {
    try await withNetwork { network in
      let listener = try await Listener.bind(.host("localhost", 0), on: network)
      try await serving(listener, echo) {
        let connection = try await network.connect(listener.endpoint)
        try await connection.send("x")
        #expect(try await text(connection, count: 1) == "x")
        await connection.close()
      }
      let addresses = try await network.resolve("localhost", port: 5)
      #expect(addresses.contains { ["127.0.0.1", "::1"].contains($0.ip) && $0.port == 5 })
    }
  }

  @Test func `a read that brings nothing in time throws and the connection stays good`() async throws {
    try await withNetwork { network in
      let listener = try await Listener.bind(.host("127.0.0.1", 0), on: network)
      try await serving(listener, echo) {
        let connection = try await network.connect(listener.endpoint)
        #expect(
          await code {
            var writer = ByteWriter()
            _ = try await connection.read(into: &writer, timeout: .milliseconds(30))
          } == .timeout)
        try await connection.send("later")
        #expect(try await text(connection, count: 5) == "later")
        await connection.close()
      }
    }
  }

  @Test func `an idle connection times out`() async throws {
    try await withNetwork { network in
      var options = ListenOptions()
      options.idleTimeout = .milliseconds(30)
      let listener = try await Listener.bind(.host("127.0.0.1", 0), options, on: network)
      try await serving(listener, echo) {
        let connection = try await network.connect(listener.endpoint)
        #expect(try await rest(connection) == "")
        await connection.close()
      }
    }
  }

  @Test func `cancelling the task of an outgoing connection ends its read`() async throws {
    try await withNetwork { network in
      let listener = try await Listener.bind(.host("127.0.0.1", 0), on: network)
      try await serving(listener, echo) {
        let connection = try await network.connect(listener.endpoint)
        let reader = Task {
          var writer = ByteWriter()
          return try await connection.read(into: &writer)
        }
        reader.cancel()
        await #expect(throws: CancellationError.self) { try await reader.value }
        await connection.close()
      }
    }
  }

  @Test func `many megabytes arrive whole and in order`() async throws {
    try await withNetwork { network in
      let listener = try await Listener.bind(.host("127.0.0.1", 0), on: network)
      let serve: @Sendable (Connection) async throws -> Void = { connection in
        var writer = ByteWriter()
        var (expected, total): (UInt8, Int) = (0, 0)
        while try await connection.read(into: &writer) > 0 {
          for byte in writer.bytes {
            guard byte == expected else { return try await connection.send("wrong at \(total)") }
            expected &+= 1
            total += 1
          }
          writer.removeAll()
        }
        try await connection.send("\(total)")
      }
      let answer = try await serving(listener, serve) {
        let connection = try await network.connect(listener.endpoint)
        let block = (0..<1 << 20).map { UInt8(truncatingIfNeeded: $0) }
        for _ in 0..<8 { try await connection.write(block) }
        try await connection.closeOutput()
        let answer = try await rest(connection)
        await connection.close()
        return answer
      }
      #expect(answer == "\(8 << 20)")
    }
  }
}
