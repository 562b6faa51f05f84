public import AggCore

/// The older name of the sampling filter.
public struct SamplingFilterFilter: Filter {
  public typealias Config = SamplingFilter.Config
  public static let name = "sampling_filter"
  public static let summary = "The older name of the sampling filter."
  private let filter: SamplingFilter
  public init(_ config: Config, _ context: PluginContext) throws { filter = try SamplingFilter(config, context) }
  public func filter(_ batch: EventBatch, _ sink: inout FilterSink) throws(FilterError) -> EventBatch {
    try filter.filter(batch, &sink)
  }
}
