public import AggCore
import Synchronization

/// Keeps events whose fields match.
public struct GrepFilter: Filter {
  public struct Rule: Configurable {
    var key = RecordPath.placeholder
    var pattern: Regexp?
    public init() {}
    public static let parameters: [Parameter<Self>] = [
      .required("key", \.key, "Field to look at"),
      .required("pattern", \.pattern, "Regular expression, /…/"),
    ]
  }
  public struct Group: Configurable {
    var regexp: [Rule] = []
    var exclude: [Rule] = []
    public init() {}
    public static let parameters: [Parameter<Self>] = [
      .sections("regexp", \.regexp, "Must match"), .sections("exclude", \.exclude, "Must not match"),
    ]
    public mutating func validate(_ context: ConfigContext) throws {
      if !regexp.isEmpty, !exclude.isEmpty { throw ConfigValueError("holds both <regexp> and <exclude> sections; give each a section of its own") }
    }
  }
  public struct Config: Configurable {
    var regexp: [Rule] = []
    var exclude: [Rule] = []
    var and: [Group] = []
    var or: [Group] = []
    var legacy: [ConfigElement.Entry] = []
    public init() {}
    public static let parameters: [Parameter<Self>] = [
      .sections("regexp", \.regexp, "The event is kept only when every one matches"),
      .sections("exclude", \.exclude, "The event is dropped when any one matches"),
      .sections("and", \.and, "Rules that count together"),
      .sections("or", \.or, "Rules of which one is enough"),
      .rest(\.legacy, "regexp1 … regexp20 and exclude1 … exclude20: `key pattern`, as older configurations write it"),
    ]
  }
  public static let name = "grep"
  public static let summary = "Keeps events whose fields match."

  struct Test: Sendable {
    var path: RecordPath
    var regexp: Regexp
  }
  /// Tests that decide together. All sections of one sort are one group, as in Fluentd.
  struct TestGroup: Sendable {
    /// Whether one match is enough, or all must match.
    var any: Bool
    /// Whether an event for which the group says yes is dropped, or one for which it says no.
    var dropsMatching: Bool
    var tests: [Test] = []

    mutating func add(_ rules: [Rule], _ place: String) throws {
      for rule in rules {
        guard let pattern = rule.pattern else { continue }
        if tests.contains(where: { $0.path.configText == rule.key.configText }) {
          throw ConfigValueError("the key '\(rule.key.configText)' is tested twice\(place); join the two patterns by | (or look ahead, where both must match)")
        }
        tests.append(Test(path: rule.key, regexp: pattern))
      }
    }
  }
  private let groups: [TestGroup]
  private let log: Log
  private let warned = Once()

  public init(_ config: Config, _ context: PluginContext) throws {
    var config = config
    log = context.log
    try Self.readLegacy(&config, context)
    var allRegexp = TestGroup(any: false, dropsMatching: false)
    var anyRegexp = TestGroup(any: true, dropsMatching: false)
    var allExclude = TestGroup(any: false, dropsMatching: true)
    var anyExclude = TestGroup(any: true, dropsMatching: true)
    try allRegexp.add(config.regexp, "")
    try anyExclude.add(config.exclude, "")
    for group in config.and {
      try allRegexp.add(group.regexp, " in <and>")
      try allExclude.add(group.exclude, " in <and>")
    }
    for group in config.or {
      try anyRegexp.add(group.regexp, " in <or>")
      try anyExclude.add(group.exclude, " in <or>")
    }
    groups = [allRegexp, anyRegexp, allExclude, anyExclude].filter { !$0.tests.isEmpty }
  }

  private static func readLegacy(_ config: inout Config, _ context: PluginContext) throws {
    var regexps: [(n: Int, rule: Rule)] = []
    var excludes: [(n: Int, rule: Rule)] = []
    for entry in config.legacy {
      guard case .text(let text) = entry.value else { continue }
      let isRegexp = entry.name.hasPrefix("regexp")
      let digits = entry.name.dropFirst(isRegexp ? 6 : 7)
      guard isRegexp || entry.name.hasPrefix("exclude"), let n = Int(digits), (1...20).contains(n), String(n) == digits else {
        let near = nearest(entry.name, ["regexp1", "exclude1"]).map { "; did you mean '\($0)'?" } ?? "; known: regexp1 … regexp20, exclude1 … exclude20"
        context.config.warnings.add(entry.at, "unknown parameter '\(entry.name)'" + near)
        continue
      }
      context.config.warnings.add(entry.at, "'\(entry.name)' is deprecated: use a <\(isRegexp ? "regexp" : "exclude")> section")
      let parts = text.split(separator: " ", maxSplits: 1, omittingEmptySubsequences: false)
      guard parts.count == 2 else { throw ConfigError(at: entry.at, "'\(entry.name)' wants a field and a pattern with a space between; got '\(text)'") }
      var rule = Rule()
      do throws(ConfigValueError) {
        rule.key = try RecordPath(String(parts[0]))
        rule.pattern = try Regexp(String(parts[1]))
      } catch { throw ConfigError(at: entry.at, "'\(entry.name)' \(error.message)") }
      if isRegexp { regexps.append((n, rule)) } else { excludes.append((n, rule)) }
    }
    config.regexp = regexps.sorted { $0.n < $1.n }.map(\.rule) + config.regexp
    config.exclude = excludes.sorted { $0.n < $1.n }.map(\.rule) + config.exclude
  }

  public func filter(_ batch: EventBatch, _ sink: inout FilterSink) throws(FilterError) -> EventBatch {
    if groups.isEmpty || batch.isEmpty { return batch }
    var run = GrepRun(count: batch.count)
    for group in groups { run.decide(group, batch) }
    if let why = run.failure, warned.isFirst() { log.warn("an event that cannot be tested is kept: \(why)") }
    var index = 0
    let kept = batch.filtered { _, _ in
      defer { index += 1 }
      return run.keeps(index)
    }
    sink.drop(batch.count - kept.count, "grep")
    return kept
  }

  private final class Once: Sendable {
    private let done = Atomic(false)
    func isFirst() -> Bool { !done.exchange(true, ordering: .relaxed) }
  }
}

extension RecordPath {
  /// Stands where a required parameter has not been read yet.
  static let placeholder = (try? RecordPath("_")) ?? { preconditionFailure("'_' is a field") }()
}
