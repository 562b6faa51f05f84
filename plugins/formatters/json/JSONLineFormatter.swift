public import AggCore

/// One JSON object a line.
public struct JSONLineFormatter: Formatter {
  public struct Config: NewlineConfigurable {
    public var line = LineEnd()
    public init() {}
    public static let parameters: [Parameter<Self>] = newlineRows + [.ignored("json_parser", "agg has one JSON writer")] + UnusedTime.rows()
  }
  public static let name = "json"
  public static let summary = "One JSON object a line."
  private let end: [UInt8]

  public init(_ config: Config, _ context: PluginContext) throws { end = config.line.bytes }

  public func format(_ batch: EventBatch, into out: inout ByteWriter, _ rejects: inout [Rejection]) {
    if end == [0x0a] {
      var refused: [UnsafeRawPointer] = []
      JSONFormatter.writeLines(batch, into: &out) { event in if let start = event.bytes.baseAddress { refused.append(start) } }
      if !refused.isEmpty { reject(batch, refused, &rejects) }
      return
    }
    var index = 0
    batch.forEachEvent { _, record in
      if JSONFormatter.writeRecord(record, into: &out) { out.append(end) } else { rejects.append(Rejection(index: index, reason: Self.reason)) }
      index += 1
    }
  }

  static let reason = "holds a value that JSON cannot"

  private func reject(_ batch: EventBatch, _ refused: [UnsafeRawPointer], _ rejects: inout [Rejection]) {
    var index = 0
    batch.forEach { event in
      if let start = event.bytes.baseAddress, refused.contains(start) { rejects.append(Rejection(index: index, reason: Self.reason)) }
      index += 1
    }
  }
}
