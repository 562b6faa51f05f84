public import AggCore

/// Where the control interface listens: `HOST:PORT`, `[IPv6]:PORT`, or a port alone, which is on loopback.
public struct RPCEndpoint: ConfigReadable, Hashable {
  public var host: String
  public var port: UInt16
  public static var configType: String { "HOST:PORT" }

  public init(configText: String, strict: Bool) throws(ConfigValueError) {
    let colon = configText.lastIndex(of: ":")
    var host = colon.map { String(configText[..<$0]) } ?? ""
    let number = colon.map { configText[configText.index(after: $0)...] } ?? configText[...]
    if host.hasPrefix("["), host.hasSuffix("]") { host = String(host.dropFirst().dropLast()) }
    let isPlain = host.utf8.allSatisfy { byte in
      (0x30...0x39).contains(byte) || (0x41...0x5a).contains(byte) || (0x61...0x7a).contains(byte) || ":-.".utf8.contains(byte)
    }
    guard isPlain, number.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let port = UInt16(number) else {
      throw ConfigValueError("must be HOST:PORT, such as 127.0.0.1:24444; got '\(configText)'")
    }
    self.host = host.isEmpty ? "127.0.0.1" : host
    self.port = port
  }
  public var configText: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }

  private var isLoopback: Bool { host.hasPrefix("127.") || host == "::1" || host.lowercased() == "localhost" }
  /// Whether a request for that `Host` can have been meant for this endpoint: on loopback only its own names.
  public func accepts(host field: String?) -> Bool {
    guard isLoopback, let field else { return true }
    var name = field.lowercased()
    if let close = name.lastIndex(of: "]") {
      name = String(name[..<close].dropFirst())
    } else if let colon = name.lastIndex(of: ":") {
      name = String(name[..<colon])
    }
    return name == "localhost" || name == "::1"
      || name.hasPrefix("127.") && name.utf8.allSatisfy { (0x30...0x39).contains($0) || $0 == 0x2e }
  }
}
