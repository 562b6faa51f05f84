import AggCore
import AggPlugins
import ArgumentParser
import Glibc

/// `agg hosts`: the hosts there are.
struct MackerelHosts: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "hosts", abstract: "List hosts of Mackerel, as mkr does.")
  @OptionGroup var connection: MackerelConnection
  @Option(name: .shortAndLong, help: "Only hosts of this name.")
  var name: String?
  @Option(name: .shortAndLong, help: "Only hosts of this service.")
  var service: String?
  @Option(name: .shortAndLong, help: "Only hosts of this role; may be given again. Needs --service.")
  var role: [String] = []
  @Option(
    name: [.long, .customLong("st"), .customLong("st", withSingleDash: true)],
    help: "Only hosts of this status; may be given again. Default: working, standby.")
  var status: [String] = []
  @Flag(name: .shortAndLong, help: "All that is known of them.")
  var verbose = false

  mutating func run() async throws {
    if !role.isEmpty, service == nil { exitWithError("--role needs --service") }
    let query = ([("name", name)] + [("service", service)] + role.map { ("role", $0) } + status.map { ("status", $0) })
      .compactMap { pair in pair.1.map { "\(pair.0)=\(MackerelClient.queryPart($0))" } }.joined(separator: "&")
    let verbose = verbose
    await connection.with { client, _ in
      let hosts = try await client.call("GET", "/hosts" + (query.isEmpty ? "" : "?" + query))["hosts"]?.array ?? []
      print((verbose ? Value.array(hosts) : .array(hosts.map { MackerelHosts.summary($0) })).pretty())
    }
  }

  /// The fields that mkr shows.
  static func summary(_ host: Value) -> Value {
    var out = FieldMap()
    for name in ["id", "name", "displayName", "status"] {
      if let text = host[name]?.text, !text.isEmpty { out[name] = Value(text) }
    }
    let roles =
      host["roles"]?.map?.fields.flatMap { field in
        (field.value.array ?? []).compactMap { role in role.text.map { "\(field.key.text ?? ""):\($0)" } }
      } ?? []
    if !roles.isEmpty { out["roleFullnames"] = .array(roles.map { Value($0) }) }
    out["isRetired"] = host["isRetired"] ?? .bool(false)
    if case .int(let seconds)? = host["createdAt"] {
      out["createdAt"] = Value(StrftimeProgram("%Y-%m-%dT%H:%M:%S%:z").string(EventTime(seconds: seconds), zone: .local()))
    }
    var addresses = FieldMap()
    for interface in host["interfaces"]?.array ?? [] {
      if let name = interface["name"]?.text,
        let address = interface["ipAddress"]?.text ?? interface["ipv4Addresses"]?.array?.first?.text
      {
        addresses[name] = Value(address)
      }
    }
    if !addresses.isEmpty { out["ipAddresses"] = .map(addresses) }
    return .map(out)
  }
}

/// `agg status`: one host.
struct MackerelStatus: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "status", abstract: "Show a host of Mackerel; default: this machine.")
  @OptionGroup var connection: MackerelConnection
  @Flag(name: .shortAndLong, help: "All that is known of it, with the names of its metrics.")
  var verbose = false
  @Argument(help: "Id of the host.")
  var hostID: String?

  mutating func run() async throws {
    let (verbose, given) = (verbose, hostID)
    await connection.with { client, settings in
      guard let id = given ?? MackerelConnection.ownID(settings) else {
        exitWithError("which host? Give its id; this machine has none")
      }
      var host = try await client.host(id).value
      if verbose {
        host["metrics"] = try await client.call("GET", "/hosts/\(MackerelClient.pathPart(id))/metric-names")["names"]
      } else {
        host = MackerelHosts.summary(host)
      }
      print(host.pretty())
    }
  }
}

/// `agg retire`: hosts that are no more.
struct MackerelRetire: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "retire", abstract: "Retire hosts of Mackerel; default: this machine. There is no way back.")
  @OptionGroup var connection: MackerelConnection
  @Flag(help: "Do not ask.")
  var force = false
  @Argument(help: "Ids of the hosts.")
  var hostIDs: [String] = []

  mutating func run() async throws {
    let (force, given) = (force, hostIDs)
    await connection.with { client, settings in
      let ids = given.isEmpty ? MackerelConnection.ownID(settings).map { [$0] } ?? [] : given
      if ids.isEmpty { exitWithError("which host? Give its id; this machine has none") }
      if !force {
        print("Retire following hosts.\n  \(ids.joined(separator: "\n  "))\nAre you sure? (y/n) [n]: ", terminator: "")
        fflush(nil)
        guard let answer = readLine(), ["y", "yes"].contains(answer.lowercased()) else {
          print("retirement is canceled.")
          throw ExitCode(1)
        }
      }
      for id in ids {
        try await client.retire(id)
        printError("retired \(id)")
      }
    }
  }
}
