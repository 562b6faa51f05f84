public import AggCore
import Synchronization

/// Gives events a tag made of their fields and routes them again.
///
/// Source: fluent-plugin-rewrite-tag-filter 2.4.
public struct RewriteTagFilterOutput: RoutingOutput {
  public struct Rule: Configurable {
    var key = RecordPath.placeholder
    var pattern: Regexp?
    var tag = ""
    var label: String?
    var invert = false
    public init() {}
    public static let parameters: [Parameter<Self>] = [
      .required("key", \.key, "Field to look at"),
      .required("pattern", \.pattern, "Regular expression, /…/"),
      .required("tag", \.tag, "The new tag: $1 …, ${tag}, ${tag_parts[n]}, ${hostname}"),
      .optional("label", \.label, "Label that gets the event"),
      .optional("invert", \.invert, "The rule holds where the pattern does not match"),
    ]
    public mutating func validate(_ context: ConfigContext) throws {
      if tag.isEmpty { throw ConfigValueError("'tag' must not be empty") }
      if let range = try? Regexp(#"\$\{tag_parts\[\d\.\.\.?\d\]\}|__TAG_PARTS\[\d\.\.\.?\d\]__"#), range.matches(tag) {
        throw ConfigValueError("'tag' has a range of tag parts; write each part by itself, as ${tag_parts[0]}.${tag_parts[1]}")
      }
    }
  }
  public struct Config: Configurable {
    public enum Mode: String, ConfigEnum { case record, batch }
    var rules: [Rule] = []
    var capitalize = false
    var removeTagPrefix: String?
    var removeTagRegexp: Regexp?
    var emitMode = Mode.batch
    public init() {}
    public static let parameters: [Parameter<Self>] = [
      .sections("rule", \.rules, "Rules in order; the first that holds decides", required: true),
      .optional("capitalize_regex_backreference", \.capitalize, "Write $1 … with a capital and small letters"),
      .optional("remove_tag_prefix", \.removeTagPrefix, "Taken off the tag for ${tag} and ${tag_parts[n]}"),
      .optional("remove_tag_regexp", \.removeTagRegexp, "Likewise, by its first match"),
      .optional("emit_mode", \.emitMode, "batch: events of one new tag together; record: in their order"),
      .ignored("hostname_command", "${hostname} is the daemon's host name"),
    ]
    public mutating func validate(_ context: ConfigContext) throws {
      if removeTagPrefix != nil, removeTagRegexp != nil { throw ConfigValueError("'remove_tag_prefix' and 'remove_tag_regexp' exclude each other") }
      var seen: Set<String> = []
      for rule in rules where !seen.insert("\(rule.key.configText)\(rule.invert ? "!" : " ")\(rule.pattern?.configText ?? "")").inserted {
        throw ConfigValueError("two <rule> sections have the key '\(rule.key.configText)' and the same pattern; the second could never hold")
      }
    }
  }
  public static let name = "rewrite_tag_filter"
  public static let summary = "Gives events a tag made of their fields and routes them again."

  struct Step: Sendable {
    var key: RecordPath
    var pattern: Regexp
    var tag: RewriteTemplate
    var label: Int
    var invert: Bool
  }
  private let steps: [Step]
  /// Where events go: the plugin's own router, then the labels of rules.
  private let routers: [any Sink]
  private let config: Config
  private let context: PluginContext
  private let hasWarned = Once()

  public init(_ config: Config, _ context: PluginContext) throws {
    self.config = config
    self.context = context
    var routers = [context.router()]
    var labels: [String] = [""]
    var steps: [Step] = []
    for (index, rule) in config.rules.enumerated() {
      guard let pattern = rule.pattern else { continue }
      let at = context.element.children("rule").dropFirst(index).first?.at ?? context.element.at
      let template = RewriteTemplate(rule.tag, hasCaptures: !rule.invert)
      for name in template.unknown { context.config.warnings.add(at, "unknown placeholder \(name) in 'tag'; it becomes nothing") }
      let label = rule.label ?? ""
      if !labels.contains(label) {
        labels.append(label)
        routers.append(context.label(label, at: at))
      }
      steps.append(Step(key: rule.key, pattern: pattern, tag: template, label: labels.firstIndex(of: label) ?? 0, invert: rule.invert))
    }
    self.steps = steps
    self.routers = routers
  }

  public func route(_ batch: EventBatch, _ transaction: inout Transaction) throws(EmitError) {
    var run = RewriteRun(steps, batch.tag, placeholders(batch.tag), capitalize: config.capitalize, keepsOrder: config.emitMode == .record)
    batch.forEach { event in run.add(event) }
    let (ready, unmatched, unusable) = run.finish()
    for (label, part) in ready where routers.indices.contains(label) { try routers[label].take(part, &transaction) }
    if unmatched > 0 { transaction.onCommit { [counters = context.counters] in counters.drop(unmatched, "not_rewritten", from: .delivered) } }
    if let unusable {
      transaction.onCommit { [counters = context.counters] in counters.drop(unusable.count, "bad_tag", from: .delivered) }
      transaction.fail(unusable, reason: "the new tag is longer than \(Tag.maximumLength) bytes, or not a text", plugin: context.id)
    }
    if let failure = run.failure, hasWarned.isFirst() { context.log.warn("a rule is passed over: \(failure); told once") }
  }

  private func placeholders(_ tag: Tag) -> RewriteTemplate.Scope {
    var text = tag.description
    if let prefix = config.removeTagPrefix, text.hasPrefix(prefix) {
      text = String(text.dropFirst(prefix.count))
      if text.hasPrefix(".") { text.removeFirst() }
    } else if let regexp = config.removeTagRegexp {
      var matcher = regexp.matcher()
      var bytes = Array(text.utf8)
      let range = bytes.withUnsafeBytes { matcher.match($0) ? matcher.range(of: 0) : nil }
      if let range { bytes.removeSubrange(range) }
      text = String(decoding: bytes, as: UTF8.self)
    }
    return RewriteTemplate.Scope(tag: text, hostname: context.system.hostname)
  }

  private final class Once: Sendable {
    private let done = Atomic(false)
    func isFirst() -> Bool { !done.exchange(true, ordering: .relaxed) }
  }
}
