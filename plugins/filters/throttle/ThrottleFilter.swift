public import AggCore
import Synchronization

/// Drops what a group of events has beyond its limit in a period.
///
/// Source: fluent-plugin-throttle 0.0.5.
public struct ThrottleFilter: Filter {
  public struct Config: Configurable {
    var groupKey = ["kubernetes.container_name"]
    var period = 60
    var limit = 6000
    var dropsLogs = true
    var resetRate: Int?
    var warningDelay = 10
    public init() {}
    public static let parameters: [Parameter<Self>] = [
      .optional("group_key", \.groupKey, "Fields whose values together make a group; a dot leads into a map"),
      .optional("group_bucket_period_s", \.period, "Length of a period, in seconds"),
      .optional("group_bucket_limit", \.limit, "Most events of a group in a period"),
      .optional("group_drop_logs", \.dropsLogs, "Drop what is beyond the limit; false only warns"),
      .optional(
        "group_reset_rate_s", \.resetRate,
        "A group over its limit stays so until it has fewer events a second than this; nil: limit / period, -1: until the next period"
      ),
      .optional("group_warning_delay_s", \.warningDelay, "Seconds between two warnings about a group"),
    ]
    public mutating func validate(_ context: ConfigContext) throws {
      if period < 1 || period > 1_000_000_000 {
        throw ConfigValueError("'group_bucket_period_s' must be > 0 and at most 1000000000; got \(period)")
      }
      if limit < 1 { throw ConfigValueError("'group_bucket_limit' must be > 0; got \(limit)") }
      if let resetRate {
        if resetRate < -1 { throw ConfigValueError("'group_reset_rate_s' must be >= -1; got \(resetRate)") }
        if resetRate > limit / period {
          throw ConfigValueError(
            "'group_reset_rate_s' must be <= group_bucket_limit / group_bucket_period_s, which is \(limit / period); got \(resetRate)"
          )
        }
      }
      if warningDelay < 1 || warningDelay > 1_000_000_000 {
        throw ConfigValueError("'group_warning_delay_s' must be >= 1; got \(warningDelay)")
      }
      if groupKey.isEmpty { throw ConfigValueError("'group_key' names no field") }
    }
  }
  public static let name = "throttle"
  public static let summary = "Drops what a group of events has beyond its limit in a period."

  /// Groups come from outside: beyond this many the one seen longest ago starts anew.
  static let maximumGroups = 100_000
  /// Warnings of one batch that are written out; more are counted in one line.
  static let maximumWarnings = 10

  private let paths: [RecordPath]
  private let rules: ThrottleGroup.Rules
  private let drops: Bool
  private let config: Config
  private let log: Log
  private let groups: Groups

  /// Shared by the copies of the filter.
  private final class Groups: Sendable {
    struct State: Sendable {
      var table = RecentTable<ThrottleGroup>(capacity: ThrottleFilter.maximumGroups)
      var runs: UInt64 = 0
    }
    let state = Mutex(State())
  }

  public init(_ config: Config, _ context: PluginContext) throws {
    self.config = config
    paths = try config.groupKey.map { key in
      // Fluentd cuts at every dot; `$.a.b` is agg's own way to say it.
      if key.hasPrefix("$") { return try RecordPath(key) }
      return try RecordPath("$" + key.split(separator: ".").map { "['\($0)']" }.joined())
    }
    let resetRate = config.resetRate ?? config.limit / config.period
    rules = ThrottleGroup.Rules(
      period: Int64(config.period) * 1_000_000_000, limit: config.limit, resetRate: resetRate == -1 ? nil : resetRate,
      warningDelay: Int64(config.warningDelay) * 1_000_000_000)
    drops = config.dropsLogs
    log = context.log
    groups = Groups()
  }

  public func filter(_ batch: EventBatch, _ sink: inout FilterSink) throws(FilterError) -> EventBatch {
    let time = EventTime.now()
    let now = time.seconds &* 1_000_000_000 &+ Int64(time.nanoseconds)
    var kept = [Bool](repeating: true, count: batch.count)
    var additions: [ThrottleGroup.Addition] = []
    var warnings: [String] = []
    var unwritten = 0
    groups.state.withLock { state in
      state.runs &+= 1
      expire(&state.table, now)
      var key = GroupKey(paths)
      var index = 0
      batch.forEachEvent { _, record in
        defer { index += 1 }
        let (slot, _) = state.table.use(key.bytes(record)) { ThrottleGroup(rules, now: now) }
        let before = state.table[slot]
        let verdict = state.table[slot].add(rules, now: now)
        note(&state, slot, before, &additions)
        switch verdict {
        case .within: return
        case .over: kept[index] = false
        case .overAndTold, .backDown:
          kept[index] = verdict == .backDown
          if warnings.count < Self.maximumWarnings {
            warnings.append(
              line(verdict == .backDown ? "rate back down" : "rate exceeded", key.text(record), state.table[slot], now))
          } else {
            unwritten += 1
          }
        }
      }
    }
    for warning in warnings { warning.hasPrefix("rate back") ? log.info(warning) : log.warn(warning) }
    if unwritten > 0 { log.warn("\(unwritten) more groups passed their limit") }
    let (groups, added) = (groups, additions)
    sink.onRefusal {
      groups.state.withLock { state in
        for addition in added { if let slot = state.table.find(addition.key) { addition.takeBack(from: &state.table[slot]) } }
      }
    }
    guard drops else { return batch }
    var index = 0
    let result = batch.filtered { _, _ in
      defer { index += 1 }
      return kept[index]
    }
    sink.drop(batch.count - result.count, "throttled")
    return result
  }

  /// Groups that nothing came from for two periods are forgotten.
  private func expire(_ table: inout RecentTable<ThrottleGroup>, _ now: Int64) {
    let (timeout, overflow) = rules.period.multipliedReportingOverflow(by: 2)
    while let oldest = table.oldest, !overflow, now &- table[oldest].rateStart > timeout { table.remove(oldest) }
  }

  /// Time stands still within a batch, so a new second or period of a group can only begin with its first event here.
  private func note(
    _ state: inout Groups.State, _ slot: Int, _ before: ThrottleGroup, _ additions: inout [ThrottleGroup.Addition]
  ) {
    let after = state.table[slot]
    if before.run != state.runs {
      state.table[slot].run = state.runs
      state.table[slot].index = additions.count
      additions.append(.init(key: state.table.key(slot), before: before, after: after))
    } else if additions.indices.contains(before.index) {
      additions[before.index].update(after)
    }
  }

  private func line(_ what: String, _ group: String, _ state: ThrottleGroup, _ now: Int64) -> String {
    "\(what) group_key=\(group) rate_s=\(state.shownRate(now: now)) period_s=\(config.period) limit=\(config.limit) "
      + "rate_limit_s=\(config.limit / config.period) reset_rate_s=\(config.resetRate ?? config.limit / config.period)"
  }
}
