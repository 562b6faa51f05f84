import AggCore
import AggNet

/// One connection of in_forward: the handshake where one is asked for, then messages until the peer's end.
struct ForwardSession {
  /// The most that a peer may take to prove the key, in nanoseconds.
  static let longestHandshake = 30_000_000_000

  let connection: Connection
  let intake: ForwardIntake
  let authenticator: ForwardAuthenticator?
  /// Fields that every record of this peer gets.
  let extra: ExtraFields
  /// In nanoseconds, from HELO to PING.
  let handshakeTimeout: Int

  func run() async throws {
    var reader = ForwardReader(limit: authenticator == nil ? intake.limit : ForwardHandshake.messageLimit)
    do {
      if let authenticator, try await !isAccepted(&reader, authenticator) { return await connection.close() }
      reader.setLimit(intake.limit)
      repeat {
        while let messages = try reader.next() {
          for size in messages.oversized { intake.dropped(size, connection.peer) }
          guard try await intake.take(messages, isJSON: reader.isJSON == true, connection, extra) else { return await connection.close() }
        }
      } while try await connection.read(into: &reader.buffer, isInside: reader.isDropping) > 0
      if reader.buffer.count > 0 {
        intake.quiet.warn("\(connection.peer): closed inside a message; \(reader.buffer.count) bytes of it are dropped")
      }
    } catch let error as ForwardReader.Malformed {
      intake.quiet.warn("\(connection.peer): \(error); the connection is closed")
    } catch let error as NetworkError where error.code == .idle {
      intake.context.log.debug("\(error): the connection is closed")
    } catch is ForwardIntake.Refused {
    } catch let error as ForwardMessage.Malformed {
      intake.quiet.warn("\(connection.peer): \(error.description); the connection is closed")
    }
    await connection.close()
  }

  /// HELO, PING, PONG. What the peer sends behind its PING waits in the reader.
  private func isAccepted(_ reader: inout ForwardReader, _ authenticator: ForwardAuthenticator) async throws -> Bool {
    let helo = ForwardHandshake.Helo(
      nonce: ForwardHandshake.randomBytes(16), auth: ForwardHandshake.randomBytes(16), keepalive: !intake.deniesKeepalive)
    var out = ByteWriter(capacity: 256)
    helo.encode(into: &out)
    try await connection.write(out)
    let deadline = MonotonicTime.now().adding(nanoseconds: Int64(handshakeTimeout))
    while true {
      let left = deadline.since(.now())
      guard left > 0 else { throw NetworkError(.timeout, "no handshake in time") }
      guard try await connection.read(into: &reader.buffer, timeout: .nanoseconds(left)) > 0 else { return false }
      guard let messages = try reader.next(atMost: 1) else { continue }
      guard let range = messages.messages.first else { return false }
      let verdict = authenticator.verdict(
        ValueView(unchecked: messages.block.base + range.lowerBound), from: connection.peer.ip, nonce: helo.nonce, auth: helo.auth)
      withExtendedLifetime(messages.block) {}
      out.removeAll()
      verdict.pong.encode(into: &out)
      try await connection.write(intake.encoded(out, isJSON: reader.isJSON == true))
      if let refusal = verdict.refusal { intake.quiet.warn("\(connection.peer): \(refusal)") }
      return verdict.refusal == nil
    }
  }
}
