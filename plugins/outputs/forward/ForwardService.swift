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
  var isAddress: Bool { IPNetwork(host) != nil && !host.contains("/") }
  /// What the certificate has to name, and SNI.
  var certificateName: String? { isAddress ? name : host }
}

/// Where servers come from that may change while agg runs.
enum ForwardDiscovery: Sendable {
  case fixed([ForwardService])
  case file(path: String)

  /// Reads a `<service_discovery>` section.
  init(_ element: ConfigElement, _ context: ConfigContext) throws {
    switch element.type {
    case "static":
      self = .fixed(try Static.load(element, context).services.map(\.service))
    case "file":
      let file = try FromFile.load(element, context)
      guard File.status(file.path) != nil else { throw ConfigErrors(at: element.at, "sd_file: path=\(file.path) not found") }
      self = .file(path: file.path)
    case let type?:
      throw ConfigErrors(at: element.entry("@type")?.at ?? element.at, "unknown service discovery '\(type)'; known: static, file")
    case nil: throw ConfigErrors(at: element.at, "'@type' parameter is required: static or file")
    }
  }

  /// The servers now. Reads a file.
  func services() throws -> [ForwardService] {
    switch self {
    case .fixed(let services): return services
    case .file(let path): return try Self.services(in: try File.contents(path).array, path)
    }
  }

  /// A list of maps with `host` and `port`, as YAML or JSON.
  static func services(in bytes: [UInt8], _ path: String) throws -> [ForwardService] {
    guard case .array(let items) = try ConfigJSON(yaml: bytes, file: path) else {
      throw ConfigValueError("sd_file: \(path) is no list of services")
    }
    return try items.map { item in
      guard let host = item["host"]?.text, case .int(let port)? = item["port"], (0...65535).contains(port), !host.isEmpty else {
        throw ConfigValueError("sd_file: \(path): a service must have `host` and `port`")
      }
      var service = ForwardService(host: host, port: port)
      service.name = item["name"].flatMap { $0 == .null ? nil : $0.text }
      if case .int(let weight)? = item["weight"] { service.weight = min(max(weight, 0), 100_000) }
      service.isStandby = item["standby"] == .bool(true)
      service.username = item["username"]?.text ?? ""
      service.password = item["password"]?.text ?? ""
      service.sharedKey = item["shared_key"].flatMap { $0 == .null ? nil : $0.text }
      return service
    }
  }

  private struct Static: Configurable {
    var services: [ForwardOutput.Server] = []
    static let parameters: [Parameter<Self>] = [.sections("service", \.services, "A server")]
  }
  private struct FromFile: Configurable {
    var path = "/etc/fluent/sd.yaml"
    static let parameters: [Parameter<Self>] = [
      .optional("path", \.path, "YAML or JSON: a list of maps with host, port, name, weight, standby, username, password, shared_key"),
      .ignored("conf_encoding", "UTF-8"),
    ]
  }
}
