import AggCore
import AggNet
import Foundation
import Synchronization
import Testing

/// A server that echoes the request while `body` runs.
private func serving(
  _ options: HTTPServerOptions = HTTPServerOptions(), _ body: (Network, Int) async throws -> Void
) async throws {
  try await withNetwork { network in
    let server = try await HTTPServer.bind(.host("127.0.0.1", 0), options, on: network)
    guard case .host(_, let port) = server.endpoint else { return }
    let task = Task {
      await server.run { request in
        HTTPResponse(
          201,
          fields: ["X-Method": request.method, "X-Agent": request.fields["user-agent"] ?? "", "X-Peer": "\(request.peer.port)"],
          body: [UInt8](request.body.bytes))
      }
    }
    defer { task.cancel() }
    try await body(network, port)
    task.cancel()
    await task.value
  }
}

@Suite(.timeLimit(.minutes(1))) struct HTTPClientTests {
  @Test func `a request and its reply arrive whole, over one kept connection`() async throws {
    try await serving { network, port in
      let client = HTTPClient(on: network)
      var ports = Set<String>()
      for size in [0, 5, 300_000] {
        let body = [UInt8](repeating: 120, count: size)
        let reply = try await client.send(
          HTTPRequest("POST", "http://127.0.0.1:\(port)/a?b=c", fields: ["User-Agent": "agg"], body: body))
        #expect(reply.status == 201)
        #expect(reply.fields["x-method"] == "POST")
        #expect(reply.fields["x-agent"] == "agg")
        #expect(reply.body == body)
        ports.insert(reply.fields["x-peer"] ?? "")
      }
      #expect(ports.count == 1)
    }
  }

  @Test func `refused, unknown, too large and unusable are told apart`() async throws {
    try await serving { network, port in
      let client = HTTPClient(on: network)
      let listener = try await Listener.bind(.host("127.0.0.1", 0), on: network)
      await listener.close()
      guard case .host(_, let unused) = listener.endpoint else { return }
      do {
        _ = try await client.send(HTTPRequest("GET", "http://127.0.0.1:\(unused)/"))
        Issue.record("answered")
      } catch let error as NetworkError {
        #expect(error.code == .refused)
        #expect(error.description == "connection refused (http://127.0.0.1:\(unused)/)")
      }
      #expect(await code { _ = try await client.send(HTTPRequest("GET", "http://name.invalid/")) } == .unknownHost)
      #expect(await code { _ = try await client.send(HTTPRequest("GET", "no url")) } == .configuration)
      var request = HTTPRequest("POST", "http://127.0.0.1:\(port)/", body: [UInt8](repeating: 1, count: 1000))
      request.replyLimit = 100
      #expect(await code { _ = try await client.send(request) } == .tooLarge)
    }
  }

  @Test func `a server that does not answer in time, or not in HTTP, is an error`() async throws {
    try await withNetwork { network in
      let listener = try await Listener.bind(.host("127.0.0.1", 0), on: network)
      guard case .host(_, let port) = listener.endpoint else { return }
      let client = HTTPClient(on: network)
      let serve: @Sendable (Connection) async throws -> Void = { connection in
        let request = try await text(connection, count: 8)
        if request.hasPrefix("GET /bad") { try await connection.send("hello\r\n\r\n") }
        if request.hasPrefix("GET /end") { return }
        _ = try await rest(connection)
      }
      try await serving(listener, serve) {
        var request = HTTPRequest("GET", "http://127.0.0.1:\(port)/silent")
        request.timeout = .milliseconds(100)
        #expect(await code { _ = try await client.send(request) } == .timeout)
        #expect(await code { _ = try await client.send(HTTPRequest("GET", "http://127.0.0.1:\(port)/bad")) } == .malformed)
        #expect(await code { _ = try await client.send(HTTPRequest("GET", "http://127.0.0.1:\(port)/end")) } == .closed)
        await client.close()
      }
    }
  }

  @Test func `https asks for the configured trust`() async throws {
    let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().path + "/fixtures/tls/"
    var options = HTTPServerOptions()
    options.listen.tls = TLSServerConfiguration(certificatePath: folder + "server.pem", privateKeyPath: folder + "server.key")
    try await serving(options) { network, port in
      var trusting = HTTPClientOptions()
      trusting.tls = TLSClientConfiguration()
      trusting.tls?.caPaths = [folder + "ca.pem"]
      let client = HTTPClient(trusting, on: network)
      let reply = try await client.send(HTTPRequest("PUT", "https://localhost:\(port)/", body: [1, 2]))
      #expect(reply.body == [1, 2])
      await client.close()
      let other = HTTPClient(on: network)
      #expect(await code { _ = try await other.send(HTTPRequest("GET", "https://localhost:\(port)/")) } == .tls)
      await other.close()
    }
  }
}
