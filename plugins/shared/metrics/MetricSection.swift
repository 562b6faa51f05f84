public import AggCore

/// `<metric>` of the filters and the output that count records, as fluent-plugin-prometheus has it.
public struct MetricSection: Configurable {
  enum Kind: String, ConfigEnum {
    case counter, gauge, summary, histogram
    var kind: MetricKind {
      switch self {
      case .counter: .counter
      case .gauge: .gauge
      case .summary: .summary
      case .histogram: .histogram
      }
    }
  }
  /// As Prometheus' client libraries have them.
  static let defaultBuckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]
  static let defaultLimit = 10_000

  var name = ""
  var type = Kind.counter
  var desc = ""
  var key: RecordPath?
  var buckets: [Double]?
  var isInitialized = false
  var retention: TimeSpan?
  var limit = Self.defaultLimit
  var labels: ConfigElement?
  var initLabels: [ConfigElement] = []
  public init() {}

  public static let parameters: [Parameter<Self>] = [
    .required("name", \.name, "Name of the metric"),
    .required("type", \.type, "What it is"),
    .required("desc", \.desc, "What Prometheus shows of it"),
    .optional("key", \.key, "Field with the value, `key` or `$.a.b`; a counter without it counts records"),
    .optional("buckets", \.buckets, "Upper bounds of a histogram; without it 0.005 … 10"),
    .optional("initialized", \.isInitialized, "Show it, as 0, before the first record"),
    .optional("retention", \.retention, "Forget a label set that nothing counts for so long; without it never"),
    .optional("max_label_sets", \.limit, "Label sets kept; what would need more is left out and counted"),
    .element("labels", \.labels, "`name value`; a value may be a field (`$.a.b`) or hold ${tag}, ${tag_parts[n]}, ${hostname} …"),
    .elements("initlabels", \.initLabels, "With initialized: values of the labels that records decide"),
    .ignored("retention_check_interval", "Each page is made without what is too old"),
  ]

  public mutating func validate(_ context: ConfigContext) throws {
    if !ExpositionText.isMetricName(name.utf8) {
      throw ConfigValueError("'name' must be letters, digits, _ and : and not begin with a digit; got '\(name)'")
    }
    if type != .counter, key == nil { throw ConfigValueError("a \(type.rawValue) needs 'key', the field with its value") }
    if limit < 1 { throw ConfigValueError("'max_label_sets' must be 1 or more") }
    if let retention, retention.nanoseconds <= 0 { throw ConfigValueError("'retention' must be more than 0") }
    if var buckets {
      buckets.removeAll { $0 == .infinity }
      guard !buckets.isEmpty, buckets.count <= 256, buckets.allSatisfy(\.isFinite),
        zip(buckets, buckets.dropFirst()).allSatisfy({ $0 < $1 })
      else {
        throw ConfigValueError("'buckets' must be numbers that grow, 256 at most")
      }
      self.buckets = buckets
    }
  }

  /// Names and values of a `<labels>` section, in order.
  static func labels(_ element: ConfigElement?) throws(ConfigError) -> [(name: String, value: String, at: SourceLocation)] {
    var pairs: [(name: String, value: String, at: SourceLocation)] = []
    for entry in element?.entries ?? [] {
      guard case .text(let text) = entry.value else { continue }
      if !ExpositionText.isLabelName(entry.name.utf8) || entry.name.hasPrefix("__") {
        throw ConfigError(at: entry.at, "'\(entry.name)' cannot be a label: letters, digits and _, no digit first, not __")
      }
      if let known = pairs.firstIndex(where: { $0.name == entry.name }) {
        pairs[known].value = text
      } else {
        pairs.append((entry.name, text, entry.at))
      }
    }
    return pairs
  }
}
