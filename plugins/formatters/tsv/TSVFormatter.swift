public import AggCore

/// Some fields' values between tabs.
public struct TSVFormatter: Formatter {
  public struct Config: NewlineConfigurable {
    public var line = LineEnd()
    var keys: [String] = []
    var delimiter = "\t"
    public init() {}
    public static let parameters: [Parameter<Self>] =
      [.required("keys", \.keys, "The fields, in order"), .optional("delimiter", \.delimiter, "Between the values")] + newlineRows + UnusedTime.rows()
  }
  public static let name = "tsv"
  public static let summary = "Some fields' values between tabs."
  private let keys: [[UInt8]]
  private let delimiter: [UInt8]
  private let end: [UInt8]

  public init(_ config: Config, _ context: PluginContext) throws {
    keys = config.keys.map { Array($0.utf8) }
    delimiter = Array(config.delimiter.utf8)
    end = config.line.bytes
  }

  public func format(_ batch: EventBatch, into out: inout ByteWriter, _ rejects: inout [Rejection]) {
    batch.forEachEvent { _, record in
      for i in keys.indices {
        if i > 0 { out.append(delimiter) }
        if let value = record.find(keys[i]) { RubyText.write(value, into: &out) }
      }
      out.append(end)
    }
  }
}
