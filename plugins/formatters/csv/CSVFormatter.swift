public import AggCore

/// Some fields' values as comma-separated values.
public struct CSVFormatter: Formatter {
  public struct Config: Configurable {
    var fields: [String] = []
    var delimiter = ","
    var forceQuotes = true
    var addNewline = true
    public init() {}
    public static let parameters: [Parameter<Self>] =
      [
        .required("fields", \.fields, "The fields, in order; a path such as $.a.b is one in a map"),
        .optional("delimiter", \.delimiter, "Between the values; TAB or \\t is a tab"),
        .optional("force_quotes", \.forceQuotes, "Quotes around every value, not only where they are needed"),
        .optional("add_newline", \.addNewline, "End each event with a newline"),
      ] + UnusedTime.rows()
  }
  public static let name = "csv"
  public static let summary = "Some fields' values as comma-separated values."
  private let paths: [RecordPath]
  private let delimiter: [UInt8]
  private let forceQuotes: Bool
  private let addNewline: Bool
  /// What makes quotes needed: any byte of the delimiter, as Ruby's writer has it.
  private let special: [Bool]

  public init(_ config: Config, _ context: PluginContext) throws {
    let names = config.fields.filter { !$0.isEmpty }
    if names.isEmpty { throw ConfigValueError("empty value is specified in fields parameter") }
    // Only when one of them is nested are they paths at all.
    let isNested = names.contains { $0.hasPrefix("$.") || $0.hasPrefix("$[") }
    paths = try names.map { isNested ? try RecordPath($0) : RecordPath(key: $0) }
    delimiter = config.delimiter == "\\t" || config.delimiter == "TAB" ? [0x09] : Array(config.delimiter.utf8)
    forceQuotes = config.forceQuotes
    addNewline = config.addNewline
    var special = [Bool](repeating: false, count: 256)
    for byte in delimiter + [0x0d, 0x0a, 0x22] { special[Int(byte)] = true }
    self.special = special
  }

  public func format(_ batch: EventBatch, into out: inout ByteWriter, _ rejects: inout [Rejection]) {
    var scratch = ByteWriter(capacity: 256)
    batch.forEachEvent { _, record in
      for i in paths.indices {
        if i > 0 { out.append(delimiter) }
        let value = paths[i].find(record)
        if let text = value?.textBytes {
          put(text, &out)
        } else if let value, !value.isNull {
          scratch.removeAll()
          RubyText.write(value, into: &scratch)
          put(scratch.bytes, &out)
        } else if forceQuotes {
          out.append("\"\"" as StaticString)
        }
      }
      if addNewline { out.append(0x0a as UInt8) }
    }
  }

  private func put(_ text: UnsafeRawBufferPointer, _ out: inout ByteWriter) {
    guard forceQuotes || text.isEmpty || text.contains(where: { special[Int($0)] }) else { return out.append(text) }
    out.reserve(text.count &* 2 &+ 2)
    out.uncheckedAppend(0x22)
    for byte in text {
      if byte == 0x22 { out.uncheckedAppend(0x22) }
      out.uncheckedAppend(byte)
    }
    out.uncheckedAppend(0x22)
  }
}
