import AggCore
import AggNet
import Glibc

/// The pages of the monitoring port. Only GET (and HEAD); everything else is not found, as in Fluentd.
struct MonitorPages: Sendable {
  let monitor: DaemonMonitor
  let program: ProgramFacts?
  let context: PluginContext
  /// How many files of one input /metrics tells one by one.
  let files: Int
  let system: SystemInfo
  let includeConfig: Bool
  let includeRetry: Bool

  func answer(_ request: HTTPServerRequest) -> HTTPResponse {
    guard request.method == "GET" || request.method == "HEAD" else { return Self.notFound }
    let query = Query(request.query ?? "")
    switch request.path {
    case "/api/plugins.json": return Self.json(200, .object([.init("plugins", .array(plugins(query)))]))
    case "/api/plugins": return Self.ltsv(plugins(query))
    case "/api/config.json": return Self.json(200, facts)
    case "/api/config": return Self.ltsv([facts])
    case "/healthz": return health
    case "/metrics":
      let format = ExpositionPage.Format(accept: request.fields["Accept"])
      var page = ExpositionPage(format, of: system)
      page.add(OwnMetrics(context, monitor, files: files))
      return HTTPResponse(200, fields: ["Content-Type": format.contentType], body: page.finish())
    case "/ledger.json": return Self.json(200, LedgerPage.object(monitor.snapshot()))
    default: return Self.notFound
    }
  }

  private static let notFound = json(404, .object([.init("message", .string("Not found"))]))

  static func json(_ status: Int, _ value: ConfigJSON) -> HTTPResponse {
    HTTPResponse(status, fields: ["Content-Type": "application/json"], body: Array(value.json.utf8))
  }

  /// One line an object; hashes are left out, arrays are joined with commas.
  private static func ltsv(_ objects: [ConfigJSON]) -> HTTPResponse {
    var text = ""
    for case .object(let pairs) in objects {
      let fields = pairs.compactMap { pair -> String? in
        switch pair.value {
        case .object: return nil
        case .array(let items): return "\(pair.key):\(items.map(\.text).joined(separator: ","))"
        default: return "\(pair.key):\(pair.value.text)"
        }
      }
      text += fields.joined(separator: "\t") + "\n"
    }
    return HTTPResponse(200, fields: ["Content-Type": "text/plain"], body: Array(text.utf8))
  }

  /// All plugins, or those that `tag`, `@id` or `@type` name.
  private func plugins(_ query: Query) -> [ConfigJSON] {
    var list = monitor.snapshot().plugins.filter { $0.kind != "label" }
    if let tag = query["tag"] {
      let id = monitor.output(Tag(tag))
      list = list.filter { $0.id == id && $0.kind == "output" && !PluginFigures.isMulti($0) }
    } else if let id = query["@id"] ?? query["id"] {
      list = Array(list.filter { $0.id == id }.prefix(1))
    } else if let type = query["@type"] ?? query["type"] {
      list = list.filter { $0.type == type }
    }
    return list.map { PluginFigures.object($0, config: includeConfig, retry: includeRetry) }
  }

  private var facts: ConfigJSON {
    .object([
      .init("pid", .int(Int(getpid()))), .init("ppid", .int(Int(getppid()))), .init("version", .string(program?.version ?? "")),
      .init("config_path", .string(program?.configPath ?? "")), .init("pid_file", .null), .init("plugin_dirs", .array([])),
      .init("log_path", program?.logPath.map { .string($0) } ?? .null), .init("root_dir", program?.rootDirectory.map { .string($0) } ?? .null),
    ])
  }

  // MARK: Health

  /// A failing destination for so long, or a buffer so full, is for a person to look at.
  private static let failingSeconds: Int64 = 60
  private static let fullShare = 0.95

  /// 200, or 503 with the reasons.
  private var health: HTTPResponse {
    let reasons = Self.reasons(monitor.snapshot(), now: .now())
    return Self.json(
      reasons.isEmpty ? 200 : 503,
      .object([
        .init("status", .string(reasons.isEmpty ? "ok" : "unhealthy")), .init("reasons", .array(reasons.map { .string($0) })),
      ]))
  }

  static func reasons(_ snapshot: DaemonSnapshot, now: EventTime) -> [String] {
    var reasons: [String] = []
    for plugin in snapshot.plugins {
      if let buffer = plugin.buffer, buffer.limitBytes > 0 {
        let used = buffer.stagedBytes &+ buffer.queuedBytes
        if Double(used) >= Double(buffer.limitBytes) * fullShare {
          reasons.append("\(plugin.id): buffer full: \(used) of \(buffer.limitBytes) bytes")
        }
      }
      if let retry = plugin.retry, now.seconds &- retry.started.seconds >= failingSeconds {
        reasons.append("\(plugin.id): failing for \(now.seconds &- retry.started.seconds) s, \(retry.steps) attempts: \(retry.lastError.prefix(300))")
      }
    }
    return reasons
  }
}

/// The pairs of a URL's query, decoded; of repeated names the first counts.
struct Query {
  private var pairs: [(name: String, value: String)] = []
  init(_ text: Substring) {
    for part in text.split(separator: "&").prefix(64) {
      let sides = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      pairs.append((Self.decoded(sides[0]), sides.count > 1 ? Self.decoded(sides[1]) : ""))
    }
  }
  subscript(_ name: String) -> String? { pairs.first { $0.name == name }?.value }

  private static func decoded(_ text: Substring) -> String {
    var bytes: [UInt8] = []
    var rest = text.utf8[...]
    while let byte = rest.popFirst() {
      if byte == 0x25, rest.count >= 2, let hex = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16) {
        bytes.append(hex)
        rest = rest.dropFirst(2)
      } else {
        bytes.append(byte == 0x2b ? 0x20 : byte)
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }
}
