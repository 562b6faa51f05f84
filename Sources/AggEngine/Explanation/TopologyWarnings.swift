public import AggCore

/// What is valid in a configuration and surely not meant: matches and filters that get nothing, labels nobody uses, tags that nobody takes.
public struct TopologyWarnings {
  /// By place in the file.
  public private(set) var all: [ConfigError] = []
  private let topology: Topology
  private let flow: TagFlow
  private var shadowed: Set<Int> = []

  public init(_ topology: Topology) { self.init(topology, TagFlow(topology)) }

  init(_ topology: Topology, _ flow: TagFlow) {
    self.topology = topology
    self.flow = flow
    for label in ["@ROOT"] + topology.labelPlaces.map(\.name) { shadows(label) }
    unusedLabels()
    for label in ["@ROOT"] + topology.labelPlaces.map(\.name) {
      unreached(label)
      untaken(label)
    }
    for (index, tag) in flow.circles {
      let rule = topology.rules[index]
      add(
        rule.at,
        "<match \(rule.pattern.source)> sends events back to a label they came through, such as tag \(tag): a circle, which refuses them"
      )
    }
    all.sort { ($0.at.file, $0.at.line) < ($1.at.file, $1.at.line) }
  }

  private mutating func add(_ at: SourceLocation, _ message: String) { all.append(ConfigError(at: at, message)) }
  private static func name(_ label: String) -> String { label == "@ROOT" ? "the top level" : "<label \(label)>" }
  private func text(_ rule: Topology.RuleEntry) -> String { "<\(rule.kind) \(rule.pattern.source)>" }

  /// Matches, and filters, whose tags earlier matches take.
  private mutating func shadows(_ label: String) {
    var earlier: [Topology.RuleEntry] = []
    for index in flow.rules(in: label) {
      let rule = topology.rules[index]
      let own = TagLanguage([[rule.pattern]])
      defer { if rule.kind == "match" { earlier.append(rule) } }
      if earlier.isEmpty { continue }
      let what = rule.kind == "match" ? "is never reached" : "is never applied"
      if let cover = earlier.first(where: { own.without([$0.pattern]).isEmpty }) {
        shadowed.insert(index)
        let same = cover.pattern.source == rule.pattern.source ? "takes the same tags" : "takes all its tags"
        let remedy = rule.kind == "match" ? "put the narrower match first" : "put the filter before it"
        add(
          rule.at,
          "\(text(rule)) \(what): \(text(cover)) at \(cover.at) \(same); \(same == "takes the same tags" && rule.kind == "match" ? "use copy to send events to both" : remedy)"
        )
      } else if own.without(earlier.map(\.pattern)).isEmpty {
        shadowed.insert(index)
        add(
          rule.at,
          "\(text(rule)) \(what): the matches before it (\(earlier.map { "\($0.at.line)" }.joined(separator: ", "))) take all its tags together"
        )
      } else if rule.kind == "filter", let part = earlier.first(where: { !TagLanguage([[rule.pattern], [$0.pattern]]).isEmpty }) {
        if case .some(let tag) = TagLanguage([[rule.pattern], [part.pattern]]).example() {
          add(
            rule.at,
            "\(text(rule)) is not applied to the tags that \(text(part)) at \(part.at) takes, such as \(tag): filters act on matches after them"
          )
        }
      }
    }
  }

  private mutating func unusedLabels() {
    for (name, at) in topology.labelPlaces where topology.labelUses[name] == nil && !["@ERROR", "@FLUENT_LOG"].contains(name) {
      add(at, "<label \(name)> is never used: no source, relabel or other plugin names it")
    }
  }

  /// Rules that no source's events can come to.
  private mutating func unreached(_ label: String) {
    if label != "@ROOT", topology.labelUses[label] == nil, flow.arrivals[label] == nil { return }
    let known = (flow.arrivals[label] ?? []).filter { $0.source != nil }
    for index in flow.rules(in: label)
    where !shadowed.contains(index) && flow.reached[index] == nil && !flow.reachedOtherwise.contains(index) {
      let rule = topology.rules[index]
      if known.isEmpty {
        add(rule.at, "\(text(rule)) gets nothing: no source's events come to \(Self.name(label))")
      } else {
        add(rule.at, "\(text(rule)) gets nothing: the sources that send to \(Self.name(label)) make other tags (\(tags(known)))")
      }
    }
  }
  private func tags(_ arrivals: [TagFlow.Arrival]) -> String {
    var names: [String] = []
    for arrival in arrivals {
      guard let source = topology.sources.first(where: { $0.id == arrival.source }) else { continue }
      let name = "\(source.id): \(source.tags.text)"
      if !names.contains(name) { names.append(name) }
    }
    return names.prefix(8).joined(separator: ", ") + (names.count > 8 ? ", …" : "")
  }

  /// Tags that a source is known to make and no match takes.
  private mutating func untaken(_ label: String) {
    let matches = flow.rules(in: label).map { topology.rules[$0] }.filter { $0.kind == "match" }.map(\.pattern)
    if matches.contains(where: \.hasRegexp) { return }
    var told: Set<String> = []
    for arrival in flow.arrivals[label] ?? [] where arrival.isKnown {
      guard let id = arrival.source, told.insert(id).inserted, let source = topology.sources.first(where: { $0.id == id }) else {
        continue
      }
      if case .some(let tag) = arrival.language.without(matches).example() {
        add(
          source.at, "events of \(source.id) with tags such as \(tag) are dropped: no <match> of \(Self.name(label)) takes them")
      }
    }
  }
}

extension SourceTags {
  /// As `agg check` prints them.
  var text: String {
    switch self {
    case .any: "any"
    case .none: "none"
    // Backslashes only say that a byte stands for itself.
    case .some(let patterns): patterns.map { $0.source.filter { $0 != "\\" } }.joined(separator: " ")
    }
  }
}
