public import AggCore

/// Sends events to another label.
public struct RelabelOutput: RoutingOutput {
  public struct Config: Configurable {
    public init() {}
    public static let parameters: [Parameter<Self>] = [
      .unsupported("<buffer>", "events go on at once, in Fluentd too; use the buffer output"),
      .unsupported("<secondary>", "events go on at once, in Fluentd too"),
      .ignored("time_as_integer", "Events go on as they are"), .ignored("slow_flush_log_threshold", "Nothing is delivered here"),
    ]
  }
  public static let name = "relabel"
  public static let summary = "Sends events to another label."
  private let label: any Sink

  public init(_ config: Config, _ context: PluginContext) throws {
    guard let entry = context.element.entry("@label"), case .text(let name) = entry.value else {
      throw ConfigValueError("'@label' parameter is required: the label that gets the events")
    }
    label = context.label(name, at: entry.at, keepsTags: true)
  }
  public func route(_ batch: EventBatch, _ transaction: inout Transaction) throws(EmitError) { try label.take(batch, &transaction) }
}
