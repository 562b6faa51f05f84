/// One section of a configuration: `<name argument> entries… children… </name>`.
public struct ConfigElement: Sendable {
  public enum Value: Sendable, Hashable {
    case text(String)
    /// `use_nil`: as if the parameter had no value, even where it has a default.
    case useNil
    /// `use_default`: as if the line were not there.
    case useDefault
  }
  public struct Entry: Sendable {
    public var name: String
    public var value: Value
    public var at: SourceLocation
    /// The value as YAML typed it (`12`, `true`, a list); nil in the classic form, where all values are text.
    public var typed: ConfigJSON?
    public init(name: String, value: Value, at: SourceLocation) {
      self.name = name
      self.value = value
      self.at = at
    }
    public init(name: String, text: String, at: SourceLocation) { self.init(name: name, value: .text(text), at: at) }
  }

  public var name: String
  public var argument: String
  public var entries: [Entry]
  public var children: [ConfigElement]
  public var at: SourceLocation

  public init(name: String, argument: String = "", entries: [Entry] = [], children: [ConfigElement] = [], at: SourceLocation) {
    self.name = name
    self.argument = argument
    self.entries = entries
    self.children = children
    self.at = at
  }

  /// The text of the last entry of that name (Fluentd's rule for repeated keys), nil when absent or not text.
  public subscript(_ name: String) -> String? {
    guard let entry = entries.last(where: { $0.name == name }), case .text(let text) = entry.value else { return nil }
    return text
  }
  public func entry(_ name: String) -> Entry? { entries.last { $0.name == name } }
  public func children(_ name: String) -> [ConfigElement] { children.filter { $0.name == name } }
  public func child(_ name: String) -> ConfigElement? { children.first { $0.name == name } }
  /// `@type`, or Fluentd's older `type`.
  public var type: String? { self["@type"] ?? self["type"] }
}
