public import AggCore

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
      if regexp.isEmpty == exclude.isEmpty { throw ConfigValueError("holds either <regexp> or <exclude> sections") }
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
      .rest(\.legacy, "regexpN and excludeN: `key pattern`, as older configurations write it"),
    ]
  }
  public static let name = "grep"
  public static let summary = "Keeps events whose fields match."

  private struct Test: Sendable {
    var path: RecordPath
    var regexp: Regexp
  }
  /// Kept when every one of `required` says yes and none of `refused` does; each is a group of tests.
  private let required: [(tests: [Test], any: Bool)]
  private let refused: [(tests: [Test], any: Bool)]

  public init(_ config: Config, _ context: PluginContext) throws {
    var config = config
    for entry in config.legacy {
      guard case .text(let text) = entry.value else { continue }
      let isRegexp = entry.name.hasPrefix("regexp")
      guard isRegexp || entry.name.hasPrefix("exclude"), Int(entry.name.dropFirst(isRegexp ? 6 : 7)) != nil else {
        context.config.warnings.add(entry.at, "unknown parameter '\(entry.name)'; known: regexp1 … regexp20, exclude1 … exclude20")
        continue
      }
      guard let space = text.firstIndex(of: " ") else { throw ConfigError(at: entry.at, "'\(entry.name)' wants a field and a pattern") }
      var rule = Rule()
      rule.key = try RecordPath(String(text[..<space]))
      rule.pattern = try Regexp(String(text[text.index(after: space)...]))
      if isRegexp { config.regexp.append(rule) } else { config.exclude.append(rule) }
    }
    func tests(_ rules: [Rule]) -> [Test] { rules.compactMap { rule in rule.pattern.map { Test(path: rule.key, regexp: $0) } } }
    required =
      tests(config.regexp).map { ([$0], false) } + config.and.filter { !$0.regexp.isEmpty }.map { (tests($0.regexp), false) }
      + config.or.filter { !$0.regexp.isEmpty }.map { (tests($0.regexp), true) }
    refused =
      tests(config.exclude).map { ([$0], true) } + config.and.filter { !$0.exclude.isEmpty }.map { (tests($0.exclude), false) }
      + config.or.filter { !$0.exclude.isEmpty }.map { (tests($0.exclude), true) }
  }

  public func filter(_ batch: EventBatch, _ sink: inout FilterSink) throws(FilterError) -> EventBatch {
    let kept = batch.filtered { _, record in
      for group in required where !Self.holds(group, record) { return false }
      for group in refused where Self.holds(group, record) { return false }
      return true
    }
    sink.drop(batch.count - kept.count, "grep")
    return kept
  }

  private static func holds(_ group: (tests: [Test], any: Bool), _ record: RecordView) -> Bool {
    for test in group.tests where matches(test, record) == group.any { return group.any }
    return !group.any
  }
  private static func matches(_ test: Test, _ record: RecordView) -> Bool {
    guard let value = test.path.find(record) else { return test.regexp.matches("") }
    if let text = value.textBytes { return test.regexp.matches(text) }
    return test.regexp.matches(value.displayText)
  }
}

extension RecordPath {
  /// Stands where a required parameter has not been read yet.
  static let placeholder = (try? RecordPath("_")) ?? { preconditionFailure("'_' is a field") }()
}
