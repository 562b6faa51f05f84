import ArgumentParser

/// `agg -c FILE`: the daemon.
struct Run: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "run", abstract: "Run the daemon (the default).")

  @Option(name: [.short, .long], help: "Configuration file.")
  var config = "/etc/agg/agg.conf"
  @Option(name: [.customShort("o"), .long], help: ArgumentHelp("Log file (default: standard error).", valueName: "file"))
  var log: String?
  @Option(name: .customLong("log-rotate-age"), help: "Old log files that are kept, or daily, weekly, monthly.")
  var logRotateAge: String?
  @Option(name: .customLong("log-rotate-size"), help: "Size in bytes at which the log is rotated.")
  var logRotateSize: Int?
  @Flag(name: .shortAndLong, help: "More of agg's own log: -v debug, -vv trace.")
  var verbose: Int
  @Flag(name: .shortAndLong, help: "Less of it: -q warn, -qq error.")
  var quiet: Int
  @Flag(name: .customLong("dry-run"), help: "Read the configuration, report, and end.")
  var dryRun = false
  @Flag(name: .customLong("without-source"), help: "Leave the sources out: buffers are emptied and nothing comes in.")
  var withoutSource = false
  @Flag(name: .customLong("with-source-only"), help: "Run the sources alone and keep their events; SIGWINCH lets them on.")
  var withSourceOnly = false

  @Option(name: .customLong("pid-file"), help: ArgumentHelp("File for the process number.", valueName: "file"))
  var pidFile: String?

  mutating func run() async throws {
    var options = RunOptions(config: config)
    options.log = log
    options.logRotateAge = logRotateAge
    options.logRotateSize = logRotateSize
    options.level = verbose > 0 ? verbose > 1 ? .trace : .debug : quiet > 0 ? quiet > 1 ? .error : .warn : nil
    options.dryRun = dryRun
    options.withoutSource = withoutSource
    options.withSourceOnly = withSourceOnly
    options.pidFile = pidFile
    try await options.run()
  }
}
