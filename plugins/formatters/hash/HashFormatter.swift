public import AggCore

/// Records as Ruby prints a Hash.
public struct HashFormatter: Formatter {
  public struct Config: NewlineConfigurable {
    public var line = LineEnd()
    public init() {}
    public static let parameters: [Parameter<Self>] = newlineRows + UnusedTime.rows()
  }
  public static let name = "hash"
  public static let summary = "Records as Ruby prints a Hash."
  private let end: [UInt8]
  public init(_ config: Config, _ context: PluginContext) throws { end = config.line.bytes }

  public func format(_ batch: EventBatch, into out: inout ByteWriter, _ rejects: inout [Rejection]) {
    batch.forEachEvent { _, record in
      RubyText.inspect(record, into: &out)
      out.append(end)
    }
  }
}
