import AggCore

/// What the configuration says of whose metrics come and how they are named.
struct MackerelRules: Sendable {
  let fields: FieldMetrics?
  let service: String?
  private let hostID: String?
  /// `${tag_parts[n]}` as the host's id.
  private let hostTagPart: Int?

  init(_ config: MackerelOutput.Config) throws(ConfigValueError) {
    fields = try FieldMetrics(config)
    service = config.service
    var part: Int?
    if let text = config.hostid, text.hasPrefix("${tag_parts["), text.hasSuffix("]}") {
      part = Int(text.dropFirst("${tag_parts[".count).dropLast(2))
      if part == nil { throw ConfigValueError("'hostid' must be an id or ${tag_parts[n]}; got '\(text)'") }
    }
    hostTagPart = part
    hostID = part == nil ? config.hostid : nil
  }

  var defaultTarget: MackerelPlan.Target? {
    service.map { .service($0) } ?? (hostTagPart == nil ? .host(hostID.map { .id($0) } ?? .own) : nil)
  }

  /// Nil where the tag has too few parts.
  func target(_ tag: Tag) -> MackerelPlan.Target? {
    guard let n = hostTagPart else { return defaultTarget }
    let parts = tag.parts
    let index = n < 0 ? parts.count + n : n
    return parts.indices.contains(index) ? .host(.id(String(parts[index]))) : nil
  }

  /// Whose a check or metadata is; nil where this output has no host.
  func reference(_ named: String?) -> HostReference? {
    if let named { return .named(named) }
    if service != nil || hostTagPart != nil { return nil }
    return hostID.map { .id($0) } ?? .own
  }
}
