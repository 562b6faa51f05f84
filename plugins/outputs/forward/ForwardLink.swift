import AggCore
import AggNet

/// A connection to a forward server after its handshake: one chunk at a time goes over it.
///
/// Owned by one task at a time.
final class ForwardLink: Sendable {
  struct Failure: Error, CustomStringConvertible {
    enum Kind { case handshake, noAck, wrongAck }
    var kind: Kind
    var description: String
  }

  let connection: Connection
  /// When the link was last given back.
  let idleSince: MonotonicTime

  init(_ connection: Connection, idleSince: MonotonicTime = .now()) {
    self.connection = connection
    self.idleSince = idleSince
  }

  /// Connects to the node's first address that answers, and proves the key where `<security>` is configured.
  static func open(_ node: ForwardNode, _ config: ForwardOutput.Config, _ network: Network) async throws -> ForwardLink {
    var options = ConnectOptions()
    if let timeout = config.connectTimeout { options.timeout = timeout.duration }
    options.keepalive = config.sendsKeepalivePacket
    options.tls = config.tls(for: node.service)
    var failure: any Error = NetworkError(.unknownHost, "no address (\(node.service.label))")
    for address in try await node.addresses(network) {
      do {
        let connection = try await network.connect(.host(address.ip, address.port), options)
        let link = ForwardLink(connection)
        guard let security = config.security else { return link }
        do { try await link.handshake(security, node.service, config.hardTimeout) } catch {
          await connection.close()
          throw error
        }
        return link
      } catch let error as NetworkError { failure = error }
    }
    throw failure
  }

  private func handshake(_ security: ForwardOutput.Security, _ service: ForwardService, _ timeout: TimeSpan) async throws {
    let deadline = MonotonicTime.now().adding(nanoseconds: Int64(timeout.nanoseconds))
    let hostname = Array(security.selfHostname.utf8)
    let key = Array((service.sharedKey ?? security.sharedKey).utf8)
    let salt = ForwardHandshake.hex(ForwardHandshake.randomBytes(16))

    guard let helo = try await message(until: deadline, { ForwardHandshake.Helo($0) }) else {
      throw Failure(kind: .handshake, description: "received invalid helo message from \(service.label)")
    }
    var password: [UInt8] = []
    let username = Array(service.username.utf8)
    if !helo.auth.isEmpty {
      password = ForwardHandshake.passwordDigest(auth: helo.auth, username: username, password: Array(service.password.utf8))
    }
    let ping = ForwardHandshake.Ping(
      hostname: hostname, salt: salt, digest: ForwardHandshake.keyDigest(salt: salt, hostname: hostname, nonce: helo.nonce, key: key),
      username: helo.auth.isEmpty ? [] : username, passwordDigest: password)
    var out = ByteWriter(capacity: 512)
    ping.encode(into: &out)
    try await connection.write(out, timeout: timeout.duration)

    guard let pong = try await message(until: deadline, { ForwardHandshake.Pong($0) }) else {
      throw Failure(kind: .handshake, description: "connection refused to \(service.label): invalid format for PONG message")
    }
    var reason: String?
    let expected = ForwardHandshake.keyDigest(salt: salt, hostname: pong.hostname, nonce: helo.nonce, key: key)
    if !pong.isAccepted { reason = "authentication failed: \(pong.reason)" } else if pong.hostname == hostname {
      reason = "same hostname between input and output: invalid configuration"
    } else if !ForwardHandshake.isEqual(pong.digest, expected) { reason = "shared key mismatch" }
    if let reason { throw Failure(kind: .handshake, description: "connection refused to \(service.label): \(reason)") }
  }

  /// Waits for `{"ack": chunk}`. Whatever else comes, or nothing in time, is a failure after which the link cannot be used.
  func acknowledgement(of chunk: [UInt8], timeout: TimeSpan) async throws {
    let deadline = MonotonicTime.now().adding(nanoseconds: Int64(timeout.nanoseconds))
    let ack: [UInt8]?
    do { ack = try await message(until: deadline) { $0.map?.find("ack")?.textBytes.map { Array($0) } } } catch let error as NetworkError {
      if error.code == .timeout {
        throw Failure(kind: .noAck, description: "no acknowledgement within \(timeout.configText); the server is regarded as unavailable")
      }
      throw Failure(kind: .noAck, description: "\(error), before its acknowledgement")
    }
    if ack == chunk { return }
    throw Failure(kind: .wrongAck, description: "the acknowledgement is of another chunk, or none")
  }

  /// Reads one value; throws `NetworkError`, also for what is no MessagePack, or is too long.
  private func message<R>(until deadline: MonotonicTime, _ read: (ValueView) -> R) async throws -> R {
    var buffer = ByteWriter(capacity: 512)
    while true {
      switch MessagePackScanner.skip(buffer.bytes) {
      case .complete:
        guard let base = buffer.bytes.baseAddress else { break }
        return read(ValueView(unchecked: base))
      case .invalid(let why): throw NetworkError(.malformed, "the server does not speak the forward protocol: \(why)")
      case .needMore: break
      }
      guard buffer.count < ForwardHandshake.messageLimit else { throw NetworkError(.malformed, "the server's answer is too long") }
      let left = deadline.since(.now())
      guard left > 0 else { throw NetworkError(.timeout, "no answer in time (\(connection.peer))") }
      guard try await connection.read(into: &buffer, timeout: .nanoseconds(left)) > 0 else {
        throw NetworkError(.closed, "connection closed by peer (\(connection.peer))")
      }
    }
  }
}
