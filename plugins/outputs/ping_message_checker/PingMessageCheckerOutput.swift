public import AggCore
import Synchronization

/// Says which pings have stopped coming.
///
/// Source: fluent-plugin-ping-message 1.0, the checker.
public struct PingMessageCheckerOutput: TimedOutput {
  public struct Config: Configurable {
    var tag = ""
    var dataField = "data"
    var notifications = true
    var checkInterval = TimeSpan(seconds: 3600)
    var notificationTimes = 3
    var excludePattern: String?
    public init() {}
    public static let parameters: [Parameter<Self>] = [
      .required("tag", \.tag, "Tag of the notifications"),
      .optional("data_field", \.dataField, "Field that tells pings apart, in them and in notifications"),
      .optional("notifications", \.notifications, "Notify at all; false only keeps the list"),
      .optional("check_interval", \.checkInterval, "A ping that did not come for so long is missing"),
      .optional("notification_times", \.notificationTimes, "How often a missing ping is told before it is forgotten"),
      .optional("exclude_pattern", \.excludePattern, "Expression (no slashes) of pings that are left alone"),
    ]
    public mutating func validate(_ context: ConfigContext) throws {
      if tag.isEmpty { throw ConfigValueError("'tag' must not be empty") }
      if checkInterval.nanoseconds < 1_000_000_000 { throw ConfigValueError("'check_interval' must be at least 1 second") }
    }
  }
  public static let name = "ping_message_checker"
  public static let summary = "Says which pings have stopped coming."
  /// Pings come from outside: more are not watched.
  static let maximumPings = 100_000

  private enum State: Sendable {
    case came, awaited
    case told(Int)
  }
  private final class Pings: Sendable {
    let known = Mutex<[Value: State]>([:])
  }
  private let config: Config
  private let key: [UInt8]
  private let excluded: Regexp?
  private let pings = Pings()
  private let timer: ReportTimer
  private let context: PluginContext

  public init(_ config: Config, _ context: PluginContext) throws {
    self.config = config
    self.context = context
    key = Array(config.dataField.utf8)
    excluded = try config.excludePattern.map { try Regexp($0) }
    timer = ReportTimer(seconds: config.checkInterval.seconds, context)
  }

  public func process(_ batch: EventBatch) throws(WriteError) {
    var seen: Set<Value> = []
    batch.forEachEvent { _, record in
      guard let value = record.find(key), value.bytes.count <= 4096 else { return }
      if let excluded, let text = value.textBytes, excluded.matches(text) { return }
      seen.insert(Value(value))
    }
    let left = pings.known.withLock { known in
      var left = 0
      for ping in seen {
        if known[ping] == nil, known.count >= Self.maximumPings { left += 1 } else { known[ping] = .came }
      }
      return left
    }
    if left > 0 { context.counters.drop(left, "too_many_pings", from: .delivered) }
  }

  public func run() async {
    await timer.run { moment in
      // When the daemon stops no interval is over.
      if moment.isLast { return [] }
      let missing = check()
      if !config.notifications || missing.isEmpty { return [] }
      return missing.map { .report(config.tag, moment.time, FieldMap([.init(key: Value(config.dataField), value: $0)])) }
    }
  }

  private func check() -> [Value] {
    pings.known.withLock { known in
      var missing: [Value] = []
      for (ping, state) in known {
        switch state {
        case .came: known[ping] = .awaited
        case .awaited:
          missing.append(ping)
          known[ping] = .told(1)
        case .told(let times) where times < config.notificationTimes:
          missing.append(ping)
          known[ping] = .told(times + 1)
        case .told: known[ping] = nil
        }
      }
      return missing
    }
  }
}
