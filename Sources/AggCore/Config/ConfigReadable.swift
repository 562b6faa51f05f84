/// A value that one configuration line can hold.
public protocol ConfigReadable: Sendable {
  /// As `agg plugins NAME` and messages print it: "integer", "size", "time" …
  static var configType: String { get }
  /// Reads Fluentd's text form; `strict` is `strict_config_value`.
  init(configText: String, strict: Bool) throws(ConfigValueError)
  /// The text that would read as this value, for documentation of defaults.
  var configText: String { get }
  /// Reads an item of a JSON array; by default its text.
  init(configJSON: ConfigJSON, strict: Bool) throws(ConfigValueError)
  /// What is surprising about how a text is read without strictness ("'12x' is no integer and is read as 12"); nil when nothing is.
  static func configCaution(_ text: String) -> String?
}

extension ConfigReadable {
  public init(configJSON: ConfigJSON, strict: Bool) throws(ConfigValueError) { try self.init(configText: configJSON.text, strict: strict) }
  public static func configCaution(_ text: String) -> String? { nil }
}

extension String: ConfigReadable {
  public static var configType: String { "string" }
  public init(configText: String, strict: Bool) { self = configText }
  public var configText: String { self }
}

extension Optional: ConfigReadable where Wrapped: ConfigReadable {
  public static var configType: String { Wrapped.configType }
  public init(configText: String, strict: Bool) throws(ConfigValueError) { self = try Wrapped(configText: configText, strict: strict) }
  public var configText: String { self?.configText ?? "nil" }
  public static func configCaution(_ text: String) -> String? { Wrapped.configCaution(text) }
}
