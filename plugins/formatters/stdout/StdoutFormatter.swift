public import AggCore

/// `time tag: record`, as out_stdout prints.
public struct StdoutFormatter: Formatter {
  public struct Config: Configurable {
    var outputType = "json"
    var timeFormat = "%Y-%m-%d %H:%M:%S.%N %z"
    var others: [ConfigElement.Entry] = []
    public init() {}
    public static let parameters: [Parameter<Self>] = [
      .optional("output_type", \.outputType, "Formatter of the record"),
      .optional("time_format", \.timeFormat, "strftime format of the time, which is local"),
      .rest(\.others, "Parameters of that formatter"),
    ]
  }
  public static let name = "stdout"
  public static let summary = "Time with nanoseconds, tag and record."
  private let formatter: any Formatter
  /// The record is JSON with its newline: no need to ask a formatter event by event.
  private let isJSON: Bool
  private let time: TimeFormatter

  public init(_ config: Config, _ context: PluginContext) throws {
    let entries = context.element.entries.filter { $0.name == "time_format" } + config.others
    let section = ConfigElement(name: "format", entries: entries.filter { !$0.name.hasPrefix("@") }, at: context.element.at)
    let own = ConfigElement(name: "format", entries: config.others.filter { !$0.name.hasPrefix("@") }, at: context.element.at)
    formatter = try context.formatter(config.outputType == "out_file" ? section : own, default: config.outputType)
    isJSON = formatter is JSONLineFormatter
    time = TimeFormatter(format: config.timeFormat, zone: .local())
  }

  public func format(_ batch: EventBatch, into out: inout ByteWriter, _ rejects: inout [Rejection]) {
    var time = time
    let tag = Array((" " + batch.tag.description + ": ").utf8)
    var index = 0
    if isJSON {
      batch.forEachEvent { when, record in
        let start = out.count
        time.format(when, into: &out)
        out.append(tag)
        if JSONFormatter.writeRecord(record, into: &out) { out.append(0x0a as UInt8) } else {
          out.count = start
          rejects.append(Rejection(index: index, reason: JSONLineFormatter.reason))
        }
        index += 1
      }
      return
    }
    let one = batch
    var from = batch.range.lowerBound
    var refused: [Rejection] = []
    batch.forEach { event in
      let start = out.count
      time.format(event.time, into: &out)
      out.append(tag)
      let to = from + event.bytes.count
      formatter.format(EventBatch(unchecked: one.block, range: from..<to, count: 1, tag: one.tag), into: &out, &refused)
      from = to
      if let first = refused.first {
        out.count = start
        rejects.append(Rejection(index: index, reason: first.reason))
        refused.removeAll()
      } else {
        chomp(&out)
        out.append(0x0a as UInt8)
      }
      index += 1
    }
  }

  /// One line end off, as Ruby's `chomp`.
  private func chomp(_ out: inout ByteWriter) {
    if out.bytes.last == 0x0a {
      out.count -= 1
      if out.bytes.last == 0x0d { out.count -= 1 }
    } else if out.bytes.last == 0x0d {
      out.count -= 1
    }
  }
}
