public import AggCore

/// A stream of MessagePack maps, or of arrays of maps.
public struct MessagePackParser: Parser {
  public struct Config: ParseConfigurable {
    public var time = TimeParameters()
    public var parse = ParseParameters()
    public init() {}
    public static let parameters: [Parameter<Self>] = parseRows
  }
  public static let name = "msgpack"
  public static let summary = "A stream of MessagePack maps."
  private let rules: ParseRules

  public init(_ config: Config, _ context: PluginContext) throws { rules = try ParseRules(config.parse, config.time) }

  public var isStream: Bool { true }

  public func completeLength(_ bytes: UnsafeRawBufferPointer) -> Int? {
    var end = 0
    while end < bytes.count {
      switch MessagePackScanner.skip(bytes, at: end) {
      case .complete(let next): end = next
      case .needMore: return end
      case .invalid: return nil
      }
    }
    return end
  }

  /// Parses whole values, one behind the other; the last refusal is told.
  public func parse(_ text: UnsafeRawBufferPointer, into batch: inout BatchBuilder, _ context: inout ParseContext) -> ParseOutcome {
    var result = text.isEmpty ? ParseOutcome.rejected("empty") : .parsed
    run(text, into: &batch, &context) { _, reason in result = .rejected(reason) }
    return result
  }

  /// The block is a stream: line ends mean nothing in it.
  public func parseLines(_ block: UnsafeRawBufferPointer, into batch: inout BatchBuilder, _ context: inout ParseContext) {
    var rejects: [(range: Range<Int>, reason: String)] = []
    run(block, into: &batch, &context) { rejects.append(($0, $1)) }
    context.rejects += rejects
  }

  private func run(
    _ bytes: UnsafeRawBufferPointer, into batch: inout BatchBuilder, _ context: inout ParseContext, _ reject: (Range<Int>, String) -> Void
  ) {
    guard let base = bytes.baseAddress else { return }
    var rewriter = RecordRewriter(rules)
    var at = 0
    while at < bytes.count {
      guard case .complete(let end) = MessagePackScanner.skip(bytes, at: at) else {
        return reject(at..<bytes.count, "not MessagePack, or cut off")
      }
      let value = ValueView(unchecked: base + at)
      let range = at..<end
      if let record = value.map {
        if case .rejected(let reason) = rewriter.append(record, into: &batch, &context) { reject(range, reason) }
      } else if value.kind == .array {
        value.forEachElement { element in
          guard let record = element.map else { return reject(range, "not a map") }
          if case .rejected(let reason) = rewriter.append(record, into: &batch, &context) { reject(range, reason) }
        }
      } else {
        reject(range, "not a map")
      }
      at = end
    }
  }
}
