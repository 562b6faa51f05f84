public import AggCore

/// Logs each unit of time how many events or bytes came.
///
/// Source: fluent-plugin-flowcounter-simple 0.1, the output form.
public struct FlowCounterSimpleOutput: TimedOutput {
  public typealias Config = SimpleFlowCounter.Config
  public static let name = "flowcounter_simple"
  public static let summary = "Logs how many events or bytes came."
  private let counter: SimpleFlowCounter
  public init(_ config: Config, _ context: PluginContext) throws { counter = SimpleFlowCounter(config, "out", context) }
  public func process(_ batch: EventBatch) throws(WriteError) { counter.add(batch) }
  public func run() async { await counter.run() }
}
