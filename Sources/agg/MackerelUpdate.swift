import AggCore
import AggPlugins
import ArgumentParser

/// `agg update`: what is said of a host.
struct MackerelUpdate: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "update", abstract: "Change hosts of Mackerel; default: this machine.")
  @OptionGroup var connection: MackerelConnection
  @Option(name: .shortAndLong, help: "Name.")
  var name: String?
  @Option(name: [.customLong("displayName"), .customLong("display-name")], help: "Name that is shown.")
  var displayName: String?
  @Option(
    name: [.long, .customLong("st"), .customLong("st", withSingleDash: true)], help: "standby, working, maintenance or poweroff.")
  var status: String?
  @Option(
    name: [.customShort("R"), .customLong("roleFullname"), .customLong("role-fullname")],
    help: "service:role; may be given again.")
  var roles: [String] = []
  @Flag(
    name: [.customShort("o"), .customLong("overwriteRoles"), .customLong("overwrite-roles")], help: "These roles and no others.")
  var overwriteRoles = false
  @Option(help: "Note.")
  var memo: String?
  @Argument(help: "Ids of the hosts.")
  var hostIDs: [String] = []

  mutating func run() async throws {
    let options = self
    let changesHost = name != nil || displayName != nil || memo != nil || (!roles.isEmpty && !overwriteRoles)
    guard changesHost || overwriteRoles || status != nil else {
      exitWithError("nothing to change: give --name, --displayName, --status, --roleFullname or --memo")
    }
    if let status, !MackerelClient.statuses.contains(status) {
      exitWithError("--status must be one of \(MackerelClient.statuses.joined(separator: ", ")); got '\(status)'")
    }
    await connection.with { client, settings in
      let ids = options.hostIDs.isEmpty ? MackerelConnection.ownID(settings).map { [$0] } ?? [] : options.hostIDs
      if ids.isEmpty { exitWithError("which host? Give its id; this machine has none") }
      for id in ids {
        if let status = options.status { try await client.setStatus(status, of: id) }
        if options.overwriteRoles {
          let body = Value.map(FieldMap([.init(key: "roleFullnames", value: .array(options.roles.map { Value($0) }))]))
          try await client.call("PUT", "/hosts/\(MackerelClient.pathPart(id))/role-fullnames", body.json ?? [])
        }
        if changesHost { try await options.change(id, client) }
        printError("updated \(id)")
      }
    }
  }

  /// PUT replaces name, display name, memo, identifier and facts: what is not changed is sent as it was.
  private func change(_ id: String, _ client: MackerelClient) async throws {
    let host = try await client.host(id).value
    var record = FieldMap()
    for name in ["name", "displayName", "memo", "customIdentifier", "meta", "interfaces"] {
      if let value = host[name] { record[name] = value }
    }
    if record["meta"] == nil { record["meta"] = .map(FieldMap()) }
    if let name { record["name"] = Value(name) }
    if let displayName { record["displayName"] = Value(displayName) }
    if let memo { record["memo"] = Value(memo) }
    if !roles.isEmpty, !overwriteRoles { record["roleFullnames"] = .array(roles.map { Value($0) }) }
    try await client.call("PUT", "/hosts/\(MackerelClient.pathPart(id))", Value.map(record).json ?? [])
  }
}
