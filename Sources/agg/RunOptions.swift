import AggCore
import Glibc

/// What the daemon is started with.
struct RunOptions: Sendable {
  var config: String
  /// Log file; nil: standard error.
  var log: String?
  var logRotateAge: String?
  var logRotateSize: Int?
  /// Of agg's own log, where the command line says it.
  var level: LogLevel?
  var dryRun = false
  var withoutSource = false
  var withSourceOnly = false
  var pidFile: String?

  init(config: String) { self.config = config }

  func run() async throws {
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
}
