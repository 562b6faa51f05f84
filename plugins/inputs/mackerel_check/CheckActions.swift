import AggCore
import Synchronization

/// Runs a check's action beside the checks, one at a time; one that is still running when the next is due is not doubled.
final class CheckActions: Sendable {
  private let command: PluginCommand?
  private let services: CommandServices
  private let log: Log
  private let task = Mutex<(task: Task<Void, Never>, isDone: Flag)?>(nil)

  init(_ command: PluginCommand?, _ services: CommandServices, _ log: Log) {
    self.command = command
    self.services = services
    self.log = log
  }

  func run(_ report: CheckReport) {
    guard let command else { return }
    let isDone = Flag()
    let variables = [
      "MACKEREL_STATUS": report.status.rawValue, "MACKEREL_PREVIOUS_STATUS": report.previous?.rawValue ?? "",
      // A variable ends at a zero byte.
      "MACKEREL_CHECK_MESSAGE": String(report.message.unicodeScalars.filter { $0 != "\0" }.map { Character($0) }),
    ]
    let isBusy = task.withLock { kept in
      if let kept, !kept.isDone.isSet { return true }
      // Cancelled by `end`, which the check's own end calls.
      let task = Task(executorPreference: services.pool) { [self] in
        let run = await command.run(services, log, variables)
        tell(run.outcome)
        isDone.set()
      }
      kept = (task, isDone)
      return false
    }
    if isBusy { log.warn("the action of the last check still runs; it was left out for this one") }
  }

  /// What still runs is ended.
  func end() async {
    guard let last = task.withLock({ $0?.task }) else { return }
    last.cancel()
    await last.value
  }

  private func tell(_ outcome: PluginRun.Outcome) {
    switch outcome {
    case .ended(let ending): if !ending.isSuccess { log.warn("the action \(ending)") }
    case .timedOut: log.warn("the action took longer than its timeout and was ended")
    case .tooLong: log.warn("the action printed more than \(PluginCommand.readBytes >> 20) MiB and was ended")
    case .notStarted(let why): log.error("the action: \(why)")
    case .cancelled: break
    }
  }
}
