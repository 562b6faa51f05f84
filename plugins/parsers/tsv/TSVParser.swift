public import AggCore

/// Values between tabs, named by their places.
public struct TSVParser: Parser {
  public struct Config: ParseConfigurable {
    public var time = TimeParameters()
    public var parse = ParseParameters()
    var keys: [String] = []
    var delimiter = "\t"
    public init() {}
    public static let parameters: [Parameter<Self>] =
      [.required("keys", \.keys, "Names of the fields, in order"), .optional("delimiter", \.delimiter, "Between the values")] + parseRows
  }
  public static let name = "tsv"
  public static let summary = "Values between tabs, named by their places."
  private let rules: ParseRules
  private let columns: ColumnKeys
  private let delimiter: [UInt8]

  public init(_ config: Config, _ context: PluginContext) throws {
    rules = try ParseRules(config.parse, config.time)
    columns = ColumnKeys(config.keys, rules)
    delimiter = Array(config.delimiter.utf8)
  }

  public func parse(_ text: UnsafeRawBufferPointer, into batch: inout BatchBuilder, _ context: inout ParseContext) -> ParseOutcome {
    var writer = FieldWriter(rules)
    var cells = ContiguousArray<UnsafeRawBufferPointer>()
    return parse(text, &cells, &writer, into: &batch, &context)
  }
  public func parseLines(_ block: UnsafeRawBufferPointer, into batch: inout BatchBuilder, _ context: inout ParseContext) {
    var writer = FieldWriter(rules)
    var cells = ContiguousArray<UnsafeRawBufferPointer>()
    forEachLine(block) { line, offset in
      if case .rejected(let reason) = parse(line, &cells, &writer, into: &batch, &context) {
        context.rejects.append((offset..<offset + line.count, reason))
      }
    }
  }

  @inline(__always)
  private func parse(
    _ line: UnsafeRawBufferPointer, _ cells: inout ContiguousArray<UnsafeRawBufferPointer>, _ writer: inout FieldWriter,
    into batch: inout BatchBuilder, _ context: inout ParseContext
  ) -> ParseOutcome {
    cells.removeAll(keepingCapacity: true)
    RubySplit.split(line, delimiter, limit: columns.width) { cells.append($0) }
    writer.begin(&batch, room: columns.table.byteCount &+ line.count, fields: columns.table.count)
    for i in 0..<columns.table.count {
      let column = columns.places[i]
      if column < cells.count { writer.put(columns.table, i, cells[column], &batch) } else { writer.putNil(columns.table, i, &batch) }
    }
    return writer.finish(&batch, &context)
  }
}
