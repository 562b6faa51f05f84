public import AggCore

/// Joins the lines of stack traces to one event and routes all events again, under a tag without its prefix.
///
/// Source: fluent-plugin-detect-exceptions 0.0.15.
public struct DetectExceptionsOutput: RoutingOutput, HoldingFilter {
  public struct Config: TraceConfigurable {
    var removeTagPrefix = ""
    public var trace = TraceOptions()
    public init() {}
    public static let parameters: [Parameter<Self>] =
      [.required("remove_tag_prefix", \.removeTagPrefix, "Taken off the tag: whole parts")] + traceRows
  }
  public static let name = "detect_exceptions"
  public static let summary = "Joins the lines of stack traces to one event and routes it under a tag without its prefix."

  public let gate = HoldGate()
  private let joiner: TraceJoiner
  private let prefix: String
  private let router: any Sink
  private let context: PluginContext

  public init(_ config: Config, _ context: PluginContext) throws {
    self.context = context
    prefix = config.removeTagPrefix + "."
    router = context.router()
    // What is let go later goes the same way.
    joiner = try TraceJoiner(config.trace, route: .label(router.id), context)
  }

  public func filter(_ batch: EventBatch, _ sink: inout FilterSink) throws(FilterError) -> EventBatch {
    let tag = batch.tag.description
    return joiner.join(batch, as: tag.hasPrefix(prefix) ? Tag(String(tag.dropFirst(prefix.count))) : batch.tag, &sink)
  }

  public func route(_ batch: EventBatch, _ transaction: inout Transaction) throws(EmitError) {
    guard transaction.owns([gate]) else { throw EmitError.failed("\(context.id) is busy") }
    var sink = FilterSink()
    let joined: EventBatch
    do throws(FilterError) { joined = try filter(batch, &sink) } catch { throw EmitError.failed("\(error)") }
    for span in sink.spans { transaction.keep(span, of: context.id) }
    for body in sink.refusals { transaction.onRefusal(body) }
    let (counters, result) = (context.counters, sink)
    transaction.onCommit {
      counters.add(.merged, result.merged)
      counters.add(.held, result.held)
    }
    if !joined.isEmpty { try router.take(joined, &transaction) }
  }

  public func restore(_ held: [(key: String, state: [UInt8])]) { joiner.restore(held) }
  public func run(_ emitter: HoldEmitter) async { await joiner.run(emitter) }
}
