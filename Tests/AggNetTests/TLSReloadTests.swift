import AggCore
import AggNet
import Foundation
import Synchronization
import Testing

private func fixture(_ name: String) -> String {
  URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().path + "/fixtures/tls/\(name)"
}

/// A certificate and its key as files that a test exchanges.
private struct Files {
  let certificate = temporaryPath("server.pem")
  let key = temporaryPath("server.key")

  func put(_ name: String) throws {
    for (path, file) in [(certificate, "\(name).pem"), (key, "\(name).key")] {
      try Data(contentsOf: URL(fileURLWithPath: fixture(file))).write(to: URL(fileURLWithPath: path), options: .atomic)
    }
  }
  func put(certificate text: String) throws { try Data(text.utf8).write(to: URL(fileURLWithPath: certificate), options: .atomic) }
  func remove() {
    try? FileManager.default.removeItem(atPath: certificate)
    try? FileManager.default.removeItem(atPath: key)
  }
}

/// The server's certificate as a new client sees it, whatever it is.
private func served(_ endpoint: Endpoint, _ network: Network) async throws -> [UInt8]? {
  var options = ConnectOptions()
  var tls = TLSClientConfiguration()
  tls.isInsecure = true
  options.tls = tls
  let connection = try await network.connect(endpoint, options)
  let certificate = connection.tls?.peerCertificate
  await connection.close()
  return certificate
}

@Suite(.timeLimit(.minutes(1))) struct TLSReloadTests {
  @Test func `a changed certificate is for new connections, and one that is no good leaves the old one`() async throws {
    let files = Files()
    defer { files.remove() }
    try files.put("server")
    var options = ListenOptions()
    options.tls = TLSServerConfiguration(certificatePath: files.certificate, privateKeyPath: files.key)
    let notices = Mutex<[(isError: Bool, message: String)]>([])
    try await withNetwork { network in
      network.setNotices { isError, message in notices.withLock { $0.append((isError, message)) } }
      let listener = try await Listener.bind(.host("127.0.0.1", 0), options, on: network)
      try await serving(listener, echo) {
        let first = try await served(listener.endpoint, network)
        #expect(first != nil)
        var trusting = ConnectOptions()
        var tls = TLSClientConfiguration()
        tls.caPaths = [fixture("ca.pem")]
        tls.trustsSystem = false
        trusting.tls = tls
        let old = try await network.connect(listener.endpoint, trusting)
        try await old.send("a")
        #expect(try await text(old, count: 1) == "a")

        // The same files look the same, whoever asks.
        await network.checkCertificates()
        #expect(notices.withLock { $0.count } == 0)

        try files.put("self")
        await network.checkCertificates()
        let second = try await served(listener.endpoint, network)
        #expect(second != nil && second != first)
        #expect(notices.withLock { $0.map(\.isError) } == [false])
        try await old.send("b")
        #expect(try await text(old, count: 1) == "b")
        await old.close()

        // A certificate without its key, as between two steps of an exchange; then no certificate at all. Each is told once.
        try files.put(certificate: String(contentsOfFile: fixture("server.pem"), encoding: .utf8))
        for _ in 0..<3 { await network.checkCertificates() }
        #expect(try await served(listener.endpoint, network) == second)
        try files.put(certificate: "nothing")
        for _ in 0..<3 { await network.checkCertificates() }
        #expect(try await served(listener.endpoint, network) == second)
        #expect(notices.withLock { $0.map(\.isError) } == [false, true, true])

        try files.put("server")
        await network.checkCertificates()
        #expect(try await served(listener.endpoint, network) == first)
      }
    }
  }

  @Test func `a changed certificate is found without being told of it`() async throws {
    let files = Files()
    defer { files.remove() }
    try files.put("server")
    var options = HTTPServerOptions()
    options.listen.tls = TLSServerConfiguration(certificatePath: files.certificate, privateKeyPath: files.key)
    try await withNetwork { network in
      let server = try await HTTPServer.bind(.host("127.0.0.1", 0), options, on: network)
      let task = Task { await server.run { _ in HTTPResponse(200, text: "") } }
      let first = try await served(server.endpoint, network)
      try files.put("self")
      var now = try await served(server.endpoint, network)
      while now == first {
        try await Task.sleep(for: .milliseconds(100))
        now = try await served(server.endpoint, network)
      }
      #expect(now != nil)
      task.cancel()
      await task.value
      await server.close()
    }
  }

  @Test func `connections in their handshake count for the limit`() async throws {
    try await withNetwork { network in
      var options = ListenOptions()
      options.tls = TLSServerConfiguration(certificatePath: fixture("server.pem"), privateKeyPath: fixture("server.key"))
      options.maxConnections = 2
      options.handshakeTimeout = .milliseconds(300)
      let events = Mutex<[ConnectionEvent: Int]>([:])
      options.onEvent = { event in events.withLock { $0[event, default: 0] += 1 } }
      let listener = try await Listener.bind(.host("127.0.0.1", 0), options, on: network)
      try await serving(listener, echo) {
        var idle: [Connection] = []
        for _ in 0..<10 { idle.append(try await network.connect(listener.endpoint)) }
        // Two that say nothing end by their time, the others have been closed at once, unless they came after that.
        for connection in idle {
          await connection.waitForEnd()
          await connection.close()
        }
        let seen = events.withLock { $0 }
        let accepted = try #require(seen[.accepted])
        #expect((2..<10).contains(accepted) && seen == [.accepted: accepted, .refused: 10 - accepted, .timedOut: accepted, .ended: accepted])
        #expect(try await served(listener.endpoint, network) != nil)
      }
    }
  }
}
