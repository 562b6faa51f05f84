public import AggCore

/// Joins events that are parts of one: by their number, by expressions, or by what container runtimes say.
///
/// Source: fluent-plugin-concat 2.6.
public struct ConcatFilter: HoldingFilter {
  public static let name = "concat"
  public static let summary = "Joins events that are parts of one."

  /// How it is decided what belongs together.
  enum Mode: Sendable {
    case lines(Int)
    case expressions(start: Regexp?, end: Regexp?, continuous: Regexp?)
    case partial(key: [UInt8], value: [UInt8])
    case metadata(indicator: [UInt8], id: [UInt8], ordinal: [UInt8], last: [UInt8])
    case cri(logtag: [UInt8])
  }
  /// Read by every batch.
  struct Plan: Sendable {
    var mode: Mode
    var key: [UInt8]
    var separator: [UInt8]
    var identity: [UInt8]?
    /// Fields that the joined event has not.
    var removed: [[UInt8]]
    var useFirstTimestamp: Bool
    var bufferLimit: Int
    var overflow: Config.Overflow
  }

  public let gate = HoldGate()
  private let plan: Plan
  private let streams: HeldStreams
  private let log: Log
  private let cuts: QuietCount

  public init(_ config: Config, _ context: PluginContext) throws {
    let (mode, removed) = Self.mode(config)
    plan = Plan(
      mode: mode, key: Array(config.key.utf8), separator: Array(config.separator.utf8),
      identity: config.streamIdentityKey.map { Array($0.utf8) },
      removed: removed, useFirstTimestamp: config.useFirstTimestamp, bufferLimit: config.bufferLimit.bytes,
      overflow: config.overflow)
    let route: HoldEmitter.Route
    if let label = config.timeoutLabel {
      _ = context.label(label, at: context.element.entry("timeout_label")?.at ?? context.element.at, keepsTags: true)
      route = .label(label)
    } else {
      route = .error("Timeout flush: no more parts came")
    }
    let wait = Int64(config.flushInterval.nanoseconds)
    streams = HeldStreams(
      .init(
        keys: [plan.key], separator: plan.separator, wait: wait > 0 ? wait : nil, route: route,
        usesPresentTime: !config.useFirstTimestamp), context)
    log = context.log
    cuts = QuietCount()
  }

  private static func mode(_ config: Config) -> (Mode, removed: [[UInt8]]) {
    func bytes(_ names: [String]) -> [[UInt8]] { names.map { Array($0.utf8) } }
    if let lines = config.lines { return (.lines(lines), []) }
    if let key = config.partialKey {
      return (
        .partial(key: Array(key.utf8), value: Array((config.partialValue ?? "").utf8)), config.keepPartialKey ? [] : bytes([key])
      )
    }
    if config.usePartialMetadata {
      let stem =
        switch config.partialMetadataFormat {
        case .fluentd: ["partial_message", "partial_id", "partial_ordinal", "partial_last"]
        case .journald:
          ["CONTAINER_PARTIAL_MESSAGE", "CONTAINER_PARTIAL_ID", "CONTAINER_PARTIAL_ORDINAL", "CONTAINER_PARTIAL_LAST"]
        case .lowercase:
          ["container_partial_message", "container_partial_id", "container_partial_ordinal", "container_partial_last"]
        }
      let names = bytes(stem)
      // journald leaves the message field out of the last part; the id is in all of them.
      let indicator = config.partialMetadataFormat == .fluentd ? names[0] : names[1]
      return (
        .metadata(indicator: indicator, id: names[1], ordinal: names[2], last: names[3]), config.keepPartialMetadata ? [] : names
      )
    }
    if config.usePartialCRI, let logtag = config.criLogtagKey {
      return (.cri(logtag: Array(logtag.utf8)), bytes((config.keepPartialKey ? [] : [logtag]) + [config.criStreamKey]))
    }
    return (.expressions(start: config.startRegexp, end: config.endRegexp, continuous: config.continuousRegexp), [])
  }

  public func filter(_ batch: EventBatch, _ sink: inout FilterSink) throws(FilterError) -> EventBatch {
    if Self.isOwnLog(batch.tag) { return batch }
    let now = MonotonicTime.now()
    var cut = 0
    let result = streams.change(&sink) { table, sink in
      var run = ConcatRun(plan, batch.tag, now: now)
      let result = batch.rewritten { time, record, out in run.add(time, record, &table, &sink, &out) }
      cut = run.finish(&sink)
      return result
    }
    if cut > 0, let n = cuts.add(cut, now: now) {
      log.warn(
        "\(n) events went on before their end: \(HeldStreams.maximumBytes) bytes of one event, or \(HeldStreams.mostStreams) streams, are held at most"
      )
    }
    return result
  }

  /// The daemon's own log lines, which are never parts of anything.
  private static func isOwnLog(_ tag: Tag) -> Bool {
    guard tag.description.hasPrefix("fluent.") else { return false }
    return LogLevel(name: String(tag.description.dropFirst(7))) != nil
  }

  public func restore(_ held: [(key: String, state: [UInt8])]) { streams.restore(held) }
  public func run(_ emitter: HoldEmitter) async { await streams.run(emitter) }
}
