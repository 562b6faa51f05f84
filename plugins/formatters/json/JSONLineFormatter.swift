public import AggCore

/// One JSON object a line.
public struct JSONLineFormatter: Formatter {
  public struct Config: Configurable {
    public enum Newline: String, ConfigEnum { case lf, crlf }
    var addNewline = true
    var newline = Newline.lf
    public init() {}
    public static let parameters: [Parameter<Self>] = [
      .optional("add_newline", \.addNewline, "End each event with a newline"),
      .optional("newline", \.newline, "lf or crlf"),
      .ignored("json_parser", "agg has one JSON writer"),
    ]
  }
  public static let name = "json"
  public static let summary = "One JSON object a line."
  private let end: [UInt8]

  public init(_ config: Config, _ context: PluginContext) throws {
    end = config.addNewline ? (config.newline == .crlf ? [0x0d, 0x0a] : [0x0a]) : []
  }

  public func format(_ batch: EventBatch, into out: inout ByteWriter, _ rejects: inout [Rejection]) {
    var index = 0
    batch.forEachEvent { _, record in
      if JSONFormatter.writeRecord(record, into: &out) { out.append(end) } else {
        rejects.append(Rejection(index: index, reason: "holds a value that JSON cannot"))
      }
      index += 1
    }
  }
}
