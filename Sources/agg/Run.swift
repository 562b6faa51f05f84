import AggCore
import AggEngine
import AggNet
import AggPlugins
import ArgumentParser
import Glibc

/// `agg -c FILE`: the daemon.
struct Run: AsyncParsableCommand {
  static let configuration = CommandConfiguration(abstract: "Run the daemon (the default).")

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

  mutating func run() async throws {
    signal(SIGPIPE, SIG_IGN)
    if WorkerID.current == nil, !dryRun, let loaded = try? LoadedConfig(path: config, warnings: ConfigWarnings(), workerID: nil), loaded.system.workers > 1 {
      // Every mistake is reported once, before any worker starts.
      do { try Daemon(options: self).check() } catch { exitWithError("\(error)") }
      return await (try Supervisor(options: self, loaded: loaded)).run()
    }
    await Daemon(options: self).run()
  }

  /// The level of `-v` and `-q`, nil where neither is given.
  var level: LogLevel? {
    if verbose > 0 { return verbose > 1 ? .trace : .debug }
    if quiet > 0 { return quiet > 1 ? .error : .warn }
    return nil
  }
}
