import AggCore
import AggPlugins
import ArgumentParser
import Glibc

/// `agg wrap -- COMMAND`: runs a batch job and reports to Mackerel when it fails. The job comes first: it runs, and its status is agg's,
/// whatever is missing for the report.
struct MackerelWrap: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "wrap", abstract: "Run a command; report a check to Mackerel when it fails.")
  @OptionGroup var connection: MackerelConnection
  @Option(
    name: [.customShort("n"), .customLong("name"), .customLong("name", withSingleDash: true)],
    help: "Name of the check; default: made from the command.")
  var name: String?
  @Flag(
    name: [.customShort("d"), .customLong("detail"), .customLong("detail", withSingleDash: true)],
    help: "Report what the command printed.")
  var detail = false
  @Option(name: [.customShort("N"), .customLong("note"), .customLong("note", withSingleDash: true)], help: "Note on the job.")
  var note = ""
  @Option(
    name: [.customShort("H"), .customLong("host"), .customLong("host", withSingleDash: true)],
    help: "Id of the host; default: this machine.")
  var host: String?
  @Flag(
    name: [.customShort("w"), .customLong("warning"), .customLong("warning", withSingleDash: true)],
    help: "WARNING instead of CRITICAL.")
  var warning = false
  @Flag(
    name: [.customShort("a"), .customLong("auto-close"), .customLong("auto-close", withSingleDash: true)],
    help: "Report success after a failure, which closes the alert.")
  var autoClose = false
  @Option(
    name: [.customShort("I"), .customLong("notification-interval"), .customLong("notification-interval", withSingleDash: true)],
    help: "Tell an alert again after this time, 10m at least; 0: never.", transform: MackerelWrap.time)
  var notificationInterval = TimeSpan(nanoseconds: 0)
  @Option(
    name: [.customShort("t"), .customLong("timeout"), .customLong("timeout", withSingleDash: true)],
    help: "End the command and its children after this time.", transform: MackerelWrap.time)
  var timeout: TimeSpan?
  @Argument(parsing: .captureForPassthrough, help: "The command and its arguments.")
  var command: [String] = []

  @Sendable private static func time(_ text: String) throws -> TimeSpan {
    do throws(ConfigValueError) { return try TimeSpan(configText: text, strict: true) } catch {
      throw ValidationError(error.message)
    }
  }

  mutating func run() async throws {
    if command.first == "--" { command.removeFirst() }
    if command.isEmpty { exitWithError("no command: agg wrap [options] -- COMMAND") }
    let result = WrappedCommand.run(command, timeout: timeout)
    let report = WrapReport(
      name: name ?? WrapReport.name(of: command), command: command, note: note, detail: detail, result: result)
    await tell(report)
    if !result.isSuccess {
      printError(result.message)
      Glibc.exit(result.code)
    }
  }

  private func tell(_ report: WrapReport) async {
    let memory = autoClose ? WrapMemory(report.name) : nil
    defer { memory?.store(report.result.isSuccess) }
    if report.result.isSuccess, memory?.lastWasSuccess ?? true { return }
    let settings = connection.settings()
    guard let key = MackerelConnection.environment("MACKEREL_APIKEY") ?? settings.key, !key.isEmpty,
      let id = host ?? MackerelConnection.ownID(settings)
    else {
      return printError(
        "the report was not sent: it needs a key of the API (MACKEREL_APIKEY, --conf) and a host (--host)\n\(report.message)")
    }
    let minutes = notificationInterval.nanoseconds == 0 ? nil : max(10, Int64(notificationInterval.nanoseconds / 60_000_000_000))
    let body = report.body(host: id, isWarning: warning, notificationMinutes: minutes)
    await connection.with { client, _ in
      for attempt in 1...3 {
        do {
          try await client.call("POST", "/monitoring/checks/report", body)
          return
        } catch let failure as MackerelFailure {
          guard attempt < 3, !failure.isRefusal else {
            return printError("the report was not sent: \(failure)\n\(report.message)")
          }
          try await Task.sleep(for: .seconds(3))
        }
      }
    }
  }
}
