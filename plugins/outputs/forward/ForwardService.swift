import AggCore

/// A server as the configuration or a service discovery names it; two of the same values are one.
struct ForwardService: Sendable, Hashable {
  var host: String
  var port: Int
  var name: String?
  var weight = 60
  var isStandby = false
  var username = ""
  var password = ""
  var sharedKey: String?

  /// For log lines.
  var label: String { name ?? "\(host):\(port)" }
  var isAddress: Bool { AddressRange(host) != nil && !host.contains("/") }
  /// What the certificate has to name, and SNI.
  var certificateName: String? { isAddress ? name : host }
}
