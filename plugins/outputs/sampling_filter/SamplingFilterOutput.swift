public import AggCore

/// Routes every nth event again, under a tag with another prefix.
///
/// Source: fluent-plugin-sampling-filter 1.2, the output form.
public struct SamplingFilterOutput: RoutingOutput {
  public struct Config: Configurable {
    public enum Unit: String, ConfigEnum { case tag, all }
    var interval = 1
    var sampleUnit = Unit.tag
    var removePrefix: String?
    var addPrefix = "sampled"
    var minimumRate: Int?
    public init() {}
    public static let parameters: [Parameter<Self>] = [
      .required("interval", \.interval, "Every how many events one goes through"),
      .optional("sample_unit", \.sampleUnit, "What is counted by itself: each tag, or all events together"),
      .optional("remove_prefix", \.removePrefix, "Taken off the tag"),
      .optional("add_prefix", \.addPrefix, "Put before the tag"),
      .optional("minimum_rate_per_min", \.minimumRate, "Events of a unit that go through each minute before the interval counts"),
    ]
    public mutating func validate(_ context: ConfigContext) throws {
      if interval < 1 { throw ConfigValueError("'interval' must be at least 1; got \(interval)") }
      if removePrefix == nil, addPrefix.isEmpty {
        throw ConfigValueError("either of 'add_prefix' or 'remove_prefix' must be specified")
      }
    }
  }
  public static let name = "sampling_filter"
  public static let summary = "Routes every nth event again under another tag."

  private let config: Config
  private let counts: SampleCounts
  private let router: any Sink
  private let counters: Counters

  public init(_ config: Config, _ context: PluginContext) throws {
    self.config = config
    counts = SampleCounts(interval: config.interval, minimumPerMinute: config.minimumRate)
    router = context.router()
    counters = context.counters
  }

  public func route(_ batch: EventBatch, _ transaction: inout Transaction) throws(EmitError) {
    let unit = Array((config.sampleUnit == .tag ? batch.tag.description : "all").utf8)
    let (taken, additions) = unit.withUnsafeBytes { unit in counts.take(batch, { _ in unit }, whole: true) }
    transaction.onRefusal { [counts] in counts.takeBack(additions) }
    let sampled = batch.keeping(taken)
    let dropped = batch.count - sampled.count
    transaction.onCommit { [counters] in counters.drop(dropped, "not_sampled", from: .delivered) }
    if !sampled.isEmpty { try router.take(sampled.tagged(newTag(batch.tag)), &transaction) }
  }

  private func newTag(_ tag: Tag) -> Tag {
    let text = TagPrefix.removing(config.removePrefix, from: tag.description)
    if text.isEmpty { return Tag(config.addPrefix) }
    return config.addPrefix.isEmpty ? Tag(text) : Tag(config.addPrefix + "." + text)
  }
}
