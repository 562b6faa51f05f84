import AggCore

/// Which source's events can come to which label and to which match, followed from label to label.
///
/// Tags are known where the source's configuration says them and only plugins that keep them lie between.
struct TagFlow {
  /// What one source sends to a label.
  struct Arrival {
    /// The source's id; nil for events that agg makes itself.
    var source: String?
    var language: TagLanguage
    /// False where the tags are chosen elsewhere: then `language` is every tag.
    var isKnown: Bool
    /// The labels on the way, this one last.
    var path: [String]
  }
  /// A route to a label takes part in the search once for each source and path; more paths than this say nothing new.
  private static let pathsPerLabel = 256

  let topology: Topology
  private(set) var arrivals: [String: [Arrival]] = [:]
  /// By rule (index in the topology): the sources whose events come to it.
  private(set) var reached: [Int: [String]] = [:]
  /// Rules that agg's own events come to, or whose sources are too many to follow.
  private(set) var reachedOtherwise: Set<Int> = []
  /// Routes that come back to a label under the same tags: the rule that closes the circle, and an example.
  private(set) var circles: [(rule: Int, tag: String)] = []
  private let rulesByLabel: [String: [Int]]

  init(_ topology: Topology) {
    self.topology = topology
    rulesByLabel = Dictionary(grouping: topology.rules.indices) { topology.rules[$0].label }
    for source in topology.sources {
      switch source.tags {
      case .none: continue
      case .any: arrive(Arrival(source: source.id, language: TagLanguage(), isKnown: false, path: [source.label]))
      case .some(let patterns):
        arrive(Arrival(source: source.id, language: TagLanguage([patterns]), isKnown: true, path: [source.label]))
      }
    }
    if topology.routers["@ERROR"] != nil {
      arrive(Arrival(source: nil, language: TagLanguage(), isKnown: false, path: ["@ERROR"]))
    }
    let log = topology.routers["@FLUENT_LOG"] == nil ? "@ROOT" : "@FLUENT_LOG"
    if let levels = try? TagPattern("fluent.{trace,debug,info,warn,error,fatal}") {
      arrive(Arrival(source: nil, language: TagLanguage([[levels]]), isKnown: false, path: [log]))
    }
  }

  func rules(in label: String) -> [Int] { rulesByLabel[label] ?? [] }

  private mutating func arrive(_ arrival: Arrival) {
    guard let label = arrival.path.last, arrivals[label, default: []].count < Self.pathsPerLabel else { return }
    arrivals[label, default: []].append(arrival)
    var taken: [TagPattern] = []
    for index in rules(in: label) {
      let rule = topology.rules[index]
      let here = arrival.language.and([rule.pattern]).without(taken)
      let example = here.example()
      if rule.kind == "match" { taken.append(rule.pattern) }
      if example == .none { continue }
      if let source = arrival.source {
        if reached[index]?.contains(source) != true { reached[index, default: []].append(source) }
      } else {
        reachedOtherwise.insert(index)
      }
      follow(index, here, example, arrival)
    }
  }

  private mutating func follow(_ index: Int, _ language: TagLanguage, _ example: TagLanguage.Answer, _ arrival: Arrival) {
    let rule = topology.rules[index]
    var seen: Set<String> = []
    for edge in topology.labelEdges where edge.from == rule.label && edge.rule == rule.at && topology.routers[edge.to] != nil {
      guard seen.insert("\(edge.keepsTags) \(edge.to)").inserted else { continue }
      if arrival.path.contains(edge.to) {
        if edge.keepsTags, case .some(let tag) = example, !circles.contains(where: { $0.rule == index }) {
          circles.append((index, tag))
        }
        continue
      }
      arrive(
        Arrival(
          source: arrival.source, language: edge.keepsTags ? language : TagLanguage(), isKnown: edge.keepsTags && arrival.isKnown,
          path: arrival.path + [edge.to]))
    }
  }
}

extension Topology {
  /// A source as the explanation needs it.
  struct Source {
    var id: String
    var type: String
    var at: SourceLocation
    var label: String
    var tags: SourceTags
  }
  var sources: [Source] {
    inputs.map { input in
      let plugin = plugins.first { $0.id == input.id && $0.kind == "input" }
      return Source(
        id: input.id, type: plugin?.type ?? "", at: plugin?.element.at ?? SourceLocation(file: "", line: 0), label: input.label,
        tags: input.input.tags)
    }
  }
}
