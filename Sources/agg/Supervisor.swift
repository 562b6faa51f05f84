import AggCore
import AggEngine
import AggNet
import AggPlugins
import CAgg
import Glibc
import Synchronization
import UnixSignals

/// `<system> workers N`: starts agg N times, passes signals on, and starts a worker again that ended unasked.
///
/// A worker is this program with AGG_WORKER_ID in its environment. It ends with the supervisor, even one that was killed: its end of a
/// pipe then reads the end. Listening sockets are each worker's own, on one port (SO_REUSEPORT). With one worker there is no supervisor.
final class Supervisor: Sendable {
  private struct Worker {
    var pid: pid_t
    var started: MonotonicTime
    /// Failures in a row; sets the wait before the next start.
    var failures = 0
  }
  private struct State {
    var workers: [Int: Worker] = [:]
    var wanted = 0
    var isStopping = false
    var failed = false
  }
  /// A worker that ran this long is not failing at its start.
  private static let settled: Int64 = 10_000_000_000

  private let options: Run
  private let log: Log
  private let writer: DaemonLog
  private let pool = BlockingPool()
  private let timers = TimerQueue()
  private let state = Mutex(State())
  private let ended: Waker
  /// Nothing is ever written to it.
  private let life: (read: CInt, write: CInt)
  private let rpc = Mutex<RPCServer?>(nil)

  init(options: Run, loaded: LoadedConfig) throws {
    self.options = options
    writer = DaemonLog()
    try writer.configure(loaded.logOptions(options, process: .supervisor))
    log = Log(level: options.level ?? loaded.logLevel, writer: writer)
    ended = Waker(timers)
    var ends: [CInt] = [-1, -1]
    guard pipe(&ends) == 0 else { throw StoreError("no pipe for the workers: \(String(cString: strerror(errno)))") }
    life = (ends[0], ends[1])
    _ = agg_fcntl_int(life.write, F_SETFD, FD_CLOEXEC)
    state.withLock { $0.wanted = loaded.system.workers }
  }

  func run() async {
    let signals = await UnixSignalsSequence(trapping: .sigterm, .sigint, .sighup, .sigusr1, .sigusr2, .sigwinch)
    log.info("starting agg-\(Version.number) pid=\(getpid()) workers=\(state.withLock { $0.wanted }) config=\(options.config)")
    for id in 0..<state.withLock({ $0.wanted }) { start(id) }
    if let loaded = try? LoadedConfig(path: options.config, warnings: ConfigWarnings(), workerID: nil) { await control(loaded) }
    let watch = Task {
      for await signal in signals {
        switch signal {
        case .sigusr1:
          writer.reopen()
          pass(SIGUSR1)
        case .sighup, .sigusr2: await reload()
        case .sigwinch: pass(SIGWINCH)
        default: stop(signal == .sigint ? SIGINT : SIGTERM)
        }
      }
    }
    while !state.withLock({ $0.isStopping && $0.workers.isEmpty }) { await ended.wait(until: .now().adding(nanoseconds: 1_000_000_000)) }
    watch.cancel()
    log.info("all workers have stopped")
    exit(state.withLock { $0.failed } ? 1 : 0)
  }

  private func start(_ id: Int, failures: Int = 0) {
    guard !state.withLock({ $0.isStopping || id >= $0.wanted || $0.workers[id] != nil }) else { return }
    do {
      let pid = try spawn(id)
      state.withLock { $0.workers[id] = Worker(pid: pid, started: .now(), failures: failures) }
      // The stop may have come between the check and the start.
      if state.withLock({ $0.isStopping }) { kill(pid, SIGTERM) }
      pool.run { [self] in
        var status: CInt = 0
        while waitpid(pid, &status, 0) < 0 && errno == EINTR {}
        hasEnded(id, status)
      }
    } catch {
      log.error("worker \(id) cannot be started: \(error)")
      stop(SIGTERM, failed: true)
    }
  }

  private func hasEnded(_ id: Int, _ status: CInt) {
    let (worker, isWanted) = state.withLock { s in
      defer { s.workers[id] = nil }
      return (s.workers[id], !s.isStopping && id < s.wanted)
    }
    defer { ended.wakeAll() }
    guard let worker else { return }
    let signal = status & 0x7f
    let code = (status >> 8) & 0xff
    guard isWanted else { return log.info("worker \(id) has stopped") }
    let hadSettled = MonotonicTime.now().since(worker.started) >= Self.settled
    // Status 1 is a configuration or a port that is wrong: as wrong the next time.
    if signal == 0, code == 1, !hadSettled, worker.failures == 0 {
      log.fatal("worker \(id) cannot start; see its lines above. Stopping")
      return stop(SIGTERM, failed: true)
    }
    let failures = hadSettled ? 1 : worker.failures + 1
    let wait = min(30, 1 << min(failures - 1, 5))
    log.error("worker \(id) ended unasked (\(signal != 0 ? "signal \(signal)" : "status \(code)")); it is started again in \(wait) s")
    timers.schedule(at: .now().adding(nanoseconds: Int64(wait) * 1_000_000_000)) { [self] in start(id, failures: failures) }
  }

  private func pass(_ signal: CInt) { for worker in state.withLock({ $0.workers.values.map(\.pid) }) { kill(worker, signal) } }

  private func stop(_ signal: CInt, failed: Bool = false) {
    state.withLock {
      $0.isStopping = true
      if failed { $0.failed = true }
    }
    log.info("stopping all workers")
    pass(signal)
    ended.wakeAll()
  }

  /// The control interface, from the first time on that the configuration has one.
  private func control(_ loaded: LoadedConfig) async {
    if rpc.withLock({ $0 }) == nil {
      if loaded.system.rpcEndpoint == nil { return }
      // The workers flush and stop by themselves; in between lies the way of the first signal.
      let server = RPCServer(on: Network(threads: 1), log: { self.log }) {
        self.pass(SIGUSR1)
        usleep(100_000)
      }
      rpc.withLock { $0 = server }
    }
    do { try await rpc.withLock { $0 }?.follow(loaded.system, dump: SecretMask(builtins).text(loaded.root)) } catch {
      log.error("the RPC server cannot listen: \(error)")
    }
  }

  /// Each worker checks and takes the new file itself; here only their number can change.
  private func reload() async {
    do {
      let loaded = try LoadedConfig(path: options.config, warnings: ConfigWarnings(), workerID: nil)
      await control(loaded)
      let wanted = max(1, loaded.system.workers)
      let (before, surplus) = state.withLock { s in
        defer { s.wanted = wanted }
        return (s.wanted, s.workers.filter { $0.key >= wanted }.map(\.value.pid))
      }
      for pid in surplus { kill(pid, SIGTERM) }
      pass(SIGUSR2)
      for id in min(before, wanted)..<wanted { start(id) }
    } catch {
      for line in "\(error)".split(separator: "\n") { log.error("\(line)") }
      log.error("the new configuration was not taken; the old one goes on running")
    }
  }

  /// This program again, with the same arguments, as worker `id`.
  private func spawn(_ id: Int) throws -> pid_t {
    var arguments: [UnsafeMutablePointer<CChar>?] = CommandLine.arguments.map { strdup($0) } + [nil]
    var variables: [UnsafeMutablePointer<CChar>?] = ConfigEnvironment.current().variables
      .filter { $0.key != WorkerID.variable && $0.key != WorkerID.lifeVariable }.map { strdup("\($0.key)=\($0.value)") }
      + [strdup("\(WorkerID.variable)=\(id)"), strdup("\(WorkerID.lifeVariable)=\(life.read)"), nil]
    defer { for text in arguments + variables { free(text) } }
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    var none = sigset_t()
    sigemptyset(&none)
    var all = sigset_t()
    sigfillset(&all)
    posix_spawnattr_setsigmask(&attributes, &none)
    posix_spawnattr_setsigdefault(&attributes, &all)
    posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))
    var pid: pid_t = 0
    let result = posix_spawn(&pid, "/proc/self/exe", nil, &attributes, &arguments, &variables)
    guard result == 0 else { throw StoreError(String(cString: strerror(result))) }
    return pid
  }
}

/// Which worker this process is; nil in a supervisor, or where there is only one.
enum WorkerID {
  static let variable = "AGG_WORKER_ID"
  static let current: Int? = getenv(variable).flatMap { Int(String(cString: $0)) }.flatMap { $0 >= 0 ? $0 : nil }

  static let lifeVariable = "AGG_SUPERVISOR_PIPE"

  /// Asks this worker to stop when its supervisor is gone.
  static func followSupervisor(on pool: BlockingPool) {
    guard current != nil, let pipe = getenv(lifeVariable).flatMap({ CInt(String(cString: $0)) }), pipe > 2 else { return }
    // Commands that plugins run must not hold it.
    _ = agg_fcntl_int(pipe, F_SETFD, FD_CLOEXEC)
    pool.run {
      var byte: UInt8 = 0
      while read(pipe, &byte, 1) < 0 && errno == EINTR {}
      kill(getpid(), SIGTERM)
    }
  }
}
