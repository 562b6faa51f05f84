/// How loud a log line is, as Fluentd's `log_level`.
public enum LogLevel: Int, Sendable, Comparable, CaseIterable {
  case trace, debug, info, warn, error, fatal
  public static func < (a: LogLevel, b: LogLevel) -> Bool { a.rawValue < b.rawValue }
  public init?(name: String) {
    guard let level = LogLevel.allCases.first(where: { $0.name == name }) else { return nil }
    self = level
  }
  public var name: String {
    switch self {
    case .trace: "trace"
    case .debug: "debug"
    case .info: "info"
    case .warn: "warn"
    case .error: "error"
    case .fatal: "fatal"
    }
  }
}

/// The daemon's own log, as one plugin sees it. Lines are for operators: a sentence, once a state change, never once an event.
public struct Log: Sendable {
  public let level: LogLevel
  /// Printed before the sentence, e.g. the plugin's id.
  public let source: String
  private let writer: any LogWriter

  public init(level: LogLevel = .info, source: String = "", writer: any LogWriter) {
    self.level = level
    self.source = source
    self.writer = writer
  }
  public func with(source: String, level: LogLevel? = nil) -> Log { Log(level: level ?? self.level, source: source, writer: writer) }

  public func trace(_ message: @autoclosure () -> String) { write(.trace, message) }
  public func debug(_ message: @autoclosure () -> String) { write(.debug, message) }
  public func info(_ message: @autoclosure () -> String) { write(.info, message) }
  /// Something was wrong and is mended or counted.
  public func warn(_ message: @autoclosure () -> String) { write(.warn, message) }
  /// Data was given up, or a part of the daemon does not work.
  public func error(_ message: @autoclosure () -> String) { write(.error, message) }
  public func fatal(_ message: @autoclosure () -> String) { write(.fatal, message) }

  private func write(_ level: LogLevel, _ message: () -> String) {
    if level >= self.level { writer.write(level, source, message()) }
  }
}

/// Where log lines go: the daemon's log file or stderr, and `fluent.**` events.
public protocol LogWriter: Sendable {
  /// `message` may hold bytes from outside; the writer escapes control bytes.
  func write(_ level: LogLevel, _ source: String, _ message: String)
}
