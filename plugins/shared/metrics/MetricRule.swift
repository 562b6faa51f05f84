import AggCore
import Synchronization

/// One `<metric>`, compiled: where its value and labels come from, and the family that it counts.
struct MetricRule: Sendable {
  let family: MetricFamily
  let key: RecordPath?
  let labels: [LabelTemplate]
  /// The configured name of a label by its place, and whether records or tags decide it.
  let section: MetricSection

  /// `common` are the plugin's own `<labels>`; source of their order: fluent-plugin-prometheus.
  init(_ section: MetricSection, common: ConfigElement?, at: SourceLocation, registry: MetricRegistry, _ context: PluginContext)
    throws
  {
    var pairs = try MetricSection.labels(common)
    if context.system.workers > 1, !pairs.contains(where: { $0.name == "worker_id" }) {
      pairs.append(("worker_id", String(context.system.workerID), at))
    }
    for own in try MetricSection.labels(section.labels) {
      if let known = pairs.firstIndex(where: { $0.name == own.name }) {
        pairs[known].value = own.value
      } else {
        pairs.append(own)
      }
    }
    if section.type == .histogram, let le = pairs.first(where: { $0.name == "le" }) {
      throw ConfigError(at: le.at, "a histogram cannot have the label 'le': its buckets have it")
    }
    if section.type == .summary, let quantile = pairs.first(where: { $0.name == "quantile" }) {
      throw ConfigError(at: quantile.at, "a summary cannot have the label 'quantile'")
    }
    var templates: [LabelTemplate] = []
    for pair in pairs {
      do throws(ConfigValueError) { templates.append(try LabelTemplate(pair.value, system: context.system)) } catch {
        throw ConfigError(at: pair.at, "'\(pair.name)' \(error.message)")
      }
    }
    let shape = MetricFamily.Shape(
      name: section.name, kind: section.type.kind, help: section.desc, labels: pairs.map(\.name),
      buckets: section.type == .histogram ? section.buckets ?? MetricSection.defaultBuckets : [])
    labels = templates
    key = section.key
    self.section = section
    let initial = section.isInitialized ? try Self.initial(section, pairs.map(\.name), templates, at) : []
    family = try registry.family(shape, limit: section.limit, retention: section.retention.map { Int64($0.nanoseconds) }, at: at)
    for values in initial { family.initialize(values) }
  }

  /// The label sets to show before the first record.
  private static func initial(_ section: MetricSection, _ names: [String], _ templates: [LabelTemplate], _ at: SourceLocation)
    throws(ConfigError) -> [[String]]
  {
    let open = zip(names, templates).filter { $0.1.constant == nil }.map(\.0)
    if section.initLabels.isEmpty {
      guard let first = open.first else { return [templates.map { $0.constant ?? "" }] }
      throw ConfigError(at: at, "'initialized' needs <initlabels> with a value for '\(first)', which records decide")
    }
    var sets: [[String]] = []
    for element in section.initLabels {
      let given = try MetricSection.labels(element)
      for pair in given {
        if !names.contains(pair.name) {
          throw ConfigError(at: pair.at, "'\(pair.name)' is not among <labels> of '\(section.name)'")
        }
        if !open.contains(pair.name) {
          throw ConfigError(at: pair.at, "'\(pair.name)' has a fixed value in <labels>; leave it out of <initlabels>")
        }
        if ["$.", "$[", "${"].contains(where: { pair.value.hasPrefix($0) }) {
          throw ConfigError(at: pair.at, "'\(pair.name)' must be a plain value in <initlabels>; got '\(pair.value)'")
        }
      }
      if let missing = open.first(where: { name in !given.contains { $0.name == name } }) {
        throw ConfigError(at: element.at, "<initlabels> of '\(section.name)' lacks '\(missing)'")
      }
      sets.append(
        zip(names, templates).map { name, template in template.constant ?? given.first { $0.name == name }?.value ?? "" })
    }
    return sets
  }

  /// What came of a batch, for the log.
  struct Problems: Sendable {
    var notNumbers = 0
    var negative = 0
  }

  /// What the batch adds, by label set.
  func tally(_ batch: EventBatch, _ tag: TagScope, _ problems: inout Problems) -> MetricTally {
    var tally = MetricTally(family.shape)
    let parts = labels.map { $0.parts(tag) }
    var found = problems
    var writer = LabelKeyWriter(parts)
    if key == nil, writer.isConstant {
      writer.constant.withUnsafeBytes { tally.add(1, times: batch.count, $0) }
      return tally
    }
    batch.forEachEvent { _, record in
      guard let value = value(record, &found) else { return }
      writer.withKey(record) { tally.add(value, $0) }
    }
    problems = found
    return tally
  }

  /// The event's value; nil where it counts nothing.
  func value(_ record: RecordView, _ problems: inout Problems) -> Double? {
    guard let key else { return 1 }
    guard let field = key.topLevelKey.map({ record.find($0) }) ?? key.find(record), !field.isNull else { return nil }
    guard let number = field.number else {
      // Ruby: false is no value, anything else that is no number is an error.
      if field.bool != false { problems.notNumbers += 1 }
      return nil
    }
    // One NaN would be in every sum from then on.
    if number.isNaN, family.shape.kind != .gauge {
      problems.notNumbers += 1
      return nil
    }
    if family.shape.kind == .counter, number < 0 {
      problems.negative += 1
      return nil
    }
    return number
  }
}

/// Writes the label values of one record after another as a family's key.
struct LabelKeyWriter: ~Copyable {
  private let parts: [[LabelTemplate.Part]]
  /// The key, where no label reads the record.
  let constant: [UInt8]
  let isConstant: Bool
  private var key = ByteWriter(capacity: 256)
  private var text = ByteWriter(capacity: 256)
  /// Longer values are cut: a label is an identifier, not a message.
  static let longest = 1024

  init(_ parts: [[LabelTemplate.Part]]) {
    self.parts = parts
    isConstant = parts.allSatisfy { $0.allSatisfy { if case .literal = $0 { true } else { false } } }
    var out = ByteWriter(capacity: 256)
    if isConstant {
      for part in parts {
        var value: [UInt8] = []
        for case .literal(let bytes) in part { value += bytes }
        out.putString(Array(value.prefix(Self.longest)))
      }
    }
    constant = out.array
  }

  mutating func withKey(_ record: RecordView, _ body: (UnsafeRawBufferPointer) -> Void) {
    if isConstant { return constant.withUnsafeBytes { body($0) } }
    key.removeAll()
    for part in parts {
      text.removeAll()
      LabelTemplate.write(part, record, into: &text)
      key.putString(UnsafeRawBufferPointer(rebasing: text.bytes.prefix(Self.longest)))
    }
    body(key.bytes)
  }
}

/// The `<metric>` sections of one plugin.
struct MetricRules: Sendable {
  let rules: [MetricRule]
  let quiet: MetricLog

  /// `registry`: nil is the daemon's.
  init(_ sections: [MetricSection], common: ConfigElement?, registry: MetricRegistry? = nil, _ context: PluginContext) throws {
    // Without the daemon's registry (a plugin alone in a test) the figures are counted and shown nowhere.
    if registry == nil { context.bindToConfiguration() }
    let registry = registry ?? context.shared(MetricRegistry.self) ?? MetricRegistry()
    let places = context.element.children("metric").map(\.at)
    var rules: [MetricRule] = []
    for (index, section) in sections.enumerated() {
      let at = places.indices.contains(index) ? places[index] : context.element.at
      rules.append(try MetricRule(section, common: common, at: at, registry: registry, context))
    }
    self.rules = rules
    quiet = MetricLog(context)
  }

  private init(_ rules: [MetricRule], _ quiet: MetricLog) { (self.rules, self.quiet) = (rules, quiet) }
  /// Those of the kinds that `belongs` takes.
  func only(_ belongs: (MetricKind) -> Bool) -> MetricRules { MetricRules(rules.filter { belongs($0.family.shape.kind) }, quiet) }

  /// Reads the batch; the closure counts it and is to be called when the batch is stored.
  func tally(_ batch: EventBatch) -> @Sendable () -> Void {
    var problems = MetricRule.Problems()
    let tag = TagScope(batch.tag)
    let tallies = rules.map { ($0.family, $0.tally(batch, tag, &problems)) }
    return { [quiet, problems] in
      for (family, tally) in tallies { quiet.refused(family.apply(tally), family) }
      quiet.tell(problems)
    }
  }
}

/// Says each kind of trouble once a minute at most, whatever the events are.
final class MetricLog: Sendable {
  private let context: PluginContext
  private let next = Mutex<[String: MonotonicTime]>([:])
  init(_ context: PluginContext) { self.context = context }

  func refused(_ count: Int, _ family: MetricFamily) {
    if count == 0 { return }
    warn(
      family.shape.name,
      "metric '\(family.shape.name)' has reached max_label_sets; \(count) observations of further label sets were left out and counted"
    )
  }
  func tell(_ problems: MetricRule.Problems) {
    if problems.notNumbers > 0 { warn("number", "\(problems.notNumbers) records were not counted: the value is no number") }
    if problems.negative > 0 {
      warn("negative", "\(problems.negative) records were not counted: a counter cannot be increased by less than 0")
    }
  }
  private func warn(_ key: String, _ message: @autoclosure () -> String) {
    let isDue = next.withLock { next in
      let now = MonotonicTime.now()
      if let time = next[key], now < time { return false }
      next[key] = now.adding(nanoseconds: 60_000_000_000)
      return true
    }
    if isDue { context.log.warn(message()) }
  }
}
