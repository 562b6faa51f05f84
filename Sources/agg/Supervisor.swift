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
  struct Worker {
    var pid: pid_t
    var started: MonotonicTime
    /// Failures in a row; sets the wait before the next start.
    var failures = 0
  }
  struct State {
    var workers: [Int: Worker] = [:]
    var wanted = 0
    var isStopping = false
    var failed = false
    /// Another supervisor's workers take over from ours, which end then.
    var isHandingOver = false
    /// Workers that said that they run, and when each last said that it lives.
    var signs: [Int: MonotonicTime] = [:]
    var isReady = false
  }
  /// A worker that ran this long is not failing at its start.
  private static let settled: Int64 = 10_000_000_000

  let options: RunOptions
  let log: Log
  private let writer: DaemonLog
  let pool = BlockingPool()
  let timers = TimerQueue()
  let state = Mutex(State())
  let ended: Waker
  /// Nothing is ever written to it.
  private let life: (read: CInt, write: CInt)
  /// Where the workers write `WorkerID.Sign`s.
  let signs: (read: CInt, write: CInt)
  /// The service manager's sockets, for the workers, which share them.
  private let sockets: [String: String]?
  private let rpc = Mutex<RPCServer?>(nil)
  let control = Mutex<ControlSocket?>(nil)
  let successor: Successor
  let service = ServiceManager.current
  /// Of the supervisor before this one, while that one's workers are followed.
  let before = Mutex<(connection: ControlConnection, workers: [Int: pid_t])?>(nil)

  init(options: RunOptions, loaded: LoadedConfig) throws {
    self.options = options
    writer = DaemonLog()
    try writer.configure(loaded.logOptions(options, process: .supervisor))
    log = Log(level: options.level ?? loaded.logLevel, writer: writer)
    ended = Waker(timers)
    var ends: [CInt] = [-1, -1]
    guard pipe(&ends) == 0 else { throw StoreError("no pipe for the workers: \(String(cString: strerror(errno)))") }
    life = (ends[0], ends[1])
    _ = agg_fcntl_int(life.write, F_SETFD, FD_CLOEXEC)
    guard pipe(&ends) == 0 else { throw StoreError("no pipe for the workers: \(String(cString: strerror(errno)))") }
    signs = (ends[0], ends[1])
    _ = agg_fcntl_int(signs.read, F_SETFD, FD_CLOEXEC)
    let isPassed = getenv("LISTEN_PID").map { String(cString: $0) } == "\(getpid())"
    let (count, names) = (getenv("LISTEN_FDS").map { String(cString: $0) }, getenv("LISTEN_FDNAMES").map { String(cString: $0) })
    sockets = isPassed ? count.map { ["LISTEN_FDS": $0, "LISTEN_FDNAMES": names ?? ""] } : nil
    ServiceManager.forgetSockets()
    let log = log
    successor = Successor(on: pool) { log }
    state.withLock { $0.wanted = loaded.system.workers }
  }

  func run() async {
    let signals = await UnixSignalsSequence(trapping: .sigterm, .sigint, .sighup, .sigusr1, .sigusr2, .sigwinch)
    log.info("starting agg-\(Version.number) pid=\(getpid()) workers=\(state.withLock { $0.wanted }) config=\(options.config)")
    pool.run { [self] in readSigns() }
    if let predecessor = Successor.predecessor() { await follow(predecessor) }
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
    options.processFile?.remove()
    log.info("all workers have stopped")
    exit(state.withLock { $0.failed } ? 1 : 0)
  }

  func start(_ id: Int, failures: Int = 0) {
    guard !state.withLock({ $0.isStopping || id >= $0.wanted || $0.workers[id] != nil }) else { return }
    do {
      let pid = try spawn(id, from: before.withLock { $0?.workers[id] })
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
      s.signs[id] = nil
      return (s.workers[id], !s.isStopping && !s.isHandingOver && id < s.wanted)
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

  func pass(_ signal: CInt) { for worker in state.withLock({ $0.workers.values.map(\.pid) }) { kill(worker, signal) } }

  private func stop(_ signal: CInt, failed: Bool = false) {
    state.withLock {
      $0.isStopping = true
      if failed { $0.failed = true }
    }
    log.info("stopping all workers")
    service.isStopping()
    successor.stopChild()
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
    do { try await rpc.withLock { $0 }?.follow(loaded.system, dump: { SecretMask(builtins).text(loaded.root) }) } catch {
      log.error("the RPC server cannot listen: \(error)")
    }
  }

  /// Each worker checks and takes the new file itself; here only their number can change.
  private func reload() async {
    service.isReloading()
    defer { service.isReady("Running") }
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

  /// This program again, with the same arguments, as worker `id`; `from` is the process whose place it takes.
  private func spawn(_ id: Int, from predecessor: pid_t?) throws -> pid_t {
    var variables = [WorkerID.variable: "\(id)", WorkerID.lifeVariable: "\(life.read)", WorkerID.signVariable: "\(signs.write)"]
    if let sockets { variables.merge(sockets) { $1 } }
    if let predecessor { variables[Successor.variable] = "\(predecessor)" }
    return try ProcessStart.spawn("/proc/self/exe", adding: variables, removing: [Successor.variable])
  }
}

/// Which worker this process is; nil in a supervisor, or where there is only one.
enum WorkerID {
  /// What a worker tells its supervisor: two 32-bit numbers, its own and this.
  enum Sign: UInt32 { case runs = 1, lives = 2 }
  static let variable = "AGG_WORKER_ID"
  static let current: Int? = getenv(variable).flatMap { Int(String(cString: $0)) }.flatMap { $0 >= 0 ? $0 : nil }

  static let lifeVariable = "AGG_SUPERVISOR_PIPE"

  static let signVariable = "AGG_SUPERVISOR_SIGNS"

  private static let signs: CInt? = {
    guard current != nil, let end = getenv(signVariable).flatMap({ CInt(String(cString: $0)) }), end > 2 else { return nil }
    _ = agg_fcntl_int(end, F_SETFD, FD_CLOEXEC)
    return end
  }()
  static func tellSupervisor(_ sign: Sign) {
    guard let signs, let current else { return }
    let words = [UInt32(truncatingIfNeeded: current), sign.rawValue]
    _ = words.withUnsafeBytes { Glibc.write(signs, $0.baseAddress, $0.count) }
  }

  /// Says again and again that this worker lives, for the watchdog that its supervisor serves.
  static func keepTelling(_ timers: TimerQueue, _ pool: BlockingPool, _ probe: @escaping @Sendable () async -> Void) {
    guard signs != nil, let period = ServiceManager.workerPeriod else { return }
    timers.schedule(at: .now().adding(nanoseconds: period)) {
      Task(executorPreference: pool) {
        await probe()
        tellSupervisor(.lives)
        keepTelling(timers, pool, probe)
      }
    }
  }

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
