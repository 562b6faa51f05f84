import AggCore
import AggNet

/// Host names of datagrams' senders, looked up once and kept for some minutes; the address where there is none.
struct PeerNames {
  private static let kept = 4096
  private static let lifetime: Int64 = 300_000_000_000
  private var names: [String: (name: String, until: MonotonicTime)] = [:]

  mutating func name(of peer: PeerAddress, on network: Network) async -> String {
    let now = MonotonicTime.now()
    if let known = names[peer.ip], known.until > now { return known.name }
    let name = await network.hostName(of: peer) ?? peer.ip
    // Senders' addresses can be forged: the table stays small.
    if names.count >= Self.kept { names.removeAll() }
    names[peer.ip] = (name, now.adding(nanoseconds: Self.lifetime))
    return name
  }
}

/// The fields that say where records came from, as configured.
struct SourceFields: Sendable {
  var addressKey: String?
  var hostKey: String?

  var isEmpty: Bool { addressKey == nil && hostKey == nil }

  func fields(of peer: PeerAddress, host: String?) -> ExtraFields {
    var fields = ExtraFields()
    set(in: &fields, peer, host: host)
    return fields
  }

  func set(in fields: inout ExtraFields, _ peer: PeerAddress, host: String?) {
    if let addressKey { fields.set(addressKey, peer.ip) }
    if let hostKey { fields.set(hostKey, host ?? peer.ip) }
  }

  /// For a connection: one look-up.
  func fields(of peer: PeerAddress, on network: Network) async -> ExtraFields {
    fields(of: peer, host: hostKey == nil ? nil : await network.hostName(of: peer))
  }
}
