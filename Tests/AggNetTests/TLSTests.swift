import AggCore
import AggNet
import Foundation
import Synchronization
import Testing

private func fixture(_ name: String) -> String {
  URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().path + "/fixtures/tls/\(name)"
}

private func server(_ change: (inout TLSServerConfiguration) -> Void = { _ in }) -> ListenOptions {
  var tls = TLSServerConfiguration(certificatePath: fixture("server.pem"), privateKeyPath: fixture("server.key"))
  change(&tls)
  var options = ListenOptions()
  options.tls = tls
  return options
}

private func client(_ change: (inout TLSClientConfiguration) -> Void = { _ in }) -> ConnectOptions {
  var tls = TLSClientConfiguration()
  tls.caPaths = [fixture("ca.pem")]
  tls.trustsSystem = false
  change(&tls)
  var options = ConnectOptions()
  options.tls = tls
  return options
}

/// What comes back through a TLS echo server; the port is the server's, the host the caller's.
private func echoed(_ options: ListenOptions, _ connect: ConnectOptions, host: String = "localhost", size: Int = 5) async throws
  -> String
{
  try await withNetwork { network in
    let listener = try await Listener.bind(.host("127.0.0.1", 0), options, on: network)
    guard case .host(_, let port) = listener.endpoint else { return "" }
    return try await serving(listener, echo) {
      let connection = try await network.connect(.host(host, port), connect)
      let message = String(repeating: "x", count: size)
      async let sent: Void = connection.send(message)
      let answer = try await text(connection, count: size)
      try await sent
      await connection.close()
      return answer
    }
  }
}

@Suite(.timeLimit(.minutes(1))) struct TLSTests {
  @Test func `what is sent over TLS comes back, also megabytes`() async throws {
    #expect(try await echoed(server(), client()) == "xxxxx")
    #expect(try await echoed(server(), client(), host: "127.0.0.1") == "xxxxx")
    let large = try await echoed(server(), client(), size: 3 << 20)
    #expect(large.utf8.count == 3 << 20)
  }

  @Test func `an encrypted key needs its passphrase`() async throws {
    let good = server {
      $0.privateKeyPath = fixture("server-encrypted.key")
      $0.privateKeyPassphrase = "secret"
    }
    #expect(try await echoed(good, client()) == "xxxxx")
    let bad = server {
      $0.privateKeyPath = fixture("server-encrypted.key")
      $0.privateKeyPassphrase = "wrong"
    }
    #expect(await code { _ = try await echoed(bad, client()) } == .configuration)
  }

  @Test func `a certificate that is not there is named`() async throws {
    try await withNetwork { network in
      do {
        _ = try await Listener.bind(.host("127.0.0.1", 0), server { $0.certificatePath = "/nonexistent.pem" }, on: network)
        Issue.record("bound")
      } catch let error as NetworkError {
        #expect(error.code == .configuration)
        #expect(error.description.contains("/nonexistent.pem"))
      }
    }
  }

  @Test func `an unknown authority and a wrong name are refused, insecure takes them`() async throws {
    #expect(await code { _ = try await echoed(server(), client { $0.caPaths = [fixture("self.pem")] }) } == .tls)
    #expect(await code { _ = try await echoed(server(), client { $0.serverName = "other.example" }) } == .tls)
    #expect(
      try await echoed(
        server(),
        client {
          $0.serverName = "other.example"
          $0.verifiesHostName = false
        }) == "xxxxx")
    #expect(
      try await echoed(
        server(),
        client {
          $0.caPaths = []
          $0.isInsecure = true
        }) == "xxxxx")
  }

  @Test func `a self-signed certificate is trusted when it is named as authority`() async throws {
    let options = server {
      $0.certificatePath = fixture("self.pem")
      $0.privateKeyPath = fixture("self.key")
    }
    #expect(try await echoed(options, client { $0.caPaths = [fixture("self.pem")] }) == "xxxxx")
    do {
      _ = try await echoed(options, client())
      Issue.record("trusted")
    } catch let error as NetworkError {
      #expect(error.code == .tls)
      #expect(error.description.hasPrefix("TLS: certificate verify failed (localhost:"))
    }
  }

  @Test func `client certificates are required, and their name is known`() async throws {
    try await withNetwork { network in
      var options = server {
        $0.caPath = fixture("ca.pem")
        $0.requiresClientCertificate = true
      }
      let failures = Mutex<[NetworkError]>([])
      let failed = Gate()
      options.onError = { _, error in
        if let error = error as? NetworkError { failures.withLock { $0.append(error) } }
        failed.open()
      }
      let listener = try await Listener.bind(.host("127.0.0.1", 0), options, on: network)
      guard case .host(_, let port) = listener.endpoint else { return }
      let serve: @Sendable (Connection) async throws -> Void = { connection in
        try await connection.send("\(connection.tls?.peerCommonName ?? "nobody") \(connection.tls?.version == .tls13)")
      }
      try await serving(listener, serve) {
        let known = try await network.connect(
          .host("localhost", port),
          client {
            $0.certificatePath = fixture("client.pem")
            $0.privateKeyPath = fixture("client.key")
          })
        #expect(try await rest(known) == "agg test client true")
        await known.close()
        // In TLS 1.3 the client learns of the refusal with its first read.
        let refused = await code {
          let unknown = try await network.connect(.host("localhost", port), client())
          _ = try await rest(unknown)
        }
        #expect(refused == .tls)
        await failed.wait()
        #expect(failures.withLock { $0.first?.code } == .tls)
      }
    }
  }

  @Test func `versions that do not meet are refused`() async throws {
    #expect(TLSVersion(name: "TLSv1_2") == .tls12)
    #expect(TLSVersion(name: "SSLv3") == nil)
    let failure = await code {
      _ = try await echoed(server { $0.minVersion = .tls13 }, client { $0.maxVersion = .tls12 })
    }
    #expect(failure == .tls)
    #expect(try await echoed(server { $0.maxVersion = .tls12 }, client()) == "xxxxx")
  }

  @Test func `a peer that does not shake hands is dropped`() async throws {
    try await withNetwork { network in
      var options = server()
      options.handshakeTimeout = .milliseconds(50)
      let listener = try await Listener.bind(.host("127.0.0.1", 0), options, on: network)
      try await serving(listener, echo) {
        let silent = try await network.connect(listener.endpoint)
        #expect(try await rest(silent) == "")
        await silent.close()
        let plain = try await network.connect(listener.endpoint)
        try await plain.send("GET / HTTP/1.1\r\n\r\n")
        _ = try? await rest(plain)
        await plain.close()
      }
    }
  }
}
