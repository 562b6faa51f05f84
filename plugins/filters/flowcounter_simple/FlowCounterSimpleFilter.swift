public import AggCore

/// Logs each unit of time how many events or bytes went through.
///
/// Source: fluent-plugin-flowcounter-simple 0.1, the filter form.
public struct FlowCounterSimpleFilter: TimedFilter {
  public typealias Config = SimpleFlowCounter.Config
  public static let name = "flowcounter_simple"
  public static let summary = "Logs how many events or bytes went through."
  private let counter: SimpleFlowCounter
  public init(_ config: Config, _ context: PluginContext) throws { counter = SimpleFlowCounter(config, "filter", context) }
  public func filter(_ batch: EventBatch, _ sink: inout FilterSink) throws(FilterError) -> EventBatch {
    sink.onCommit { [counter] in counter.add(batch) }
    return batch
  }
  public func run() async { await counter.run() }
}
