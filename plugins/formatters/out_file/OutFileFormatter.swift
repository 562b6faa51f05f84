public import AggCore

/// `time DELIMITER tag DELIMITER json`, Fluentd's default for files.
public struct OutFileFormatter: Formatter {
  public struct Config: TimeConfigurable {
    public var time = TimeParameters()
    var outputTime = true
    var outputTag = true
    var delimiter = "\t"
    var newline = LineEnd.Newline.lf
    public init() {}
    public static let parameters: [Parameter<Self>] =
      [
        .optional("output_time", \.outputTime, "Begin with the event's time"),
        .optional("output_tag", \.outputTag, "Then its tag"),
        .optional("delimiter", \.delimiter, "Between the parts: SPACE, COMMA, or anything else for a tab"),
        .optional("newline", \.newline, "lf or crlf"),
      ] + timeRows
    public mutating func validate(_ context: ConfigContext) throws { try time.validate() }
  }
  public static let name = "out_file"
  public static let summary = "Time, tag and JSON record."

  private let config: Config
  private let delimiter: [UInt8]
  private let end: [UInt8]
  private let formatter: TimeFormatter

  public init(_ config: Config, _ context: PluginContext) throws {
    self.config = config
    // Fluentd's rule: a name anywhere in the text chooses, anything else is a tab.
    let name = config.delimiter.lowercased()
    delimiter = name.contains("space") ? [0x20] : name.contains("comma") ? [0x2c] : [0x09]
    end = config.newline == .crlf ? [0x0d, 0x0a] : [0x0a]
    formatter = try TimeFormatter(config.time)
  }

  public func format(_ batch: EventBatch, into out: inout ByteWriter, _ rejects: inout [Rejection]) {
    var formatter = formatter
    let tag = Array(batch.tag.description.utf8)
    var index = 0
    batch.forEachEvent { time, record in
      let start = out.count
      if config.outputTime {
        formatter.format(time, into: &out)
        out.append(delimiter)
      }
      if config.outputTag {
        out.append(tag)
        out.append(delimiter)
      }
      if JSONFormatter.writeRecord(record, into: &out) { out.append(end) } else {
        out.count = start
        rejects.append(Rejection(index: index, reason: "holds a value that JSON cannot"))
      }
      index += 1
    }
  }
}
