import AggCore
import AggEngine
import AggNet
import CAgg
import Glibc
import Synchronization

/// `agg upgrade`, in the process that is to be followed: starts the new program, and says how that went.
///
/// The new process reads its configuration, then asks this one for its sockets (`take-over`) and gets them when the buffers are let go.
/// Until it says that it runs, this one can go on.
final class Successor: Sendable {
  private struct State {
    var isBusy = false
    var child: pid_t?
    /// Who asked for it.
    var client: ControlConnection?
  }
  private let state = Mutex(State())
  private let pool: BlockingPool
  private let log: @Sendable () -> Log

  /// In the environment of a process that takes over: whose place.
  static let variable = "AGG_TAKE_OVER"
  /// For each step of the other process.
  static let patience = 120

  init(on pool: BlockingPool, _ log: @escaping @Sendable () -> Log) {
    self.pool = pool
    self.log = log
  }

  /// The process number that this one is to take over from; the first call has it.
  static func predecessor() -> pid_t? {
    defer { unsetenv(variable) }
    return getenv(variable).flatMap { pid_t(String(cString: $0)) }.flatMap { $0 > 1 ? $0 : nil }
  }

  /// The file of this program as it is now on disk.
  private static var program: String? {
    var bytes = [UInt8](repeating: 0, count: 4096)
    let count = bytes.withUnsafeMutableBytes { bytes in bytes.baseAddress.map { readlink("/proc/self/exe", $0, bytes.count) } ?? 0
    }
    guard count > 0 else { return nil }
    let path = String(decoding: bytes[..<count], as: UTF8.self)
    return path.hasSuffix(" (deleted)") ? String(path.dropLast(10)) : path
  }

  /// One request of `agg upgrade`: answers `failed REASON` unless this process ends for a new one; then that one has answered.
  func upgrade(_ requested: String?, _ connection: ControlConnection) async {
    guard getpid() != 1 else {
      return reply(connection, "this agg is process 1, with which everything here would end; start a new container instead")
    }
    guard let program = requested ?? Self.program, access(program, X_OK) == 0 else {
      return reply(connection, "\(requested ?? "the program") cannot be executed")
    }
    let isFree = state.withLock { s in
      defer { s.isBusy = true }
      return !s.isBusy
    }
    guard isFree else { return connection.refuse("another upgrade is under way") }
    defer {
      state.withLock {
        $0.isBusy = false
        $0.child = nil
        $0.client = nil
      }
    }
    log().info("upgrade: starting \(program)")
    let pid: pid_t
    do {
      pid = try ProcessStart.spawn(
        program, adding: [Self.variable: "\(getpid())"], removing: ["WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"])
    } catch { return reply(connection, "\(program) cannot be started: \(error)") }
    state.withLock {
      $0.child = pid
      $0.client = connection
    }
    connection.send("started \(pid)")
    // Ends when the child ends; a child that took over outlives this process.
    let status = await withCheckedContinuation { continuation in
      pool.run {
        var status: CInt = 0
        while waitpid(pid, &status, 0) < 0 && errno == EINTR {}
        continuation.resume(returning: status)
      }
    }
    let signal = status & 0x7f
    reply(
      connection,
      "the new process \(pid) ended (\(signal != 0 ? "signal \(signal)" : "status \((status >> 8) & 0xff)")); its lines in the log say why. The old one goes on"
    )
  }

  /// The other process runs: whoever asked is told so.
  func finish(_ pid: pid_t) { state.withLock { $0.client }?.send("upgraded \(pid)") }

  /// This process is asked to stop: so is the one that it has started.
  func stopChild() { if let child = state.withLock({ $0.child }) { kill(child, SIGTERM) } }

  /// A child that does not get on is ended, so that nobody else writes to the buffers.
  static func end(_ pid: pid_t) {
    kill(pid, SIGKILL)
    // Its parent (this process, or its own supervisor) reaps it; here only its end matters.
    for _ in 0..<1000 where kill(pid, 0) == 0 && !isZombie(pid) { usleep(10_000) }
  }
  private static func isZombie(_ pid: pid_t) -> Bool {
    guard let block = try? File.contents("/proc/\(pid)/stat", limit: 4096) else { return true }
    let text = block.string
    return text[(text.lastIndex(of: ")") ?? text.startIndex)...].dropFirst(2).first == "Z"
  }

  private func reply(_ connection: ControlConnection, _ reason: String) {
    log().error("upgrade: \(reason)")
    connection.refuse(reason)
  }
}

extension ControlConnection {
  func refuse(_ reason: String) { send("failed \(reason)") }
}

/// Starts a program with this process's arguments and environment.
///
/// What it inherits without being meant to it closes itself, before anything else: Sources/CAgg/inherited.c.
enum ProcessStart {
  /// Throws `StoreError`. The child has the usual signal handling.
  static func spawn(_ program: String, adding: [String: String], removing: Set<String> = []) throws -> pid_t {
    var arguments: [UnsafeMutablePointer<CChar>?] = CommandLine.arguments.map { strdup($0) } + [nil]
    var variables: [UnsafeMutablePointer<CChar>?] =
      ConfigEnvironment.current().variables.filter { adding[$0.key] == nil && !removing.contains($0.key) }.map {
        strdup("\($0.key)=\($0.value)")
      }
      + adding.map { strdup("\($0.key)=\($0.value)") } + [nil]
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
    let result = posix_spawn(&pid, program, nil, &attributes, &arguments, &variables)
    guard result == 0 else { throw StoreError(String(cString: strerror(result))) }
    return pid
  }
}
