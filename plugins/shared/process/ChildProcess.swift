import AggCore
import CAgg
@preconcurrency import Glibc  // environ
import Synchronization

/// How a command ended.
enum ProcessEnding: Sendable, Equatable, CustomStringConvertible {
  case exited(Int32)
  case signalled(Int32)
  var isSuccess: Bool { self == .exited(0) }
  var description: String {
    switch self {
    case .exited(let code): "exited with status \(code)"
    case .signalled(let signal): "was ended by signal \(signal)"
    }
  }
}

struct ProcessError: Error, Sendable, CustomStringConvertible {
  var description: String
}

/// One command under `/bin/sh -c`, the leader of a process group of its own.
///
/// Life: `start`, then `supervise` around whatever reads and writes; it returns when the command has ended and is reaped.
/// Reading and writing block, on pool threads only; one task reads, another may write. Descriptors 0 to 2 are
/// inherited (all others are closed), and signals are as a shell expects them.
final class ChildProcess: Sendable {
  /// Where standard error goes.
  enum Errors: Sendable { case logged, merged }

  let pid: pid_t
  let input: Int32
  let output: Int32
  let errors: Int32
  /// A byte arrives when the command ends or reading has to stop.
  let wakeRead: Int32
  private let wakeWrite: Int32
  private let timers: TimerQueue
  private let pool: BlockingPool

  struct State {
    var hasExited = false
    /// Reading ends, whoever still holds the pipes.
    var isAborted = false
    var isReaped = false
    var isStopping = false
    var inputIsClosed: Bool
    var isWriting = false
    var waiters: [CheckedContinuation<Void, Never>] = []
  }
  let state: Mutex<State>

  /// Starts the command. `input` and `output` say whether there is a pipe; /dev/null stands in where there is none.
  /// `environment` is set beside, or in place of, what this process has.
  static func start(
    _ command: String, input: Bool, output: Bool, errors: Errors, environment: [String: String] = [:], pool: BlockingPool,
    timers: TimerQueue
  ) throws(ProcessError) -> ChildProcess {
    var pipes = Pipes()
    defer { pipes.closeTheirs() }
    do throws(ProcessError) {
      let null = try pipes.null()
      let (stdin, ourInput) = input ? try pipes.make(writing: true) : (null, -1)
      let (stdout, ourOutput) = output ? try pipes.make(writing: false) : (null, -1)
      let (stderr, ourErrors) = errors == .merged ? (stdout, -1) : try pipes.make(writing: false)
      let (wakeWrite, wakeRead) = try pipes.make(writing: false)
      pipes.keep(wakeWrite)
      let pid = try spawn(command, environment, stdin, stdout, stderr)
      let child = ChildProcess(
        pid: pid, input: ourInput, output: ourOutput, errors: ourErrors, wakeRead: wakeRead, wakeWrite: wakeWrite, pool: pool, timers: timers)
      pool.run { child.awaitExit() }
      return child
    } catch {
      pipes.closeOurs()
      throw error
    }
  }

  private init(
    pid: pid_t, input: Int32, output: Int32, errors: Int32, wakeRead: Int32, wakeWrite: Int32, pool: BlockingPool, timers: TimerQueue
  ) {
    self.pid = pid
    self.input = input
    self.output = output
    self.errors = errors
    self.wakeRead = wakeRead
    self.wakeWrite = wakeWrite
    self.pool = pool
    self.timers = timers
    state = Mutex(State(inputIsClosed: input < 0))
  }

  deinit {
    closeInput()
    for descriptor in [output, errors, wakeRead, wakeWrite] where descriptor >= 0 { close(descriptor) }
  }

  private static func spawn(
    _ command: String, _ environment: [String: String], _ stdin: Int32, _ stdout: Int32, _ stderr: Int32
  ) throws(ProcessError) -> pid_t {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    for (descriptor, target) in [(stdin, 0), (stdout, 1), (stderr, 2)] as [(Int32, Int32)] {
      posix_spawn_file_actions_adddup2(&actions, descriptor, target)
    }
    _ = addCloseFrom(&actions, 3)
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    var signals = sigset_t()
    sigfillset(&signals)
    posix_spawnattr_setsigdefault(&attributes, &signals)
    sigemptyset(&signals)
    posix_spawnattr_setsigmask(&attributes, &signals)
    posix_spawnattr_setpgroup(&attributes, 0)
    posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK))
    var arguments: [UnsafeMutablePointer<CChar>?] = [strdup("sh"), strdup("-c"), strdup(command), nil]
    defer { for argument in arguments { free(argument) } }
    var variables = merged(environment)
    defer { for variable in variables { free(variable) } }
    var pid: pid_t = 0
    let code = posix_spawn(&pid, "/bin/sh", &actions, &attributes, &arguments, &variables)
    if code != 0 { throw ProcessError(description: "cannot start '\(command)': \(String(cString: strerror(code)))") }
    return pid
  }

  /// This process's environment with `added` in it, for the caller to free.
  private static func merged(_ added: [String: String]) -> [UnsafeMutablePointer<CChar>?] {
    var variables: [UnsafeMutablePointer<CChar>?] = []
    var place = Glibc.environ
    while let entry = place.pointee {
      let name = added.isEmpty ? "" : String(String(cString: entry).prefix { $0 != "=" })
      if added[name] == nil { variables.append(strdup(entry)) }
      place += 1
    }
    for (name, value) in added { variables.append(strdup("\(name)=\(value)")) }
    variables.append(nil)
    return variables
  }

  /// Blocks a pool thread until the command ends; it is not reaped yet, so that its number still names it and its group.
  private func awaitExit() {
    var info = siginfo_t()
    while waitid(P_PID, id_t(pid), &info, WEXITED | WNOWAIT) != 0, errno == EINTR {}
    let waiters = state.withLock { s in
      s.hasExited = true
      defer { s.waiters = [] }
      return s.waiters
    }
    wake()
    for waiter in waiters { waiter.resume() }
  }

  private func wake() {
    var byte: UInt8 = 1
    _ = Glibc.write(wakeWrite, &byte, 1)
  }

  // MARK: Ending

  /// Runs `body`, then waits for the command's end. Cancellation of the task, `timeout`, or an error from `body` end the whole
  /// group: TERM, and KILL after `grace` (`timeoutGrace` for the timeout, at once where that is zero); where it
  /// `finishesFirst`, cancellation closes its input and gives it `grace` before.
  func supervise<R: Sendable>(
    timeout: Duration? = nil, timeoutGrace: Duration = .zero, grace: Duration = .seconds(5), finishesFirst: Bool = false, _ body: () async throws -> R
  ) async throws -> (value: R, ending: ProcessEnding, timedOut: Bool) {
    let expired = Flag()
    var token: TimerQueue.Token?
    if let timeout {
      token = timers.schedule(at: .now().adding(timeout)) { [weak self] in
        expired.set()
        self?.stop(grace: timeoutGrace)
      }
    }
    defer { if let token { timers.cancel(token) } }
    do {
      let value = try await withTaskCancellationHandler {
        let value = try await body()
        closeInput()
        await untilExit()
        return value
      } onCancel: {
        if finishesFirst { finish(grace: grace) } else { stop(grace: grace) }
      }
      return (value, reap(), expired.isSet)
    } catch {
      closeInput()
      stop(grace: grace)
      await untilExit()
      _ = reap()
      throw error
    }
  }

  /// Standard input ends; what then still runs after `grace` is stopped.
  func finish(grace: Duration) {
    closeInput()
    timers.schedule(at: .now().adding(grace)) { [weak self] in self?.stop(grace: grace) }
  }

  /// TERM to the whole group, KILL to what is left of it after `grace` (at once where that is zero).
  func stop(grace: Duration) {
    let isFirst = state.withLock { s in
      defer { s.isStopping = true }
      return !s.isStopping && !s.isReaped
    }
    guard isFirst else { return }
    if grace == .zero { return end() }
    signalGroup(SIGTERM)
    timers.schedule(at: .now().adding(grace)) { [weak self] in self?.end() }
  }
  private func end() {
    signalGroup(SIGKILL)
    // Somebody outside of the group may still hold the pipes.
    state.withLock { $0.isAborted = true }
    wake()
  }
  private func signalGroup(_ signal: Int32) {
    state.withLock { s in if !s.isReaped { kill(-pid, signal) } }
  }

  private func untilExit() async {
    await withCheckedContinuation { continuation in
      let now = state.withLock { s in
        if !s.hasExited { s.waiters.append(continuation) }
        return s.hasExited
      }
      if now { continuation.resume() }
    }
  }

  private func reap() -> ProcessEnding {
    // What ignored TERM and outlived its leader goes with it, but only where we were asked to stop.
    if state.withLock({ $0.isStopping }) { signalGroup(SIGKILL) }
    var status: Int32 = 0
    state.withLock { s in
      while waitpid(pid, &status, 0) < 0, errno == EINTR {}
      s.isReaped = true
    }
    let signal = status & 0x7f
    return signal == 0 ? .exited(status >> 8 & 0xff) : .signalled(signal)
  }

  /// The command's standard input ends; a write under way ends it when it is done.
  func closeInput() {
    let isOurs = state.withLock { s in
      defer { s.inputIsClosed = true }
      return !s.inputIsClosed && !s.isWriting
    }
    if isOurs { close(input) }
  }
}

final class Flag: Sendable {
  private let value = Mutex(false)
  var isSet: Bool { value.withLock { $0 } }
  func set() { value.withLock { $0 = true } }
}

extension MonotonicTime {
  func adding(_ duration: Duration) -> MonotonicTime {
    let (seconds, attoseconds) = duration.components
    let (product, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
    if overflow { return adding(nanoseconds: .max) }
    let (sum, isTooLong) = product.addingReportingOverflow(attoseconds / 1_000_000_000)
    return adding(nanoseconds: isTooLong ? .max : sum)
  }
}

/// glibc's own (2.34 and later), which Swift's Glibc module hides: sockets of the network library are not O_CLOEXEC.
@_silgen_name("posix_spawn_file_actions_addclosefrom_np")
private func addCloseFrom(_ actions: UnsafeMutablePointer<posix_spawn_file_actions_t>, _ from: Int32) -> Int32

/// The descriptors of one start: ours, and those that only the command keeps.
private struct Pipes {
  private var ours: [Int32] = []
  private var theirs: [Int32] = []

  mutating func null() throws(ProcessError) -> Int32 {
    let descriptor = agg_open("/dev/null", O_RDWR | O_CLOEXEC, 0)
    if descriptor < 0 { throw ProcessError(description: "/dev/null: \(String(cString: strerror(-descriptor)))") }
    theirs.append(descriptor)
    return descriptor
  }
  /// The command's end and ours.
  mutating func make(writing: Bool) throws(ProcessError) -> (theirs: Int32, ours: Int32) {
    var ends: [Int32] = [-1, -1]
    if pipe2(&ends, O_CLOEXEC) != 0 { throw ProcessError(description: "no pipe: \(String(cString: strerror(errno)))") }
    let own = writing ? ends[1] : ends[0]
    let other = writing ? ends[0] : ends[1]
    _ = agg_fcntl_int(own, F_SETFL, O_NONBLOCK)
    ours.append(own)
    theirs.append(other)
    return (other, own)
  }
  mutating func keep(_ descriptor: Int32) {
    theirs.removeAll { $0 == descriptor }
    ours.append(descriptor)
    _ = agg_fcntl_int(descriptor, F_SETFL, O_NONBLOCK)
  }
  func closeTheirs() { for descriptor in theirs { close(descriptor) } }
  func closeOurs() { for descriptor in ours { close(descriptor) } }
}
