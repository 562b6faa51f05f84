public import AggCore

extension TailInput {
  /// `<group>`: how many lines are taken from the files of a group in a time; each file has an even share.
  public struct GroupSection: Configurable {
    /// The names that Kubernetes gives its containers' log files.
    var pattern = try? Regexp(
      #"^\/var\/log\/containers\/(?<podname>[a-z0-9]([-a-z0-9]*[a-z0-9])?(\/[a-z0-9]([-a-z0-9]*[a-z0-9])?)*)_(?<namespace>[^_]+)_(?<container>.+)-(?<docker_id>[a-z0-9]{64})\.log$"#
    )
    var ratePeriod = TimeSpan(seconds: 5)
    var rules: [GroupRule] = []
    public init() {}
    public static let parameters: [Parameter<Self>] = [
      .optional("pattern", \.pattern, "What of a path tells the groups apart, by the names of its captures"),
      .optional("rate_period", \.ratePeriod, "The time that a limit is for"),
      .sections("rule", \.rules, "A group; of several that take a file the one with more conditions counts", required: true),
    ]
    public mutating func validate(_ context: ConfigContext) throws {
      guard let pattern, !pattern.names.isEmpty else {
        throw ConfigValueError("'pattern' needs a named capture: (?<namespace>…)")
      }
      if ratePeriod.nanoseconds <= 0 { throw ConfigValueError("'rate_period' must be more than 0") }
      for rule in rules {
        for pair in rule.match.pairs where !pattern.names.contains(pair.key) {
          throw ConfigValueError(
            "'match' has '\(pair.key)', which 'pattern' does not capture; it has \(pattern.names.joined(separator: ", "))")
        }
      }
    }
  }

  public struct GroupRule: Configurable {
    var match = StringMap()
    var limit = -1
    public init() {}
    public static let parameters: [Parameter<Self>] = [
      .optional(
        "match", \.match, "Captures and the expressions that they have to match, as JSON; one that is not named may be anything"),
      .optional("limit", \.limit, "Lines of all files of the group in rate_period; -1 is no limit, 0 takes none"),
    ]
    public mutating func validate(_ context: ConfigContext) throws {
      if limit < -1 { throw ConfigValueError("'limit' must be at least -1; got \(limit)") }
      for pair in match.pairs {
        do throws(ConfigValueError) { _ = try Regexp(configText: pair.value, strict: true) } catch {
          throw ConfigValueError("'match' \(pair.key): \(error.message)")
        }
      }
    }
  }
}

/// One group of files and its limit. Used by the input's one task.
final class TailGroup {
  /// Lines in a period; negative for no limit.
  let limit: Int
  let period: Int64
  /// How many files share it.
  var files = 0
  init(limit: Int, period: Int64) {
    self.limit = limit
    self.period = period
  }
}

/// The groups of a `<group>` section, by path; source: Fluentd's in_tail/group_watch.rb.
final class TailGroups {
  private let pattern: Regexp
  private var groups: [(expression: Regexp, group: TailGroup)] = []
  private let others: TailGroup

  init?(_ section: TailInput.GroupSection?) throws(ConfigValueError) {
    guard let section, let pattern = section.pattern else { return nil }
    self.pattern = pattern
    let period = Int64(section.ratePeriod.nanoseconds)
    var others: TailGroup?
    // More conditions first; among equals the file's order.
    let rules = section.rules.enumerated().sorted {
      ($1.element.match.pairs.count, $0.offset) < ($0.element.match.pairs.count, $1.offset)
    }
    for (_, rule) in rules {
      let group = TailGroup(limit: rule.limit, period: period)
      if rule.match.isEmpty {
        if others == nil { others = group }
        continue
      }
      let parts = pattern.names.map { name in rule.match[name].map(Self.embedded) ?? ".*" }
      groups.append((try Regexp(parts.joined(separator: "_")), group))
    }
    self.others = others ?? TailGroup(limit: -1, period: period)
  }

  /// `/x/i` as a part of a larger expression.
  private static func embedded(_ text: String) -> String {
    guard text.hasPrefix("/"), let end = text.lastIndex(of: "/"), end > text.startIndex else { return "(?:\(text))" }
    let options = text[text.index(after: end)...].filter { "imx".contains($0) }
    return "(?\(options):\(text[text.index(after: text.startIndex)..<end]))"
  }

  /// The group of a path; nil names in the answer's second part say that the pattern does not know such paths.
  func group(of path: String) -> (group: TailGroup, isKnown: Bool) {
    var path = path
    let values: [String]? = path.withUTF8 { bytes in
      let text = UnsafeRawBufferPointer(bytes)
      var matcher = pattern.matcher()
      guard matcher.match(text) else { return nil }
      return pattern.names.indices.map { index in
        matcher.range(ofName: index).map { String(decoding: text[$0], as: UTF8.self) } ?? ""
      }
    }
    guard let key = values?.joined(separator: "_") else { return (others, false) }
    return (groups.first { $0.expression.matches(key) }?.group ?? others, true)
  }
}

/// What one file has taken of its share.
struct TailShare {
  private var since: MonotonicTime?
  private var lines = 0

  /// Lines that may be read now; nil for no limit.
  mutating func allowance(_ group: TailGroup, now: MonotonicTime) -> Int? {
    if group.limit < 0 { return nil }
    if group.limit == 0 { return 0 }
    if let since, now.since(since) >= group.period {
      self.since = nil
      lines = 0
    }
    // A share is never nothing: every file goes on, slowly.
    return max(0, max(1, group.limit / max(1, group.files)) - lines)
  }
  mutating func took(_ count: Int, now: MonotonicTime) {
    since = since ?? now
    lines += count
  }
}
