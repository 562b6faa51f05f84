public import AggCore
import Synchronization

/// Counts events or bytes and logs the sum each unit of time in which there were any.
public final class SimpleFlowCounter: Sendable {
  public struct Config: Configurable {
    public enum Indicator: String, ConfigEnum { case num, byte }
    public enum Unit: String, ConfigEnum { case second, minute, hour, day }
    var indicator = Indicator.num
    var unit = Unit.second
    var comment: String?
    public init() {}
    public static let parameters: [Parameter<Self>] = [
      .optional("indicator", \.indicator, "num: events; byte: bytes of the records as MessagePack"),
      .optional("unit", \.unit, "How often the count is logged"),
      .optional("comment", \.comment, "Text that is logged with it"),
    ]
  }
  private struct State {
    var count = 0
    var isScheduled = false
  }
  private let state = Mutex(State())
  private let config: Config
  private let form: String
  private let timers: TimerQueue
  private let log: Log

  init(_ config: Config, _ form: String, _ context: PluginContext) {
    self.config = config
    self.form = form
    timers = context.shared(TimerQueue.self) ?? TimerQueue()
    log = context.log
  }

  func add(_ batch: EventBatch) {
    var n = batch.count
    if config.indicator == .byte {
      n = 0
      batch.forEachEvent { _, record in n += record.bytes.count }
    }
    let begins = state.withLock { state in
      state.count &+= n
      defer { state.isScheduled = true }
      return !state.isScheduled
    }
    // Nothing is logged where nothing came, so the time begins with the first event.
    if begins { timers.schedule(at: .now().adding(nanoseconds: seconds * 1_000_000_000)) { [self] in report() } }
  }

  /// Until cancelled, which comes when nothing is counted any more: the rest of the last unit is logged then.
  func run() async {
    while !Task.isCancelled { try? await Task.sleep(for: .seconds(3600)) }
    if state.withLock({ $0.count }) > 0 { report() }
  }

  private func report() {
    let count = state.withLock { state in
      defer { state = State() }
      return state.count
    }
    let comment = config.comment.map { "\tcomment:\($0)" } ?? ""
    log.info(
      "plugin:\(form)_flowcounter_simple\tcount:\(count)\tindicator:\(config.indicator.rawValue)\tunit:\(config.unit.rawValue)\(comment)"
    )
  }

  private var seconds: Int64 {
    switch config.unit {
    case .second: 1
    case .minute: 60
    case .hour: 3600
    case .day: 86400
    }
  }
}
