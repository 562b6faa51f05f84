public import AggCore
import AggExpression
import Synchronization

/// Adds, replaces and removes fields.
public struct RecordTransformerFilter: Filter {
  public struct Record: Configurable {
    var entries: [ConfigElement.Entry] = []
    public init() {}
    public static let parameters: [Parameter<Self>] = [.rest(\.entries, "field and its value, with ${…} placeholders")]
  }
  public struct Config: Configurable {
    var records: [Record] = []
    var removeKeys: [String]?
    var keepKeys: [String]?
    var renewRecord = false
    var renewTimeKey: String?
    var enableRuby = false
    var autoTypecast = true
    public init() {}
    public static let parameters: [Parameter<Self>] = [
      .sections("record", \.records, "Fields to set; ${record[\"k\"]}, ${tag}, ${tag_parts[n]}, ${tag_prefix[n]}, ${tag_suffix[n]}, ${hostname}, ${time}; Ruby with enable_ruby"),
      .optional("remove_keys", \.removeKeys, "Fields to remove, $.nested.ones too"),
      .optional("keep_keys", \.keepKeys, "Fields that renew_record keeps"),
      .optional("renew_record", \.renewRecord, "Begin with an empty record"),
      .optional("renew_time_key", \.renewTimeKey, "Field whose Unix time becomes the event's"),
      .optional("enable_ruby", \.enableRuby, "${…} holds Ruby, of which docs/EXPRESSIONS.md lists what agg runs"),
      .optional("auto_typecast", \.autoTypecast, "A value that is one placeholder keeps its type"),
    ]
    public mutating func validate(_ context: ConfigContext) throws {
      if keepKeys != nil, !renewRecord { throw ConfigValueError("'keep_keys' needs 'renew_record true'") }
    }
  }
  public static let name = "record_transformer"
  public static let summary = "Adds, replaces and removes fields."

  private struct Field: Sendable {
    var key: [RecordTemplate.Piece]
    var value: RecordTemplate
  }
  private let config: Config
  private let fields: [Field]
  private let removed: [RecordPath]
  private let kept: [[UInt8]]?
  private let hostname: String
  private let log: Log
  /// Where Ruby is evaluated; nil without `enable_ruby`.
  private let pool: BindingsPool?
  private let changesRecord: Bool
  /// The plan of the tag that came last: most filters see few tags. nil where a field's name depends on the event.
  private let last = Last()
  private final class Last: Sendable {
    let plan = Mutex<(tag: Tag, plan: RecordPlan?)?>(nil)
    /// Fields whose absence was told.
    let missed = Mutex<Set<[UInt8]>>([])
  }

  public init(_ config: Config, _ context: PluginContext) throws {
    self.config = config
    log = context.log
    hostname = context.system.hostname
    removed = try (config.removeKeys ?? []).map { try RecordPath($0) }
    kept = config.renewRecord ? (config.keepKeys ?? []).map { Array($0.utf8) } : nil
    var fields: [(name: String, field: Field)] = []
    var errors: [ConfigError] = []
    for entry in config.records.flatMap(\.entries) {
      let field: Field
      do throws(ExpressionError) { field = try Self.field(entry, config, context) } catch {
        errors.append(ConfigError(at: entry.at, error.mistake(entry.name)))
        continue
      }
      for name in RecordTemplate.unknown(field.key) + field.value.unknown {
        context.config.warnings.add(entry.at, "unknown placeholder \(name) in '\(entry.name)'; it becomes nothing")
      }
      if let at = fields.firstIndex(where: { $0.name == entry.name }) { fields[at].field = field } else { fields.append((entry.name, field)) }
    }
    if !errors.isEmpty { throw ConfigErrors(errors) }
    self.fields = fields.map(\.field)
    changesRecord = self.fields.contains { RecordTemplate.changesRecord($0.key) || $0.value.changesRecord }
    pool = config.enableRuby ? try BindingsPool(context) : nil
  }

  private static func field(_ entry: ConfigElement.Entry, _ config: Config, _ context: PluginContext) throws(ExpressionError) -> Field {
    guard config.enableRuby else { return Field(key: RecordTemplate.pieces(entry.name), value: try template(entry, config, context)) }
    return Field(key: try RecordTemplate.name(ruby: entry.name), value: try template(entry, config, context))
  }

  /// Text that begins as JSON is JSON, or else text with a warning.
  private static func template(
    _ entry: ConfigElement.Entry, _ config: Config, _ context: PluginContext
  ) throws(ExpressionError) -> RecordTemplate {
    func text(_ text: String) throws(ExpressionError) -> RecordTemplate {
      config.enableRuby ? try RecordTemplate(ruby: text, isTyped: config.autoTypecast) : RecordTemplate(text)
    }
    func json(_ json: ConfigJSON) throws(ExpressionError) -> RecordTemplate {
      config.enableRuby ? try RecordTemplate(ruby: json, isTyped: config.autoTypecast) : RecordTemplate(json)
    }
    if let typed = entry.typed {
      if case .string = typed {} else { return try json(typed) }
    }
    guard case .text(let value) = entry.value else { return .constant([0xc0]) }
    guard let first = value.first, first == "{" || first == "[" else { return try text(value) }
    let parsed: ConfigJSON
    do throws(ConfigValueError) { parsed = try ConfigJSON(parsing: value) } catch {
      context.config.warnings.add(entry.at, "the value of '\(entry.name)' begins as JSON but is none (\(error.message)); it is taken as text")
      return try text(value)
    }
    return try json(parsed)
  }

  private func plan(_ tag: Tag, _ bindings: Bindings?) -> RecordPlan? {
    if let known = last.plan.withLock({ $0 }), known.tag == tag { return known.plan }
    let scope = scope(tag, bindings)
    var names: [[UInt8]]? = []
    for field in fields {
      let parts = scope.parts(field.key)
      if parts.isEmpty { names?.append([]) } else if parts.count == 1, case .literal(let bytes) = parts[0] { names?.append(bytes) } else { names = nil }
    }
    let made = names.map { plan(scope, $0) }
    last.plan.withLock { $0 = (tag, made) }
    return made
  }
  private func scope(_ tag: Tag, _ bindings: Bindings?) -> RecordValue.Scope {
    RecordValue.Scope(tag: tag, hostname: hostname, typecast: config.autoTypecast, bindings: bindings)
  }
  private func plan(_ scope: RecordValue.Scope, _ names: [[UInt8]]) -> RecordPlan {
    RecordPlan(
      fields: zip(names, fields).map { ($0, RecordValue($1.value, scope)) }, removed: removed, kept: kept,
      timeKey: config.renewTimeKey.map { Array($0.utf8) }, changesRecord: changesRecord)
  }

  public func filter(_ batch: EventBatch, _ sink: inout FilterSink) throws(FilterError) -> EventBatch {
    var failures = Failures()
    let result = pool.map { pool in pool.with(batch.tag) { filter(batch, $0, &failures) } } ?? filter(batch, nil, &failures)
    failures.report(batch.tag, &sink)
    return result
  }

  private func filter(_ batch: EventBatch, _ bindings: Bindings?, _ failures: inout Failures) -> EventBatch {
    if let plan = plan(batch.tag, bindings) {
      var writer = RecordWriter(plan, bindings)
      let result = batch.rewritten { time, record, out in rewrite(time, record, &writer, &out, &failures) }
      if let key = writer.scratch.missed { warn(key) }
      return result
    }
    let scope = scope(batch.tag, bindings)
    let names = fields.map { scope.parts($0.key) }
    var scratch = RecordScratch(bindings)
    return batch.rewritten { time, record, out in
      bindings?.begin(time, record)
      var known: [[UInt8]] = []
      for parts in names {
        var text = ByteWriter(capacity: 256)
        RecordValue.append(parts, record, time, &scratch, &text)
        known.append(text.array)
      }
      do throws(RecordFailure) { try scratch.check() } catch { return failures.add(time, record, error.reason) }
      var writer = RecordWriter(plan(scope, known), bindings)
      rewrite(time, record, &writer, &out, &failures)
    }
  }

  @inline(__always) private func rewrite(
    _ time: EventTime, _ record: RecordView, _ writer: inout RecordWriter, _ out: inout BatchBuilder, _ failures: inout Failures
  ) {
    var newTime = time
    do throws(RecordFailure) {
      try writer.evaluate(record, time)
      if config.renewTimeKey != nil { newTime = try writer.time(record, time) ?? time }
    } catch { return failures.add(time, record, error.reason) }
    out.begin(room: 256)
    writer.write(record, time, &out.writer)
    out.commit(time: newTime)
  }

  /// Once a field, for the first hundred.
  private func warn(_ key: [UInt8]) {
    if last.missed.withLock({ $0.count < 100 && $0.insert(key).inserted }) {
      log.warn("unknown placeholder `${record[\"\(String(decoding: key, as: UTF8.self))\"]}` found: a record has no such field; it becomes nothing")
    }
  }
}
