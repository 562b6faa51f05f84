import Synchronization

/// How a configuration is read: strictness, and where its warnings go.
public struct ConfigContext: Sendable {
  /// `strict_config_value`: `12x` is an error for an integer instead of 12.
  public var strict: Bool
  public let warnings: ConfigWarnings
  public let claims = ConfigClaims()

  public init(strict: Bool = false, warnings: ConfigWarnings = ConfigWarnings()) {
    self.strict = strict
    self.warnings = warnings
  }
}

/// What a configuration says that has no effect; a warning when running, an error under `agg check`.
public final class ConfigWarnings: Sendable {
  private let list = Mutex<[ConfigError]>([])
  public init() {}
  public func add(_ at: SourceLocation, _ message: String) { list.withLock { $0.append(ConfigError(at: at, message)) } }
  public var all: [ConfigError] { list.withLock { $0 } }
}

/// What only one plugin of a configuration may have: a position file, a socket's path.
public final class ConfigClaims: Sendable {
  private let owners = Mutex<[String: (id: String, at: SourceLocation)]>([:])
  public init() {}
  /// Throws when another plugin has `what`, naming it.
  public func claim(_ what: String, by id: String, at: SourceLocation) throws(ConfigError) {
    let other = owners.withLock { owners in
      if let known = owners[what], known.at != at || known.id != id { return Optional(known) }
      owners[what] = (id, at)
      return nil
    }
    if let other { throw ConfigError(at: at, "\(what) is used twice; the other is of \(other.id) at \(other.at)") }
  }
  /// What plugins that a reload leaves running have claimed.
  public func adopt(_ other: ConfigClaims, of ids: [String]) {
    let theirs = other.owners.withLock { $0.filter { ids.contains($0.value.id) } }
    owners.withLock { $0.merge(theirs) { mine, _ in mine } }
  }
}
