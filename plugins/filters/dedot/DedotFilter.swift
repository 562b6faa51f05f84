public import AggCore

/// Replaces the dots in field names, which some stores take for paths.
///
/// Source: fluent-plugin-dedot_filter 1.0.
public struct DedotFilter: Filter {
  public struct Config: Configurable {
    var isOn = true
    var separator = "_"
    var nested = false
    public init() {}
    public static let parameters: [Parameter<Self>] = [
      .optional("de_dot", \.isOn, "Replace dots at all"),
      .optional("de_dot_separator", \.separator, "What stands in a dot's place"),
      .optional("de_dot_nested", \.nested, "In maps within the record too, and in maps within its arrays"),
    ]
    public mutating func validate(_ context: ConfigContext) throws {
      if isOn, separator.utf8.contains(UInt8(ascii: ".")) {
        throw ConfigValueError("Invalid de_dot_separator: cannot be or contain '.'")
      }
    }
  }
  public static let name = "dedot"
  public static let summary = "Replaces the dots in field names."

  private let separator: [UInt8]
  private let isOn: Bool
  private let nested: Bool

  public init(_ config: Config, _ context: PluginContext) throws {
    separator = Array(config.separator.utf8)
    isOn = config.isOn
    nested = config.nested
  }

  public func filter(_ batch: EventBatch, _ sink: inout FilterSink) throws(FilterError) -> EventBatch {
    guard isOn, hasDots(batch) else { return batch }
    var run = DedotRun(separator: separator, nested: nested)
    return batch.rewritten { time, record, out in
      out.begin(room: record.bytes.count + 16)
      if DedotRun.hasDots(record.value, nested: nested) {
        run.put(record, into: &out.writer)
      } else {
        out.writer.append(record.bytes)
      }
      out.commit(time: time)
    }
  }

  /// Most batches have none and stay as they are.
  private func hasDots(_ batch: EventBatch) -> Bool {
    var found = false
    batch.forEachEvent { _, record in if !found { found = DedotRun.hasDots(record.value, nested: nested) } }
    return found
  }
}
