/// A value that one configuration line can hold.
public protocol ConfigReadable: Sendable {
  /// As `agg plugins NAME` and messages print it: "integer", "size", "time" …
  static var configType: String { get }
  /// Reads Fluentd's text form; `strict` is `strict_config_value`.
  init(configText: String, strict: Bool) throws(ConfigValueError)
  /// The text that would read as this value, for documentation of defaults.
  var configText: String { get }
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
}
