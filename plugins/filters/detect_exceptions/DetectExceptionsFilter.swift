public import AggCore

/// Joins the lines of stack traces to one event, in the place where they stand.
///
/// What the output of that name does to events, without another tag.
public struct DetectExceptionsFilter: HoldingFilter {
  public struct Config: TraceConfigurable {
    public var trace = TraceOptions()
    public init() {}
    public static let parameters: [Parameter<Self>] = traceRows
  }
  public static let name = "detect_exceptions"
  public static let summary = "Joins the lines of stack traces to one event."

  public let gate = HoldGate()
  private let joiner: TraceJoiner

  public init(_ config: Config, _ context: PluginContext) throws {
    joiner = try TraceJoiner(config.trace, route: .downstream, context)
  }

  public func filter(_ batch: EventBatch, _ sink: inout FilterSink) throws(FilterError) -> EventBatch {
    joiner.join(batch, as: batch.tag, &sink)
  }
  public func restore(_ held: [(key: String, state: [UInt8])]) { joiner.restore(held) }
  public func run(_ emitter: HoldEmitter) async { await joiner.run(emitter) }
}
