import AggCore

/// What is told of this machine.
struct HostSpec: Sendable {
  let name: String
  let customIdentifier: String?
  let interfaces: [HostInterface]
  /// This is a cloud's instance, whose metadata service did not answer.
  let cloudIsSilent: Bool
  /// As POST and PUT of /hosts take it.
  let record: FieldMap

  init(
    _ config: MackerelOutput.Host, _ cloud: CloudMetadata?, isSilent: Bool, hostname: String,
    agent: (name: String, version: String)
  ) {
    name = hostname
    cloudIsSilent = isSilent && config.customIdentifier == nil
    customIdentifier = config.customIdentifier ?? cloud?.customIdentifier
    interfaces = HostInterface.all()
    var record = FieldMap()
    record["name"] = Value(hostname)
    if let displayName = config.displayName { record["displayName"] = Value(displayName) }
    if let customIdentifier { record["customIdentifier"] = Value(customIdentifier) }
    var meta = HostFacts.meta(agent: agent.name, version: agent.version)
    if let cloud { meta["cloud"] = cloud.value }
    record["meta"] = .map(meta)
    record["interfaces"] = .array(interfaces.map(\.value))
    if !config.roles.isEmpty { record["roleFullnames"] = .array(config.roles.map { Value($0) }) }
    self.record = record
  }
}
