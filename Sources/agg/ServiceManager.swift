import AggCore
import AggNet
import CAgg
import Glibc
import Synchronization

/// systemd, or whoever speaks its protocols: is told how the daemon is (`sd_notify`), and passes sockets (`LISTEN_FDS`). Without one, nothing.
final class ServiceManager: Sendable {
  /// A datagram socket connected to NOTIFY_SOCKET, -1 without.
  private let socket: CInt
  /// Half of WATCHDOG_USEC in nanoseconds; nil where nobody watches this process.
  private let watchdog: Int64?

  /// Workers say nothing: their supervisor speaks for them.
  static let current = ServiceManager(isWorker: WorkerID.current != nil)

  private init(isWorker: Bool) {
    guard !isWorker, let text = getenv("NOTIFY_SOCKET") else {
      (socket, watchdog) = (-1, nil)
      return
    }
    var name = Array(String(cString: text).utf8)
    // `@` stands for the zero byte of an abstract name.
    if name.first == 0x40 { name[0] = 0 }
    socket = name.isEmpty ? -1 : agg_unix_connect(CInt(SOCK_DGRAM.rawValue), name, name.count)
    let isForUs = Self.number("WATCHDOG_PID").map { $0 == Int64(getpid()) } ?? true
    watchdog = isForUs ? Self.number("WATCHDOG_USEC").flatMap { $0 > 0 && $0 < 1 << 50 ? $0 * 1000 / 2 : nil } : nil
  }

  private static func number(_ name: String) -> Int64? { getenv(name).flatMap { Int64(String(cString: $0)) } }

  /// How often a worker tells its supervisor that it lives: a quarter of the watchdog's time.
  static let workerPeriod: Int64? = number("WATCHDOG_USEC").flatMap { $0 > 0 && $0 < 1 << 50 ? $0 * 1000 / 4 : nil }
  /// A worker that has said nothing for this long, in nanoseconds, is not alive.
  static var workerSilence: Int64 { (workerPeriod ?? 0) * 4 }

  private func send(_ lines: [String]) {
    guard socket >= 0 else { return }
    let text = Array(lines.joined(separator: "\n").utf8)
    _ = agg_message_send(socket, text, text.count, -1)
  }

  func isReady(_ status: String) { send(["READY=1", "STATUS=\(status)"]) }
  func isReloading() { send(["RELOADING=1", "MONOTONIC_USEC=\(MonotonicTime.now().nanoseconds / 1000)", "STATUS=Reloading"]) }
  func isStopping() { send(["STOPPING=1", "STATUS=Stopping"]) }
  func status(_ text: String) { send(["STATUS=\(text)"]) }
  /// Another process is the service from here on.
  func isNow(_ pid: pid_t) { send(["MAINPID=\(pid)", "READY=1"]) }
  /// A process that takes over is told of nothing before it is the service.
  func isAlive() { send(["WATCHDOG=1"]) }

  /// Says at half of the watchdog's time that the daemon lives, when `probe` has come back: it goes through what the daemon lives by.
  func watch(
    _ timers: TimerQueue, _ pool: BlockingPool, _ log: @escaping @Sendable () -> Log,
    _ probe: @escaping @Sendable () async -> Void
  ) {
    guard let watchdog, socket >= 0 else { return }
    log().info("the service manager's watchdog is served every \(Double(watchdog) / 1e9) s")
    round(watchdog, timers, pool, Mark(), log, probe)
  }

  /// Whether the last probe has come back.
  private final class Mark: Sendable {
    let isOut = Atomic(false)
  }

  private func round(
    _ period: Int64, _ timers: TimerQueue, _ pool: BlockingPool, _ mark: Mark, _ log: @escaping @Sendable () -> Log,
    _ probe: @escaping @Sendable () async -> Void
  ) {
    timers.schedule(at: .now().adding(nanoseconds: period)) { [self] in
      if mark.isOut.exchange(true, ordering: .acquiringAndReleasing) {
        log().error("the daemon does not answer its own question whether it lives; the watchdog gets no sign")
      } else {
        Task(executorPreference: pool) {
          await probe()
          mark.isOut.store(false, ordering: .releasing)
          self.isAlive()
        }
      }
      round(period, timers, pool, mark, log, probe)
    }
  }

  // MARK: Sockets

  /// Gives the sockets that were passed to `network`, and forgets the variables so that children do not take them for theirs.
  static func adoptSockets(_ network: Network, _ log: Log) {
    guard let count = number("LISTEN_FDS"), count > 0, count < 4096 else { return }
    // A worker's are its supervisor's, whose number they carry.
    let isForUs = WorkerID.current != nil || number("LISTEN_PID") == Int64(getpid())
    let names =
      getenv("LISTEN_FDNAMES").map {
        String(cString: $0).split(separator: ":", omittingEmptySubsequences: false).map(String.init)
      } ?? []
    forgetSockets()
    guard isForUs else { return }
    for index in 0..<Int(count) where !network.adoptActivated(CInt(3 + index)) {
      let name = index < names.count ? " (\(names[index]))" : ""
      log.warn(
        "descriptor \(3 + index)\(name) from the service manager is no listening or datagram socket of a kind that agg reads; it is left alone"
      )
    }
  }
  static func forgetSockets() { for name in ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"] { unsetenv(name) } }
}
