public import AggCore
import Synchronization

/// Where servers come from: the configuration, a file that is read again, or a name server that is asked again.
final class ForwardDiscovery: Sendable {
  private enum Origin: Sendable {
    case fixed([ForwardService])
    case file(path: String)
    case dns(ServiceRecords)
  }
  private struct State {
    var known: [ForwardService]?
    var next = MonotonicTime(nanoseconds: 0)
    var lastError: String?
  }
  private let origin: Origin
  private let state = Mutex(State())

  init(_ services: [ForwardService]) { origin = .fixed(services) }

  /// Reads a `<service_discovery>` section.
  init(_ element: ConfigElement, _ context: ConfigContext) throws {
    switch element.type {
    case "static": origin = .fixed(try Static.load(element, context).services.map(\.service))
    case "file":
      let file = try FromFile.load(element, context)
      guard File.status(file.path) != nil else { throw ConfigErrors(at: element.at, "sd_file: path=\(file.path) not found") }
      origin = .file(path: file.path)
    case "srv": origin = .dns(try ServiceRecords.load(element, context))
    case let type?:
      throw ConfigErrors(at: element.entry("@type")?.at ?? element.at, "unknown service discovery '\(type)'; known: static, file, srv")
    case nil: throw ConfigErrors(at: element.at, "'@type' parameter is required: static, file or srv")
    }
  }

  var isDynamic: Bool { if case .fixed = origin { false } else { true } }

  /// The servers now. Blocks for a file or a name server; a failure is thrown the first time, told once later, and changes nothing.
  func services(_ log: Log) throws -> [ForwardService] {
    if case .fixed(let services) = origin { return services }
    let now = MonotonicTime.now()
    let known = state.withLock { $0.next > now ? $0.known : nil }
    if let known { return known }
    do {
      let services = try read()
      state.withLock { state in
        // An empty answer is more likely a mistake than the end of all servers.
        if !services.isEmpty || state.known == nil { state.known = services }
        state.next = now.adding(nanoseconds: interval)
        state.lastError = nil
      }
    } catch {
      let text = "\(error)"
      let isNew = try state.withLock { state in
        guard state.known != nil else { throw error }
        state.next = now.adding(nanoseconds: interval)
        defer { state.lastError = text }
        return state.lastError != text
      }
      if isNew { log.error("\(text); the servers stay as they are") }
    }
    return state.withLock { $0.known } ?? []
  }

  private var interval: Int64 {
    if case .dns(let records) = origin { return Int64(min(max(records.interval, 1), 1_000_000)) * 1_000_000_000 }
    return 0
  }

  private func read() throws -> [ForwardService] {
    switch origin {
    case .fixed(let services): return services
    case .file(let path): return try Self.services(in: try File.contents(path).array, path)
    case .dns(let records): return try records.services()
    }
  }

  /// A list of maps with `host` and `port`, as YAML or JSON.
  private static func services(in bytes: [UInt8], _ path: String) throws -> [ForwardService] {
    guard case .array(let items) = try ConfigJSON(yaml: bytes, file: path) else {
      throw ConfigValueError("sd_file: \(path) is no list of services")
    }
    return try items.map { item in
      guard let host = item["host"]?.text, case .int(let port)? = item["port"], (0...65535).contains(port), !host.isEmpty else {
        throw ConfigValueError("sd_file: \(path): a service must have `host` and `port`")
      }
      func text(_ name: String) -> String? { item[name].flatMap { $0 == .null ? nil : $0.text } }
      var service = ForwardService(host: host, port: port)
      service.name = text("name")
      if case .int(let weight)? = item["weight"] { service.weight = min(max(weight, 0), 100_000) }
      service.isStandby = item["standby"] == .bool(true)
      service.username = text("username") ?? ""
      service.password = text("password") ?? ""
      service.sharedKey = text("shared_key")
      return service
    }
  }

  struct Static: Configurable {
    var services: [ForwardOutput.Server] = []
    static let parameters: [Parameter<Self>] = [.sections("service", \.services, "A server")]
  }
  struct FromFile: Configurable {
    var path = "/etc/fluent/sd.yaml"
    static let parameters: [Parameter<Self>] = [
      .optional("path", \.path, "YAML or JSON: a list of maps with host, port, name, weight, standby, username, password, shared_key"),
      .ignored("conf_encoding", "UTF-8"),
    ]
  }
}

extension ForwardOutput {
  /// What `<service_discovery>` may be, with each one's parameters.
  public static let serviceDiscoveries: [(name: String, parameters: [ParameterDoc])] = [
    ("static", ForwardDiscovery.Static.docs), ("file", ForwardDiscovery.FromFile.docs), ("srv", ServiceRecords.docs),
  ]
}
