public import AggCore

/// Runs a check plugin at intervals; each report is an event.
public struct MackerelCheckInput: Input {
  public typealias Config = CheckInputConfig
  public static let name = "mackerel_check"
  public static let summary = "Reports of a check plugin (Mackerel, Nagios, Sensu)."

  public static let sharesWorkers = false
  public var tags: SourceTags { .tag(config.tag) }

  private let config: Config
  private let context: PluginContext
  private let command: PluginCommand
  private let action: PluginCommand?

  public init(_ config: Config, _ context: PluginContext) throws {
    self.config = config
    self.context = context
    command = try PluginCommand(config.command, user: config.user, environment: config.env, timeout: config.timeout)
    let section = context.element.child("action")
    do throws(ConfigValueError) {
      action = try config.action.map { (action) throws(ConfigValueError) in
        try PluginCommand(action.command, user: action.user, environment: action.env, timeout: action.timeout)
      }
    } catch { throw ConfigErrors(at: section?.at ?? context.element.at, error.message) }
  }

  public func run(_ emitter: Emitter) async throws {
    let services = try CommandServices(context)
    let store = PluginStore(context: context, services: services)
    emitter.ready()
    let waker = Waker(services.timers)
    var history = CheckHistory(keepsAlertsOpen: config.preventAlertAutoClose)
    let actions = CheckActions(action, services, context.log)
    var next = MonotonicTime.now()
    while !Task.isCancelled {
      await check(&history, actions, services, store, emitter)
      next = next.adding(config.checkInterval.duration)
      let now = MonotonicTime.now()
      // A check that took long, or a machine that slept: on with the next whole interval.
      while next <= now { next = next.adding(config.checkInterval.duration) }
      while MonotonicTime.now() < next, !Task.isCancelled { await waker.wait(until: next) }
    }
    await actions.end()
  }

  private func check(
    _ history: inout CheckHistory, _ actions: CheckActions, _ services: CommandServices, _ store: PluginStore, _ emitter: Emitter
  ) async {
    let begun = EventTime.now()
    let run = await command.run(services, context.log)
    guard var report = report(run) else { return }
    report.previous = history.status
    report.notificationInterval = config.notificationMinutes
    report.maxCheckAttempts = config.maxCheckAttempts.map { Int64($0) }
    report.memo = config.memo
    report.host = config.customIdentifier
    let isReported = history.take(report)
    actions.run(report)
    guard isReported else { return }
    var builder = BatchBuilder(capacity: 2048)
    builder.begin()
    report.encode(into: &builder.writer)
    builder.commit(time: EventTime(seconds: begun.seconds))
    await store.emit(builder.finish(tag: Tag(config.tag)), emitter)
  }

  /// Nil when the daemon is stopping: the check says nothing then.
  private func report(_ run: PluginRun) -> CheckReport? {
    func unknown(_ message: String) -> CheckReport { CheckReport(name: config.name, status: .unknown, message: message) }
    switch run.outcome {
    case .ended(.exited(let code)):
      let text = String(decoding: run.output.prefix(8 * CheckReport.messageLimit), as: UTF8.self)
      return CheckReport(name: config.name, status: .init(exitCode: code), message: text)
    case .ended(let ending): return unknown("the check \(ending)")
    case .timedOut: return unknown("command timed out")
    case .tooLong: return unknown("the check printed more than \(PluginCommand.readBytes >> 20) MiB and was ended")
    case .notStarted(let why): return unknown(why)
    case .cancelled: return nil
    }
  }
}
