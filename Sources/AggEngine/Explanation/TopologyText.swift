public import AggCore

/// A topology as text for people: sources and what they survive, then each label's filters and matches.
public struct TopologyText {
  public let text: String
  public let warnings: [ConfigError]

  public init(_ topology: Topology) {
    let flow = TagFlow(topology)
    warnings = TopologyWarnings(topology, flow).all
    var out = "sources\n"
    for source in topology.sources {
      let label = source.label == "@ROOT" ? "" : " -> \(source.label)"
      out += "  \(source.type) \(source.id) (\(source.at)): tags \(source.tags.text)\(label)\n"
      if case .none = source.tags { continue }
      out += "    weakest hop: \(Self.weakestHop(of: source.id, topology, flow))\n"
    }
    for (label, at) in [("@ROOT", nil)] + topology.labelPlaces.map({ ($0.name, Optional($0.at)) }) {
      if label == "@ROOT", flow.rules(in: label).isEmpty { continue }
      out += label == "@ROOT" ? "top level\n" : "label \(label) (\(at.map(\.description) ?? ""))\n"
      out += Self.rules(label, topology, flow)
    }
    text = out
  }

  private static func rules(_ label: String, _ topology: Topology, _ flow: TagFlow) -> String {
    var out = ""
    var filters: [Topology.RuleEntry] = []
    for index in flow.rules(in: label) {
      let rule = topology.rules[index]
      out += "  \(rule.kind) \(rule.type) \(rule.id) (\(rule.at)): \(rule.pattern.source)\n"
      if rule.kind == "filter" {
        filters.append(rule)
        continue
      }
      let applied = filters.compactMap { filter -> String? in
        if TagLanguage([[filter.pattern], [rule.pattern]]).isEmpty { return nil }
        return TagLanguage([[rule.pattern]]).without([filter.pattern]).isEmpty
          ? filter.id : "\(filter.id) (for \(filter.pattern.source))"
      }
      if !applied.isEmpty { out += "    after: \(applied.joined(separator: ", "))\n" }
      let sources = (flow.reached[index] ?? []) + (flow.reachedOtherwise.contains(index) ? ["agg's own events"] : [])
      out += "    from: \(sources.isEmpty ? "nobody" : sources.joined(separator: ", "))\n"
      for output in rule.outputs {
        let name = output.id == rule.id ? "" : "\(output.type) \(output.id) (\(output.at)): "
        if let kept = output.kept { out += "    \(name)\(kept)\n" } else if !name.isEmpty { out += "    \(name.dropLast(2))\n" }
        if let fate = output.fate { out += "    \(name.isEmpty ? "" : "\(output.id): ")given up: \(fate)\n" }
      }
      for label in targets(rule, topology) { out += "    to: \(label)\n" }
    }
    return out
  }

  private static func targets(_ rule: Topology.RuleEntry, _ topology: Topology) -> [String] {
    var names: [String] = []
    for edge in topology.labelEdges where edge.from == rule.label && edge.rule == rule.at {
      let name = edge.to == "@ROOT" ? "the top level" : "label \(edge.to)"
      let text = edge.keepsTags ? name : "\(name), under tags of its own"
      if !names.contains(text) { names.append(text) }
    }
    return names
  }

  /// Where events of the source are least safe once they were taken.
  private static func weakestHop(of id: String, _ topology: Topology, _ flow: TagFlow) -> String {
    let outputs = topology.rules.indices.filter { flow.reached[$0]?.contains(id) ?? false }.flatMap { topology.rules[$0].outputs }
    let weakest = outputs.filter { $0.storage != .routes }.min { $0.storage.rank < $1.storage.rank }
    guard let weakest else { return "no output: its events are dropped" }
    let name = "\(weakest.id) (\(weakest.at))"
    switch weakest.storage {
    case .routes, .none: return "\(name) has no buffer: what it cannot write at once is dropped and counted"
    case .memory: return "memory buffer of \(name): a kill loses what it holds"
    case .file: return "file buffer of \(name), durability os: survives a kill, not a power failure"
    case .fileSynced: return "file buffer of \(name), durability fsync: survives a power failure"
    }
  }
}

extension Topology.OutputEntry {
  /// What keeps the events; nil for outputs that only route.
  fileprivate var kept: String? {
    let secondary = self.secondary.map { ", secondary \($0)" } ?? ""
    switch storage {
    case .routes: return nil
    case .none: return "no buffer"
    case .memory: return "memory buffer\(secondary)"
    case .file: return "file buffer \(path ?? ""), durability os\(secondary)"
    case .fileSynced: return "file buffer \(path ?? ""), durability fsync\(secondary)"
    }
  }
}

extension Topology.OutputEntry {
  /// What becomes of events that the destination never takes; nil without a buffer.
  fileprivate var fate: String? {
    switch storage {
    case .routes, .none: nil
    case .memory, .file, .fileSynced:
      deadLetters.map { "dead letters in \($0)" }
        ?? (storage == .memory ? "dropped and counted; root_dir or dead_letter_path of <system> would keep them" : "dropped and counted")
    }
  }
}

extension Topology.OutputEntry.Storage {
  /// Ascending: what a failure costs.
  fileprivate var rank: Int {
    switch self {
    case .memory: 0
    case .none, .routes: 1
    case .file: 2
    case .fileSynced: 3
    }
  }
}
