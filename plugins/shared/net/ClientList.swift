import AggCore
import AggNet
import Glibc

/// One `<client>` of `<security>`: who may connect.
struct ClientSection: Configurable {
  var host: String?
  var network: String?
  init() {}
  static let parameters: [Parameter<Self>] = [
    .optional("host", \.host, "Address or host name of a client"),
    .optional("network", \.network, "Network of clients: 192.168.0.0/16"),
  ]
  mutating func validate(_ context: ConfigContext) throws {
    if (host == nil) == (network == nil) { throw ConfigValueError("<client> takes either 'host' or 'network'") }
    if let network, AddressRange(network) == nil { throw ConfigValueError("'network' is no network address: \(network)") }
  }
}

/// `<security>` of an input without authentication: a list of clients.
struct ClientListSection: Configurable {
  var clients: [ClientSection] = []
  init() {}
  static let parameters: [Parameter<Self>] = [
    .sections("client", \.clients, "A client, or a network of them, that may connect", required: true)
  ]
}

/// The addresses that may connect.
struct ClientList: Sendable {
  private var ranges: [AddressRange] = []

  /// Looks host names up; throws when one has no address.
  init(_ section: ClientListSection, on network: Network) async throws {
    for client in section.clients {
      if let text = client.network, let range = AddressRange(text) { ranges.append(range) }
      if let host = client.host {
        do {
          for address in try await network.resolve(host, port: 0) {
            if let range = AddressRange(address.ip) { ranges.append(range) }
          }
        } catch { throw ConfigValueError("<client> host '\(host)' cannot be resolved: \(error)") }
      }
    }
  }

  func allows(_ peer: PeerAddress) -> Bool {
    guard let address = AddressRange(peer.ip) else { return false }
    return ranges.contains { $0.contains(address) }
  }
}

/// An IPv4 or IPv6 address with a prefix length: `10.0.0.0/8`, `10.0.0.0/255.0.0.0`, `::1`.
package struct AddressRange: Sendable, Equatable {
  private let bytes: [UInt8]
  private let prefix: Int

  package init?(_ text: String) {
    let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
    guard let first = parts.first, let address = Self.address(String(first)) else { return nil }
    bytes = address
    if parts.count == 1 {
      prefix = address.count * 8
    } else if let length = Int(parts[1]) {
      guard (0...address.count * 8).contains(length) else { return nil }
      prefix = length
    } else {
      guard let mask = Self.address(String(parts[1])), mask.count == address.count else { return nil }
      let ones = mask.reduce(0) { $0 + $1.nonzeroBitCount }
      let isContiguous = mask.enumerated().allSatisfy { index, byte in
        byte == Self.mask(max(0, min(8, ones - index * 8)))
      }
      guard isContiguous else { return nil }
      prefix = ones
    }
  }

  package func contains(_ other: AddressRange) -> Bool {
    guard other.bytes.count == bytes.count, other.prefix >= prefix else { return false }
    for (index, pair) in zip(bytes, other.bytes).enumerated() {
      let mask = Self.mask(max(0, min(8, prefix - index * 8)))
      if pair.0 & mask != pair.1 & mask { return false }
    }
    return true
  }

  private static func mask(_ bits: Int) -> UInt8 { bits == 0 ? 0 : UInt8(truncatingIfNeeded: 0xff00 >> bits) }

  private static func address(_ text: String) -> [UInt8]? {
    let text = text.split(separator: "%", maxSplits: 1).first.map { String($0) } ?? ""
    var buffer = [UInt8](repeating: 0, count: 16)
    if inet_pton(AF_INET, text, &buffer) == 1 { return Array(buffer[..<4]) }
    if inet_pton(AF_INET6, text, &buffer) == 1 { return buffer }
    return nil
  }
}
