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

  @Option(name: .customLong("pid-file"), help: ArgumentHelp("File for the process number.", valueName: "file"))
  var pidFile: String?

  mutating func run() async throws {
    signal(SIGPIPE, SIG_IGN)
    Self.raiseDescriptorLimit()
    if WorkerID.current == nil, !dryRun, let loaded = try? LoadedConfig(path: config, warnings: ConfigWarnings(), workerID: nil), loaded.system.workers > 1 {
      // Every mistake is reported once, before any worker starts.
      do { try Daemon(options: self).check() } catch { exitWithError("\(error)") }
      return await (try Supervisor(options: self, loaded: loaded)).run()
    }
    await Daemon(options: self).run()
  }

  var processFile: ProcessFile? { WorkerID.current == nil ? pidFile.map { ProcessFile(path: $0) } : nil }

  /// As many open files as this process may have: shells and service managers hand out few for programs that use select.
  private static func raiseDescriptorLimit() {
    var limit = rlimit()
    guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0, limit.rlim_cur < limit.rlim_max else { return }
    limit.rlim_cur = min(limit.rlim_max, max(limit.rlim_cur, 1 << 20))
    _ = setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
  }

  /// The level of `-v` and `-q`, nil where neither is given.
  var level: LogLevel? {
    if verbose > 0 { return verbose > 1 ? .trace : .debug }
    if quiet > 0 { return quiet > 1 ? .error : .warn }
    return nil
  }
}
