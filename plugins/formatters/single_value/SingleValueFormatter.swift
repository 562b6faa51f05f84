public import AggCore

/// One field's value, as text.
public struct SingleValueFormatter: Formatter {
  public struct Config: NewlineConfigurable {
    public var line = LineEnd()
    var messageKey = "message"
    public init() {}
    public static let parameters: [Parameter<Self>] = [.optional("message_key", \.messageKey, "The field")] + newlineRows + UnusedTime.rows()
  }
  public static let name = "single_value"
  public static let summary = "One field's value."
  private let key: [UInt8]
  private let end: [UInt8]
  public init(_ config: Config, _ context: PluginContext) throws {
    key = Array(config.messageKey.utf8)
    end = config.line.bytes
  }

  public func format(_ batch: EventBatch, into out: inout ByteWriter, _ rejects: inout [Rejection]) {
    batch.forEachEvent { _, record in
      if let value = record.find(key) { RubyText.write(value, into: &out) }
      out.append(end)
    }
  }
}
