extension Int: ConfigReadable {
  public static var configType: String { "integer" }
  /// Fluentd's rule: without strictness, digits at the start count ("12x" is 12, "abc" is 0).
  public init(configText: String, strict: Bool) throws(ConfigValueError) {
    if let value = RubyNumber.integer(configText), strict {
      self = value
    } else if strict {
      throw ConfigValueError("must be an integer; got '\(configText)'")
    } else if let value = RubyNumber.integerPrefix(configText) {
      self = value
    } else {
      throw ConfigValueError("must be an integer of at most 64 bits; got '\(configText)'")
    }
  }
  public var configText: String { String(self) }
  public static func configCaution(_ text: String) -> String? {
    guard RubyNumber.integer(text) == nil, let value = RubyNumber.integerPrefix(text) else { return nil }
    return "'\(text)' is no integer and is read as \(value)"
  }
}

extension Double: ConfigReadable {
  public static var configType: String { "float" }
  /// Fluentd's rule: without strictness, the number at the start counts ("1.5x" is 1.5, "abc" is 0).
  public init(configText: String, strict: Bool) throws(ConfigValueError) {
    if strict {
      guard let value = RubyNumber.double(configText) else { throw ConfigValueError("must be a number; got '\(configText)'") }
      self = value
    } else {
      self = RubyNumber.doublePrefix(configText)
    }
  }
  public var configText: String { ConfigJSON.text(of: self) }
  public static func configCaution(_ text: String) -> String? {
    RubyNumber.double(text) == nil ? "'\(text)' is no number and is read as \(RubyNumber.doublePrefix(text))" : nil
  }
}
