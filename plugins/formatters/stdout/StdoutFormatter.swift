public import AggCore

/// `time tag: record`, as out_stdout prints.
public struct StdoutFormatter: Formatter {
  public struct Config: Configurable {
    var outputType = "json"
    public init() {}
    public static let parameters: [Parameter<Self>] = [.optional("output_type", \.outputType, "Formatter of the record")]
  }
  public static let name = "stdout"
  public static let summary = "Time with nanoseconds, tag and record."
  private let formatter: any Formatter
  private let time: TimeFormatter

  public init(_ config: Config, _ context: PluginContext) throws {
    let section = ConfigElement(
      name: "format", entries: context.element.entries.filter { !["@type", "output_type"].contains($0.name) }, at: context.element.at)
    formatter = try context.formatter(section, default: config.outputType)
    time = TimeFormatter(format: "%Y-%m-%d %H:%M:%S.%N %z", zone: .local())
  }

  public func format(_ batch: EventBatch, into out: inout ByteWriter, _ rejects: inout [Rejection]) {
    var time = time
    let tag = Array((" " + batch.tag.description + ": ").utf8)
    var rest = batch
    var index = 0
    while !rest.isEmpty {
      let one = rest.prefix(1)
      rest = rest.dropFirst(1)
      let start = out.count
      one.forEachEvent { when, _ in time.format(when, into: &out) }
      out.append(tag)
      var refused: [Rejection] = []
      formatter.format(one, into: &out, &refused)
      if let first = refused.first {
        out.count = start
        rejects.append(Rejection(index: index, reason: first.reason))
      } else if out.bytes.last != 0x0a {
        out.append(0x0a as UInt8)
      }
      index += 1
    }
  }
}
