import AggCore
import AggExpression
import AggNet
import AggPlugins
import ArgumentParser
import Glibc

/// The options that all commands for Mackerel share, and the connection that they make.
struct MackerelConnection: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Configuration with the key and the host: agg's (its first mackerel output), or mackerel-agent.conf.", valueName: "file"))
  var conf: String?
  @Option(
    help: ArgumentHelp(
      "Base URL of the API (default: MACKEREL_APIBASE, the configuration's, \(MackerelClient.defaultBase)).", valueName: "url"))
  var apibase: String?

  /// What a configuration says.
  struct Settings {
    var key: String?
    var base: String?
    var idPath: String?
    var hostID: String?
  }

  private static let usualFiles = ["/etc/agg/agg.conf", "/etc/mackerel-agent/mackerel-agent.conf"]

  /// Ends the program where a file that was named cannot be read.
  func settings() -> Settings {
    if let conf {
      do { return try Self.read(conf) } catch { exitWithError("\(error)") }
    }
    for path in Self.usualFiles where File.status(path)?.isRegular == true {
      if let settings = try? Self.read(path), settings.key != nil { return settings }
    }
    return Settings()
  }

  private static func read(_ path: String) throws -> Settings {
    let text = try File.contents(path, limit: 16 << 20).string
    if let settings = agentSettings(text) { return settings }
    let root = try ConfigParser(environment: .current(workerID: 0).evaluatingExpressions, warnings: ConfigWarnings()).load(path: path)
    guard let output = first(in: root) else { return Settings() }
    let idPath = output["hostid_path"] ?? (output.child("host") == nil ? nil : "/var/lib/mackerel-agent/id")
    return Settings(key: output["api_key"], base: output["apibase"] ?? output["origin"], idPath: idPath, hostID: output["hostid"])
  }

  private static func first(in element: ConfigElement) -> ConfigElement? {
    if ["match", "store"].contains(element.name), element.type == "mackerel" { return element }
    for child in element.children { if let found = first(in: child) { return found } }
    return nil
  }

  /// The top of a mackerel-agent.conf (TOML): `name = "value"` lines before the first table. Nil for a text that is none.
  static func agentSettings(_ text: String) -> Settings? {
    var settings = Settings()
    var root: String?
    for line in text.split(whereSeparator: \.isNewline) {
      let line = String(line.drop { $0 == " " || $0 == "\t" })
      if line.hasPrefix("[") { break }
      let pair = line.split(separator: "=", maxSplits: 1)
      guard pair.count == 2, let open = pair[1].firstIndex(where: { $0 == "\"" || $0 == "'" }),
        pair[1][..<open].allSatisfy({ $0 == " " || $0 == "\t" }),
        let close = pair[1][pair[1].index(after: open)...].firstIndex(of: pair[1][open])
      else { continue }
      let value = String(pair[1][pair[1].index(after: open)..<close])
      switch String(pair[0].filter { $0 != " " && $0 != "\t" }) {
      case "apikey": settings.key = value
      case "apibase": settings.base = value
      case "root": root = value
      default: break
      }
    }
    if settings.key == nil, settings.base == nil, root == nil { return nil }
    settings.idPath = (root ?? "/var/lib/mackerel-agent") + "/id"
    return settings
  }

  /// Runs `body` with a client, and ends the program with a line where something is missing or the API refuses.
  func with(_ body: (MackerelClient, Settings) async throws -> Void) async {
    let settings = settings()
    guard let key = Self.environment("MACKEREL_APIKEY") ?? settings.key else {
      exitWithError("no key of the API: set MACKEREL_APIKEY, or name a configuration with --conf")
    }
    if let problem = MackerelClient.problem(inKey: key) { exitWithError("the key of the API \(problem)") }
    let base = apibase ?? Self.environment("MACKEREL_APIBASE") ?? settings.base ?? MackerelClient.defaultBase
    if let problem = MackerelClient.problem(inBase: base) { exitWithError("the base URL \(problem)") }
    let network = Network(threads: 1)
    let client = MackerelClient(base: base, key: key, agent: "agg/\(Version.number)", http: HTTPClient(on: network))
    do { try await body(client, settings) } catch let exit as ExitCode {
      await network.shutdown()
      Glibc.exit(exit.rawValue)
    } catch {
      await network.shutdown()
      exitWithError("\(error)")
    }
    await network.shutdown()
  }

  static func environment(_ name: String) -> String? {
    getenv(name).map { String(cString: $0) }.flatMap { $0.isEmpty ? nil : $0 }
  }

  /// This machine's id, from the configuration or the file that it names.
  static func ownID(_ settings: Settings) -> String? {
    if let id = settings.hostID, !id.contains("$") { return id }
    let path = settings.idPath ?? "/var/lib/mackerel-agent/id"
    guard let text = try? File.contents(path, limit: 4096).string else { return nil }
    return text.split { $0.isWhitespace }.first.map { String($0) }
  }
}

extension Value {
  /// As indented JSON, the way mkr prints it.
  func pretty(_ indent: String = "") -> String {
    let inner = indent + "    "
    switch self {
    case .array(let items) where !items.isEmpty:
      return "[\n" + items.map { inner + $0.pretty(inner) }.joined(separator: ",\n") + "\n\(indent)]"
    case .map(let map) where !map.isEmpty:
      let lines = map.fields.map { "\(inner)\($0.key.jsonText): \($0.value.pretty(inner))" }
      return "{\n" + lines.joined(separator: ",\n") + "\n\(indent)}"
    default: return jsonText
    }
  }
  private var jsonText: String { json.map { String(decoding: $0, as: UTF8.self) } ?? "null" }
}
