public import AggCore
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
      .sections("record", \.records, "Fields to set; ${record[\"k\"]}, ${tag}, ${tag_parts[n]}, ${tag_prefix[n]}, ${tag_suffix[n]}, ${hostname}, ${time}"),
      .optional("remove_keys", \.removeKeys, "Fields to remove, $.nested.ones too"),
      .optional("keep_keys", \.keepKeys, "Fields that renew_record keeps"),
      .optional("renew_record", \.renewRecord, "Begin with an empty record"),
      .optional("renew_time_key", \.renewTimeKey, "Field whose Unix time becomes the event's"),
      .optional("enable_ruby", \.enableRuby, "Not supported yet: an error where it is true"),
      .optional("auto_typecast", \.autoTypecast, "A value that is one placeholder keeps its type"),
    ]
    public mutating func validate(_ context: ConfigContext) throws {
      if keepKeys != nil, !renewRecord { throw ConfigValueError("'keep_keys' needs 'renew_record true'") }
      if enableRuby { throw ConfigValueError("'enable_ruby true' is not supported yet; use plain placeholders such as ${record[\"key\"]}") }
    }
  }
  public static let name = "record_transformer"
  public static let summary = "Adds, replaces and removes fields."

  private struct Field: Sendable {
    var key: [RecordTemplate.Piece]
    var value: RecordTemplate
    /// The name stands in the record's own fields: it is known only with the record.
    var hasDynamicKey: Bool { key.contains { if case .record = $0 { true } else { $0 == .time } } }
  }
  private let config: Config
  private let fields: [Field]
  private let removed: [RecordPath]
  private let kept: [[UInt8]]?
  private let hostname: String
  private let log: Log
  /// The plan of the tag that came last: most filters see few tags.
  private let last = Last()
  private final class Last: Sendable {
    let plan = Mutex<(tag: Tag, plan: RecordPlan)?>(nil)
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
    for entry in config.records.flatMap(\.entries) {
      let template = Self.template(entry, context)
      let key = RecordTemplate.pieces(entry.name)
      for name in RecordTemplate.unknown(key) + template.unknown {
        context.config.warnings.add(entry.at, "unknown placeholder \(name) in '\(entry.name)'; it becomes nothing")
      }
      let field = Field(key: key, value: template)
      if let at = fields.firstIndex(where: { $0.name == entry.name }) { fields[at].field = field } else { fields.append((entry.name, field)) }
    }
    self.fields = fields.map(\.field)
  }

  /// Text that begins as JSON is JSON, or else text with a warning.
  private static func template(_ entry: ConfigElement.Entry, _ context: PluginContext) -> RecordTemplate {
    if let typed = entry.typed {
      if case .string = typed {} else { return RecordTemplate(typed) }
    }
    guard case .text(let text) = entry.value else { return .constant([0xc0]) }
    guard let first = text.first, first == "{" || first == "[" else { return RecordTemplate(text) }
    do throws(ConfigValueError) { return RecordTemplate(try ConfigJSON(parsing: text)) } catch {
      context.config.warnings.add(entry.at, "the value of '\(entry.name)' begins as JSON but is none (\(error.message)); it is taken as text")
      return RecordTemplate(text)
    }
  }

  private func plan(_ tag: Tag) -> RecordPlan {
    if let known = last.plan.withLock({ $0 }), known.tag == tag { return known.plan }
    let scope = RecordValue.Scope(tag: tag, hostname: hostname, typecast: config.autoTypecast)
    let made = plan(scope) { pieces in
      pieces.flatMap { piece -> [UInt8] in if case .literal(let bytes) = piece { bytes } else { Array((scope.text(piece) ?? "").utf8) } }
    }
    last.plan.withLock { $0 = (tag, made) }
    return made
  }
  private func plan(_ scope: RecordValue.Scope, key: ([RecordTemplate.Piece]) -> [UInt8]) -> RecordPlan {
    RecordPlan(
      fields: fields.map { (key($0.key), RecordValue($0.value, scope)) }, removed: removed, kept: kept, timeKey: config.renewTimeKey.map { Array($0.utf8) })
  }

  public func filter(_ batch: EventBatch, _ sink: inout FilterSink) throws(FilterError) -> EventBatch {
    var failures = Failures()
    let result: EventBatch
    if fields.contains(where: \.hasDynamicKey) {
      let scope = RecordValue.Scope(tag: batch.tag, hostname: hostname, typecast: config.autoTypecast)
      result = batch.rewritten { time, record, out in
        var writer = RecordWriter(plan(scope) { Self.text(scope.parts($0), time, record) })
        rewrite(time, record, &writer, &out, &failures)
      }
    } else {
      var writer = RecordWriter(plan(batch.tag))
      result = batch.rewritten { time, record, out in rewrite(time, record, &writer, &out, &failures) }
      if let key = writer.clock.missed { warn(key) }
    }
    failures.report(batch.tag, &sink)
    return result
  }

  @inline(__always) private func rewrite(
    _ time: EventTime, _ record: RecordView, _ writer: inout RecordWriter, _ out: inout BatchBuilder, _ failures: inout Failures
  ) {
    var newTime = time
    if config.renewTimeKey != nil {
      do throws(RecordWriter.NoTime) { newTime = try writer.time(record, time) ?? time } catch {
        return failures.add(time, record, "the field '\(config.renewTimeKey ?? "")' is no time")
      }
    }
    out.begin(room: 256)
    writer.write(record, time, &out.writer)
    out.commit(time: newTime)
  }

  private static func text(_ parts: [RecordValue.Part], _ time: EventTime, _ record: RecordView) -> [UInt8] {
    var out = ByteWriter(capacity: 256)
    var clock = RecordClock()
    for part in parts {
      switch part {
      case .literal(let bytes): out.append(bytes)
      case .field(let key): if let value = record.find(key) { RubyText.write(value, into: &out) }
      case .path(let path): if let value = path.find(record) { RubyText.write(value, into: &out) }
      case .time: clock.write(time, into: &out)
      }
    }
    return out.array
  }

  /// Once a field, for the first hundred.
  private func warn(_ key: [UInt8]) {
    if last.missed.withLock({ $0.count < 100 && $0.insert(key).inserted }) {
      log.warn("unknown placeholder `${record[\"\(String(decoding: key, as: UTF8.self))\"]}` found: a record has no such field; it becomes nothing")
    }
  }
}
