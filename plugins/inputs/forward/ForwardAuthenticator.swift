import AggCore
import AggNet

/// Decides whether a peer's PING proves the shared key, and the password where one is asked for.
struct ForwardAuthenticator: Sendable {
  private struct Node {
    var range: AddressRange
    var key: [UInt8]
    var users: [String]
  }
  struct Verdict {
    var pong: ForwardHandshake.Pong
    /// For the log; the peer is told less.
    var refusal: String?
  }

  private let hostname: [UInt8]
  private let key: [UInt8]
  private let security: ForwardInput.Security
  private let nodes: [Node]

  /// Looks up the hosts of `<client>` sections; throws for one without an address.
  init(_ security: ForwardInput.Security, _ network: Network) async throws {
    self.security = security
    hostname = Array(security.selfHostname.utf8)
    key = Array(security.sharedKey.utf8)
    var nodes: [Node] = []
    for client in security.clients {
      let key = client.sharedKey.map { Array($0.utf8) } ?? self.key
      if let text = client.network, let range = AddressRange(text) {
        nodes.append(Node(range: range, key: key, users: client.users))
      } else if let host = client.host {
        let addresses: [PeerAddress]
        do { addresses = try await network.resolve(host, port: 0) } catch {
          throw ConfigValueError("host '\(host)' cannot be resolved: \(error)")
        }
        for address in addresses {
          if let range = AddressRange(address.ip) { nodes.append(Node(range: range, key: key, users: client.users)) }
        }
      }
    }
    self.nodes = nodes
  }

  func verdict(_ message: ValueView, from ip: String, nonce: [UInt8], auth: [UInt8]) -> Verdict {
    guard let ping = ForwardHandshake.Ping(message) else {
      return Verdict(pong: .refusal("invalid ping message"), refusal: "invalid ping message")
    }
    let address = AddressRange(ip)
    let node = nodes.first { node in address.map { node.range.contains($0) } ?? false }
    if node == nil, !security.allowAnonymousSource {
      return Verdict(pong: .refusal("anonymous source host '\(ip)' denied"), refusal: "anonymous client disallowed")
    }
    let key = node?.key ?? key
    let expected = ForwardHandshake.keyDigest(salt: ping.salt, hostname: ping.hostname, nonce: nonce, key: key)
    guard ForwardHandshake.isEqual(ping.digest, expected) else {
      return Verdict(pong: .refusal("shared_key mismatch"), refusal: "shared key mismatch")
    }
    if security.userAuth, !isUser(ping, node, auth) {
      return Verdict(pong: .refusal("username/password mismatch"), refusal: "authentication failed")
    }
    let digest = ForwardHandshake.keyDigest(salt: ping.salt, hostname: hostname, nonce: nonce, key: key)
    return Verdict(pong: .init(isAccepted: true, reason: "", hostname: hostname, digest: digest))
  }

  private func isUser(_ ping: ForwardHandshake.Ping, _ node: Node?, _ auth: [UInt8]) -> Bool {
    var isKnown = false
    for user in security.users where user.username.utf8.elementsEqual(ping.username) {
      if let node, !node.users.isEmpty, !node.users.contains(user.username) { continue }
      let expected = ForwardHandshake.passwordDigest(auth: auth, username: ping.username, password: Array(user.password.utf8))
      if ForwardHandshake.isEqual(ping.passwordDigest, expected) { isKnown = true }
    }
    return isKnown
  }
}
