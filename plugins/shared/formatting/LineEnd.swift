public import AggCore

/// How formatters end an event: `add_newline` and `newline`.
public struct LineEnd: Sendable {
  public enum Newline: String, ConfigEnum { case lf, crlf }
  public var addNewline = true
  public var newline = Newline.lf
  public init() {}
  public var bytes: [UInt8] { addNewline ? (newline == .crlf ? [0x0d, 0x0a] : [0x0a]) : [] }
}

/// A formatter's section with these two; its rows are `newlineRows`.
public protocol NewlineConfigurable: Configurable {
  var line: LineEnd { get set }
}

/// The time parameters that every formatter of Fluentd takes, for those that write no time.
public enum UnusedTime {
  public static func rows<C>() -> [Parameter<C>] {
    ["time_type", "time_format", "localtime", "utc", "timezone", "time_format_fallbacks"].map { .ignored($0, "This format has no time") }
  }
}

extension NewlineConfigurable {
  public static var newlineRows: [Parameter<Self>] {
    [
      .optional("add_newline", \Self.line.addNewline, "End each event with a newline"),
      .optional("newline", \Self.line.newline, "lf or crlf"),
    ]
  }
}
