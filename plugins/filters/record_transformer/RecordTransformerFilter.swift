public import AggCore

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

  private let config: Config
  private let fields: [(key: String, template: RecordTemplate)]
  private let removed: [RecordPath]
  private let hostname: String

  public init(_ config: Config, _ context: PluginContext) throws {
    self.config = config
    hostname = context.system.hostname
    removed = try (config.removeKeys ?? []).map { try RecordPath($0) }
    var fields: [(key: String, template: RecordTemplate)] = []
    for entry in config.records.flatMap(\.entries) {
      let template: RecordTemplate
      if let typed = entry.typed { template = RecordTemplate(typed) } else if case .text(let text) = entry.value {
        if let first = text.first, first == "{" || first == "[", let json = try? ConfigJSON(parsing: text) {
          template = RecordTemplate(json)
        } else {
          template = RecordTemplate(text)
        }
      } else {
        template = .constant(.null)
      }
      for name in template.unknown { context.config.warnings.add(entry.at, "unknown placeholder ${\(name)} in '\(entry.name)'; it becomes nothing") }
      if let at = fields.firstIndex(where: { $0.key == entry.name }) { fields[at].template = template } else { fields.append((entry.name, template)) }
    }
    self.fields = fields
  }

  public func filter(_ batch: EventBatch, _ sink: inout FilterSink) throws(FilterError) -> EventBatch {
    var scope = RecordTemplate.Scope(
      tag: Value(batch.tag.description), parts: batch.tag.parts, hostname: Value(hostname), time: EventTime(seconds: 0), zone: .local())
    return batch.rewritten { time, record, out in
      scope.time = time
      var map: FieldMap
      if config.renewRecord {
        map = FieldMap()
        for key in config.keepKeys ?? [] { if let value = record.find(key) { map[key] = Value(value) } }
      } else {
        map = FieldMap(record)
      }
      for field in fields { map[field.key] = field.template.value(scope, record, typecast: config.autoTypecast) }
      var time = time
      if let key = config.renewTimeKey, let value = map[key] { time = EventTime(value.unixTime) }
      for path in removed { map.remove(path.steps[...]) }
      out.begin(room: record.bytes.count + 256)
      Value.map(map).encode(into: &out.writer)
      out.commit(time: time)
    }
  }
}

extension Value {
  /// Ruby's to_f: a number, the number a text begins with, or 0.
  fileprivate var unixTime: Double {
    switch self {
    case .int(let value): return Double(value)
    case .uint(let value): return Double(value)
    case .double(let value): return value
    case .string(let bytes):
      var end = 0
      while end < bytes.count, "+-.0123456789eE".utf8.contains(bytes[end]) { end += 1 }
      while end > 0 {
        if let value = Double(String(decoding: bytes[..<end], as: UTF8.self)) { return value }
        end -= 1
      }
      return 0
    default: return 0
    }
  }
}

extension FieldMap {
  /// Removes a nested field; what is not there is left alone.
  mutating func remove(_ steps: ArraySlice<RecordPath.Step>) {
    guard let first = steps.first, case .key(let key) = first else { return }
    let name = String(decoding: key, as: UTF8.self)
    if steps.count == 1 {
      _ = remove(name)
      return
    }
    guard let value = self[name] else { return }
    self[name] = value.removing(steps.dropFirst())
  }
}
extension Value {
  fileprivate func removing(_ steps: ArraySlice<RecordPath.Step>) -> Value {
    switch (self, steps.first) {
    case (.map(var map), .key):
      map.remove(steps)
      return .map(map)
    case (.array(var elements), .index(let n)):
      let at = n < 0 ? elements.count + n : n
      guard elements.indices.contains(at) else { return self }
      if steps.count == 1 { elements.remove(at: at) } else { elements[at] = elements[at].removing(steps.dropFirst()) }
      return .array(elements)
    default: return self
    }
  }
}
