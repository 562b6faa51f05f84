public import AggCore

/// The line as it is, in one field.
public struct NoneParser: Parser {
  public struct Config: Configurable {
    var messageKey = "message"
    public init() {}
    public static let parameters: [Parameter<Self>] = [.optional("message_key", \.messageKey, "Field that gets the line")]
  }
  public static let name = "none"
  public static let summary = "The line as it is, in one field."

  /// fixmap(1) and the key, as every record begins.
  private let prefix: [UInt8]

  public init(_ config: Config, _ context: PluginContext) throws {
    var out = ByteWriter(capacity: 64)
    out.putMapHeader(1)
    out.putString(config.messageKey)
    prefix = out.array
  }

  public func parse(_ text: UnsafeRawBufferPointer, into batch: inout BatchBuilder, _ context: inout ParseContext) -> ParseOutcome {
    append(text, into: &batch, context.now)
    return .parsed
  }
  public func parseLines(_ block: UnsafeRawBufferPointer, into batch: inout BatchBuilder, _ context: inout ParseContext) {
    let now = context.now
    forEachLine(block) { line, _ in append(line, into: &batch, now) }
  }
  @inline(__always) private func append(_ line: UnsafeRawBufferPointer, into batch: inout BatchBuilder, _ now: EventTime) {
    batch.begin(room: prefix.count + line.count + 5)
    batch.writer.append(prefix)
    batch.writer.putString(line)
    batch.commit(time: now)
  }
}
