import AggCore
import AggNet
import AggTesting
import Foundation
import Testing

/// Serves while `body` runs; answers with what was asked.
private func serving(
  _ options: HTTPServerOptions = HTTPServerOptions(), _ body: (Network, Endpoint) async throws -> Void
) async throws {
  try await withNetwork { network in
    let server = try await HTTPServer.bind(.host("127.0.0.1", 0), options, on: network)
    let task = Task {
      await server.run { request in
        let body = String(decoding: request.body.bytes, as: UTF8.self)
        return HTTPResponse(200, text: "\(request.method) \(request.path) \(request.query ?? "-") \(body)")
      }
    }
    defer { task.cancel() }
    try await body(network, server.endpoint)
    task.cancel()
    await task.value
  }
}

extension Network {
  /// Sends raw bytes and returns all that comes until the server closes.
  fileprivate func exchange(_ endpoint: Endpoint, _ text: String) async throws -> String {
    let connection = try await connect(endpoint)
    try await connection.send(text)
    let answer = try await rest(connection)
    await connection.close()
    return answer
  }
}

@Suite(.timeLimit(.minutes(1))) struct HTTPServerTests {
  @Test func `a request is handed on whole and answered`() async throws {
    try await serving { network, endpoint in
      let answer = try await network.exchange(
        endpoint, "POST /tag.x?time=1 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
      #expect(
        answer == "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 24\r\nConnection: close\r\n\r\n"
          + "POST /tag.x time=1 hello")
    }
  }

  @Test func `a connection serves several requests`() async throws {
    try await serving { network, endpoint in
      let connection = try await network.connect(endpoint)
      for path in ["/a", "/b", "/c"] {
        try await connection.send("GET \(path) HTTP/1.1\r\nHost: a\r\n\r\n")
        let expected = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 9\r\n\r\nGET \(path) - "
        #expect(try await text(connection, count: expected.utf8.count) == expected)
      }
      await connection.close()
    }
  }

  @Test func `pipelined requests are answered in order, an upgrade is ignored`() async throws {
    try await serving { network, endpoint in
      let requests = (0..<50).map { "POST /\($0) HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx" }.joined()
      let last = "GET /last HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
      let answer = try await network.exchange(endpoint, requests + last)
      let paths = answer.components(separatedBy: "\r\n\r\n").dropFirst().map { $0.split(separator: " ")[1] }
      #expect(paths == (0..<50).map { "/\($0)" } + ["/last"])
    }
  }

  @Test func `a chunked body arrives in one piece`() async throws {
    try await serving { network, endpoint in
      let answer = try await network.exchange(
        endpoint,
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n")
      #expect(answer.hasSuffix("POST / - abcdefg"))
    }
  }

  @Test(arguments: [
    "Content-Length: 2000000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\nC8\r\n" + String(repeating: "x", count: 200) + "\r\n",
    "Expect: 100-continue\r\nContent-Length: 2000000\r\n\r\n",
  ])
  func `a body over the limit is refused with 413 and the answer is not lost`(_ rest: String) async throws {
    var options = HTTPServerOptions()
    options.bodyLimit = 100
    try await serving(options) { network, endpoint in
      let answer = try await network.exchange(
        endpoint, "POST / HTTP/1.1\r\nHost: a\r\n" + rest + String(repeating: "y", count: 500_000))
      #expect(answer.hasPrefix("HTTP/1.1 413 Payload Too Large\r\n"))
      #expect(answer.contains("Connection: close\r\n"))
    }
  }

  @Test(arguments: [
    "nonsense\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\n : b\r\n\r\n", "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}",
  ])
  func `a malformed request is answered with 400 and the connection ends`(_ request: String) async throws {
    try await serving { network, endpoint in
      let answer = try await network.exchange(endpoint, request)
      #expect(answer.hasPrefix("HTTP/1.1 400 Bad Request\r\n"))
    }
  }

  @Test func `headers over the limit are refused with 431`() async throws {
    try await serving { network, endpoint in
      let field = "X: " + String(repeating: "x", count: 70_000)
      let long = try await network.exchange(endpoint, "GET / HTTP/1.1\r\n\(field)\r\n\r\n")
      #expect(long.hasPrefix("HTTP/1.1 431 "))
      let fields = String(repeating: "X: y\r\n", count: 200)
      let many = try await network.exchange(endpoint, "GET / HTTP/1.1\r\n\(fields)\r\n")
      #expect(many.hasPrefix("HTTP/1.1 431 "))
    }
  }

  @Test func `without memory a request with a body gets 503, and its connection goes on`() async throws {
    var options = HTTPServerOptions()
    options.needsMemory = true
    try await serving(options) { network, endpoint in
      let budget = MemoryBudget(TimerQueue())
      network.memory = budget
      let held = Block(copying: UnsafeRawBufferPointer(start: nil, count: 0))
      // The server was bound before: connections that are accepted from now on know the budget.
      let connection = try await network.connect(endpoint)
      let post = "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
      for isShort in [false, true, false] {
        budget.setLimit(isShort ? 1 : .max, log: Log(writer: SilentLog()))
        while !isShort, !budget.admits() { try await Task.sleep(for: .milliseconds(10)) }
        try await connection.send(post)
        let answer = isShort ? "HTTP/1.1 503 Service Unavailable\r\n" : "HTTP/1.1 200 OK\r\n"
        let length = isShort ? 20 : 15
        let head = "\(answer)Content-Type: text/plain\r\nContent-Length: \(length)\r\n\r\n"
        let got = try await text(connection, count: head.utf8.count + length)
        #expect(got.hasPrefix(head))
        guard isShort else { continue }
        // What has no body needs none.
        try await connection.send("GET /b HTTP/1.1\r\nHost: a\r\n\r\n")
        let other = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 9\r\n\r\nGET /b - "
        #expect(try await text(connection, count: other.utf8.count) == other)
      }
      await connection.close()
      withExtendedLifetime(held) {}
    }
  }

  @Test func `a client that expects 100-continue is told to send`() async throws {
    try await serving { network, endpoint in
      let connection = try await network.connect(endpoint)
      try await connection.send(
        "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\nConnection: close\r\n\r\n")
      #expect(try await text(connection, count: 25) == "HTTP/1.1 100 Continue\r\n\r\n")
      try await connection.send("hi")
      let answer = try await rest(connection)
      #expect(answer.hasSuffix("POST / - hi"))
      await connection.close()
      let other = try await network.exchange(endpoint, "GET / HTTP/1.1\r\nHost: a\r\nExpect: wonders\r\n\r\n")
      #expect(other.hasPrefix("HTTP/1.1 417 "))
    }
  }

  @Test func `an idle connection is closed, one amid a request gets 408`() async throws {
    var options = HTTPServerOptions()
    options.idleTimeout = .milliseconds(50)
    try await serving(options) { network, endpoint in
      #expect(try await network.exchange(endpoint, "") == "")
      let answer = try await network.exchange(endpoint, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab")
      #expect(answer.hasPrefix("HTTP/1.1 408 "))
    }
  }

  @Test func `HTTP 1.0 closes unless asked, HEAD has no body`() async throws {
    try await serving { network, endpoint in
      let old = try await network.exchange(endpoint, "GET /a HTTP/1.0\r\n\r\n")
      #expect(old.hasSuffix("GET /a - "))
      let head = try await network.exchange(endpoint, "HEAD /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
      #expect(head.hasSuffix("Content-Length: 10\r\nConnection: close\r\n\r\n"))
    }
  }

  @Test func `a line break in an answer's field cannot make another field`() async throws {
    try await withNetwork { network in
      let server = try await HTTPServer.bind(.host("127.0.0.1", 0), on: network)
      let task = Task { await server.run { _ in HTTPResponse(200, fields: ["X": "a\r\nEvil: b"]) } }
      let answer = try await network.exchange(server.endpoint, "GET / HTTP/1.0\r\n\r\n")
      #expect(answer.contains("X: a  Evil: b\r\n"))
      task.cancel()
      await task.value
    }
  }

  @Test func `cancelling answers the request that has begun`() async throws {
    try await withNetwork { network in
      let server = try await HTTPServer.bind(.host("127.0.0.1", 0), on: network)
      let (begun, gate) = (Gate(), Gate())
      let task = Task {
        await server.run { _ in
          begun.open()
          await gate.wait()
          return HTTPResponse(200, text: "late")
        }
      }
      let connection = try await network.connect(server.endpoint)
      try await connection.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
      await begun.wait()
      task.cancel()
      gate.open()
      let answer = try await rest(connection)
      #expect(answer.hasSuffix("Connection: close\r\n\r\nlate"))
      await connection.close()
      await task.value
    }
  }

  @Test func `the next server of an endpoint takes over the socket`() async throws {
    try await withNetwork { network in
      let first = try await HTTPServer.bind(.host("127.0.0.1", 0), on: network)
      await first.close(keepingSocket: true)
      let waiting = try await network.connect(first.endpoint)
      try await waiting.send("GET / HTTP/1.0\r\n\r\n")
      let second = try await HTTPServer.bind(first.endpoint, on: network)
      let task = Task { await second.run { _ in HTTPResponse(200, text: "second") } }
      let answer = try await rest(waiting)
      #expect(answer.hasSuffix("second"))
      await waiting.close()
      task.cancel()
      await task.value
    }
  }
}
