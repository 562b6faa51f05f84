public import AggCore

/// Comma-separated values, quoted as RFC 4180 has it, named by their places.
public struct CSVParser: Parser {
  public struct Config: ParseConfigurable {
    public enum Engine: String, ConfigEnum { case normal, fast }
    public var time = TimeParameters()
    public var parse = ParseParameters()
    var keys: [String] = []
    var delimiter = ","
    var engine = Engine.normal
    public init() {}
    public static let parameters: [Parameter<Self>] =
      [
        .required("keys", \.keys, "Names of the fields, in order"),
        .optional("delimiter", \.delimiter, "Between the values"),
        .optional("parser_engine", \.engine, "normal refuses wrong quotes; fast takes what it can", alias: "parser_type"),
      ] + parseRows
    public mutating func validate(_ context: ConfigContext) throws {
      if delimiter.isEmpty { throw ConfigValueError("'delimiter' must not be empty") }
      try time.validate()
    }
  }
  public static let name = "csv"
  public static let summary = "Comma-separated values, named by their places."
  private let rules: ParseRules
  private let columns: ColumnKeys
  private let engine: Config.Engine
  private let scanner: CSVScanner

  public init(_ config: Config, _ context: PluginContext) throws {
    rules = try ParseRules(config.parse, config.time)
    columns = ColumnKeys(config.keys, rules)
    engine = config.engine
    scanner = CSVScanner(delimiter: Array(config.delimiter.utf8))
  }

  public func parse(_ text: UnsafeRawBufferPointer, into batch: inout BatchBuilder, _ context: inout ParseContext) -> ParseOutcome {
    var writer = FieldWriter(rules)
    var row = CSVRow()
    return parse(text, &row, &writer, into: &batch, &context)
  }
  public func parseLines(_ block: UnsafeRawBufferPointer, into batch: inout BatchBuilder, _ context: inout ParseContext) {
    var writer = FieldWriter(rules)
    var row = CSVRow()
    forEachLine(block) { line, offset in
      if case .rejected(let reason) = parse(line, &row, &writer, into: &batch, &context) {
        context.rejects.append((offset..<offset + line.count, reason))
      }
    }
  }

  @inline(__always)
  private func parse(
    _ line: UnsafeRawBufferPointer, _ row: inout CSVRow, _ writer: inout FieldWriter, into batch: inout BatchBuilder,
    _ context: inout ParseContext
  ) -> ParseOutcome {
    row.removeAll()
    if engine == .fast { return parseFast(line, &row, &writer, into: &batch, &context) }
    if line.isEmpty { return .rejected("pattern not matched") }
    if let problem = scanner.scan(line, &row) { return .rejected(problem) }
    writer.begin(&batch, room: columns.table.byteCount &+ line.count, fields: columns.table.count)
    for i in 0..<columns.table.count {
      let column = columns.places[i]
      if column < row.count, let cell = row.cell(column, line) { writer.put(columns.table, i, cell, &batch) } else {
        writer.putNil(columns.table, i, &batch)
      }
    }
    return writer.finish(&batch, &context)
  }

  /// Fluentd's `fast`: columns that lack stay away, those beyond the keys share the key nil.
  private func parseFast(
    _ line: UnsafeRawBufferPointer, _ row: inout CSVRow, _ writer: inout FieldWriter, into batch: inout BatchBuilder,
    _ context: inout ParseContext
  ) -> ParseOutcome {
    scanner.scanFast(line, &row)
    writer.begin(&batch, room: columns.table.byteCount &+ line.count, fields: columns.table.count)
    for i in 0..<columns.table.count {
      // A key that comes twice has the last column that is there.
      var column = columns.places[i]
      if column >= row.count { column = columns.firstPlaces[i] }
      guard column < row.count else { continue }
      if let cell = row.cell(column, line) { writer.put(columns.table, i, cell, &batch) } else { writer.putNil(columns.table, i, &batch) }
    }
    if row.count > columns.width {
      batch.writer.putNil()
      if let cell = row.cell(row.count - 1, line) { batch.writer.putString(cell) } else { batch.writer.putNil() }
      writer.didPut()
    }
    return writer.finish(&batch, &context)
  }
}
