public import AggCore

/// Records as MessagePack maps, one behind the other.
public struct MessagePackFormatter: Formatter {
  public struct Config: Configurable {
    public init() {}
    public static let parameters: [Parameter<Self>] = UnusedTime.rows()
  }
  public static let name = "msgpack"
  public static let summary = "Records as MessagePack maps."
  public init(_ config: Config, _ context: PluginContext) throws {}

  public var isBinary: Bool { true }
  public func format(_ batch: EventBatch, into out: inout ByteWriter, _ rejects: inout [Rejection]) {
    out.reserve(batch.byteCount)
    batch.forEach { event in out.append(event.record.bytes) }
  }
}
