public import AggCore

/// `label:value TAB label:value`.
public struct LTSVFormatter: Formatter {
  public struct Config: NewlineConfigurable {
    public var line = LineEnd()
    var delimiter = "\t"
    var labelDelimiter = ":"
    var replacement = " "
    public init() {}
    public static let parameters: [Parameter<Self>] =
      [
        .optional("delimiter", \.delimiter, "Between the fields"),
        .optional("label_delimiter", \.labelDelimiter, "Between a field's label and its value"),
        .optional("replacement", \.replacement, "What stands for the delimiter within a value"),
      ] + newlineRows + UnusedTime.rows()
  }
  public static let name = "ltsv"
  public static let summary = "Labelled values between tabs."
  private let delimiter: [UInt8]
  private let labelDelimiter: [UInt8]
  private let replacement: [UInt8]
  private let end: [UInt8]

  public init(_ config: Config, _ context: PluginContext) throws {
    delimiter = Array(config.delimiter.utf8)
    labelDelimiter = Array(config.labelDelimiter.utf8)
    replacement = Array(config.replacement.utf8)
    end = config.line.bytes
  }

  public func format(_ batch: EventBatch, into out: inout ByteWriter, _ rejects: inout [Rejection]) {
    var scratch = ByteWriter(capacity: 256)
    batch.forEachEvent { _, record in
      let start = out.count
      record.forEachField { key, value in
        if out.count > start { out.append(delimiter) }
        RubyText.write(key, into: &out)
        out.append(labelDelimiter)
        if let text = value.textBytes { replace(text, &out) } else {
          scratch.removeAll()
          RubyText.write(value, into: &scratch)
          replace(scratch.bytes, &out)
        }
      }
      out.append(end)
    }
  }

  private func replace(_ text: UnsafeRawBufferPointer, _ out: inout ByteWriter) {
    if delimiter.isEmpty {
      // Ruby's gsub of nothing: before every character and at the end.
      RubySplit.split(text, [], limit: 0) { character in
        out.append(replacement)
        out.append(character)
      }
      return out.append(replacement)
    }
    var at = 0
    while let found = RubySplit.find(text, delimiter, at) {
      out.append(UnsafeRawBufferPointer(rebasing: text[at..<found]))
      out.append(replacement)
      at = found + delimiter.count
    }
    out.append(UnsafeRawBufferPointer(rebasing: text[at...]))
  }
}
