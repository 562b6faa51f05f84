import Synchronization

/// How a configuration is read: strictness, and where its warnings go.
public struct ConfigContext: Sendable {
  /// `strict_config_value`: `12x` is an error for an integer instead of 12.
  public var strict: Bool
  public let warnings: ConfigWarnings

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
