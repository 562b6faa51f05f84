public import AggCore

/// Prints events and passes them on.
public struct StdoutFilter: Filter {
  public struct Config: Configurable {
    var inject: InjectSection?
    var format: ConfigElement?
    public init() {}
    public static let parameters: [Parameter<Self>] = [
      .section("inject", \.inject, "Fields that are added to what is printed"),
      .element("format", \.format, "How an event is printed; default stdout"),
    ]
  }
  public static let name = "stdout"
  public static let oldParameters = OldParameters(.inject, .format)
  public static let summary = "Prints events and passes them on."
  private let formatter: any Formatter

  public init(_ config: Config, _ context: PluginContext) throws {
    formatter = try context.formatter(config.format, default: "stdout").injecting(Injector(config.inject, context))
  }

  public func filter(_ batch: EventBatch, _ sink: inout FilterSink) throws(FilterError) -> EventBatch {
    var out = ByteWriter(capacity: batch.byteCount * 2 + 256)
    var rejects: [Rejection] = []
    formatter.format(batch, into: &out, &rejects)
    if let first = rejects.first {
      // As in Fluentd the events go on, and to @ERROR as well.
      var failed = BatchBuilder(capacity: 4096)
      var next = rejects[...]
      var index = 0
      batch.forEach { event in
        if next.first?.index == index {
          next.removeFirst()
          failed.append(events: event.bytes, count: 1)
        }
        index += 1
      }
      sink.created += failed.count
      sink.fail(failed.finish(tag: batch.tag), reason: "cannot be printed: \(first.reason)")
    }
    // A closed standard output is no reason to lose events.
    try? File.standardOutput.write(out.bytes)
    return batch
  }
}
