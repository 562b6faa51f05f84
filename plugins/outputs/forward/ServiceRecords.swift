import AggCore
import CAgg

/// `@type srv`: the servers that a name server lists under `_service._proto.hostname` (RFC 2782).
struct ServiceRecords: Configurable {
  var service = ""
  var proto = "tcp"
  var hostname = ""
  var dnsServer: String?
  var interval = 60
  var looksUpTargets = true
  var sharedKey: String?
  var username = ""
  var password = ""
  static let parameters: [Parameter<Self>] = [
    .required("service", \.service, "Service, without an underscore"),
    .optional("proto", \.proto, "Protocol, without an underscore"),
    .required("hostname", \.hostname, "Domain of the service"),
    .optional("dns_server_host", \.dnsServer, "IPv4 address of the name server, and :port; without it the system's"),
    .optional("interval", \.interval, "Seconds until it is asked again"),
    .optional("dns_lookup", \.looksUpTargets, "Ask for the targets' addresses too"),
    .optional("shared_key", \.sharedKey, "Key of these servers", secret: true),
    .optional("username", \.username, "User, where the servers ask for one"),
    .optional("password", \.password, "Password of the user", secret: true),
  ]

  private static let capacity = 64

  mutating func validate(_ context: ConfigContext) throws {
    if let dnsServer, server(dnsServer) == nil { throw ConfigValueError("'dns_server_host' must be an IPv4 address, with or without :port") }
  }

  private func server(_ text: String) -> (address: String, port: UInt16)? {
    let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
    guard let address = parts.first, AddressRange(address) != nil, !address.contains("/") else { return nil }
    guard parts.count == 2 else { return (address, 53) }
    return UInt16(parts[1]).map { (address, $0) }
  }

  /// Asks, and blocks for some seconds when nobody answers. By priority, as Fluentd sorts them.
  func services() throws -> [ForwardService] {
    let name = "_\(service)._\(proto).\(hostname)"
    let records = try lookUp(name, wantsService: true).sorted { $0.priority < $1.priority }
    return try records.map { record in
      let host = looksUpTargets ? try lookUp(record.target, wantsService: false).first?.target : record.target
      guard let host else { throw ConfigValueError("sd_srv: \(record.target) has no address") }
      return ForwardService(
        host: host, port: Int(record.port), name: record.target, weight: Int(record.weight), username: username, password: password,
        sharedKey: sharedKey)
    }
  }

  private struct Record {
    var target: String
    var priority: UInt16
    var weight: UInt16
    var port: UInt16
  }

  private func lookUp(_ name: String, wantsService: Bool) throws -> [Record] {
    let server = dnsServer.flatMap { self.server($0) }
    var found = [agg_dns_record](repeating: agg_dns_record(), count: Self.capacity)
    let count = agg_dns_lookup(name, wantsService ? 1 : 0, server?.address, server?.port ?? 53, &found, Int32(Self.capacity))
    guard count >= 0 else { throw ConfigValueError("sd_srv: \(name): \(Self.reason(-count))") }
    return found.prefix(Int(count)).map { record in
      let target = withUnsafeBytes(of: record.name) { bytes in String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self) }
      return Record(target: target, priority: record.priority, weight: record.weight, port: record.port)
    }
  }

  /// netdb.h's h_errno values.
  private static func reason(_ code: Int32) -> String {
    switch code {
    case 1: "no such name"
    case 2: "the name server does not answer"
    case 4: "no such record"
    default: "the name server cannot be asked"
    }
  }
}
