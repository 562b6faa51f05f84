public import AggCore

/// The line as it is, in one field.
public struct NoneParser: Parser {
  public struct Config: ParseConfigurable {
    public var time = TimeParameters()
    public var parse = ParseParameters()
    var messageKey = "message"
    public init() {}
    public static let parameters: [Parameter<Self>] = [.optional("message_key", \.messageKey, "Field that gets the line")] + parseRows
  }
  public static let name = "none"
  public static let summary = "The line as it is, in one field."

  /// fixmap(1) and the key, as every record begins.
  private let prefix: [UInt8]
  private let rules: ParseRules

  public init(_ config: Config, _ context: PluginContext) throws {
    rules = try ParseRules(config.parse, config.time)
    var out = ByteWriter(capacity: 64)
    out.putMapHeader(1)
    out.putString(config.messageKey)
    prefix = out.array
  }

  public func parse(_ text: UnsafeRawBufferPointer, into batch: inout BatchBuilder, _ context: inout ParseContext) -> ParseOutcome {
    append(text, into: &batch, &context)
  }
  public func parseLines(_ block: UnsafeRawBufferPointer, into batch: inout BatchBuilder, _ context: inout ParseContext) {
    forEachLine(block) { line, offset in
      if case .rejected(let reason) = append(line, into: &batch, &context) { context.rejects.append((offset..<offset + line.count, reason)) }
    }
  }
  @inline(__always)
  private func append(_ line: UnsafeRawBufferPointer, into batch: inout BatchBuilder, _ context: inout ParseContext) -> ParseOutcome {
    batch.begin(room: prefix.count + line.count + 5)
    batch.writer.append(prefix)
    batch.writer.putString(line)
    return rules.commitUntimed(&batch, &context)
  }
}
