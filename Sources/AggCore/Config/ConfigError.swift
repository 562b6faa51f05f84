/// One mistake in a configuration: `file:line: what; what would be right`.
public struct ConfigError: Error, CustomStringConvertible, Sendable {
  public var at: SourceLocation
  public var message: String
  public init(at: SourceLocation, _ message: String) {
    self.at = at
    self.message = message
  }
  public var description: String { "\(at): \(message)" }
}

/// All mistakes that one run found.
public struct ConfigErrors: Error, CustomStringConvertible, Sendable {
  public var errors: [ConfigError]
  public init(_ errors: [ConfigError]) { self.errors = errors }
  public init(at: SourceLocation, _ message: String) { errors = [ConfigError(at: at, message)] }
  public var description: String { errors.map(\.description).joined(separator: "\n") }
}

/// Why a text is not a value of the wanted type; the declaration adds the place and the parameter's name.
public struct ConfigValueError: Error, Sendable {
  public var message: String
  public init(_ message: String) { self.message = message }
}
