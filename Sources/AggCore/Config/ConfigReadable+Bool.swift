extension Bool: ConfigReadable {
  public static var configType: String { "bool" }
  /// A name alone is true; so is a name with only a comment, which the language passes on as the value.
  public init(configText: String, strict: Bool) throws(ConfigValueError) {
    switch configText {
    case "true", "yes", "": self = true
    case "false", "no": self = false
    case _ where configText.hasPrefix("#"): self = true
    default:
      if strict { throw ConfigValueError("must be true or false; got '\(configText)'") }
      self = false  // Fluentd's nil
    }
  }
  public var configText: String { self ? "true" : "false" }
  public static func configCaution(_ text: String) -> String? {
    ["true", "yes", "", "false", "no"].contains(text) || text.hasPrefix("#") ? nil : "'\(text)' is neither true nor false and is read as false"
  }
}
