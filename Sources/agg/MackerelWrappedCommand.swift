import AggCore
import CAgg
@preconcurrency import Glibc  // environ

/// A command that ran under `agg wrap`: its output went through, and some of it is kept.
struct WrappedCommand {
  var code: Int32
  var message: String
  /// Both outputs as they came: the beginning and the end of a long one.
  var output = ""
  var isSuccess: Bool { code == 0 }

  private static let headBytes = 8192
  private static let tailBytes = 16_384
  private static let killAfter: Int64 = 10_000_000_000

  /// Runs it to its end, in this process's group, so that a terminal's signals reach it; with a timeout it leads a group that ends then.
  static func run(_ command: [String], timeout: TimeSpan?) -> WrappedCommand {
    var out: [Int32] = [-1, -1]
    var errors: [Int32] = [-1, -1]
    guard pipe2(&out, O_CLOEXEC) == 0, pipe2(&errors, O_CLOEXEC) == 0 else { return failed(errno) }
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_adddup2(&actions, out[1], 1)
    posix_spawn_file_actions_adddup2(&actions, errors[1], 2)
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    // Whoever reads agg's output may go away: that ends neither agg, which has to report, nor is it the command's default.
    signal(SIGPIPE, SIG_IGN)
    var broken = sigset_t()
    sigemptyset(&broken)
    sigaddset(&broken, SIGPIPE)
    posix_spawnattr_setsigdefault(&attributes, &broken)
    var flags = POSIX_SPAWN_SETSIGDEF
    if timeout != nil {
      posix_spawnattr_setpgroup(&attributes, 0)
      flags |= POSIX_SPAWN_SETPGROUP
    }
    posix_spawnattr_setflags(&attributes, Int16(flags))
    var arguments: [UnsafeMutablePointer<CChar>?] = command.map { strdup($0) } + [nil]
    defer { for argument in arguments { free(argument) } }
    var pid: pid_t = 0
    let result = posix_spawnp(&pid, command[0], &actions, &attributes, &arguments, Glibc.environ)
    close(out[1])
    close(errors[1])
    defer {
      close(out[0])
      close(errors[0])
    }
    if result != 0 { return failed(result) }
    // What asks agg to end asks the command: agg ends after it, with its report.
    wrappedPID = pid
    for number in [SIGTERM, SIGINT, SIGHUP] { signal(number) { kill(wrappedPID, $0) } }
    var kept = Kept()
    let isLate = pass(
      pid, from: [(out[0], 1), (errors[0], 2)],
      until: timeout.map { MonotonicTime.now().adding(nanoseconds: Int64($0.nanoseconds)) }, &kept)
    var status: Int32 = 0
    while waitpid(pid, &status, 0) < 0, errno == EINTR {}
    let signal = status & 0x7f
    let code = signal == 0 ? status >> 8 & 0xff : 128 + signal
    var message = signal == 0 ? "command exited with code: \(code)" : "command died with signal: \(signal)"
    if isLate { message = "command timed out (\(message))" }
    return WrappedCommand(code: isLate && code == 0 ? 124 : code, message: message, output: kept.text)
  }

  private static func failed(_ code: Int32) -> WrappedCommand {
    WrappedCommand(
      code: code == ENOENT ? 127 : 126,
      message: "command invocation failed with following error: \(String(cString: strerror(code)))")
  }

  /// Copies until both outputs end; true when the time was over before.
  private static func pass(
    _ pid: pid_t, from pipes: [(from: Int32, to: Int32)], until deadline: MonotonicTime?, _ kept: inout Kept
  ) -> Bool {
    var waits = pipes.map { pollfd(fd: $0.from, events: Int16(POLLIN), revents: 0) }
    var stage = 0
    var next = deadline
    while waits.contains(where: { $0.fd >= 0 }) {
      var pause: Int32 = -1
      if let next { pause = Int32(clamping: max(0, next.since(.now()) / 1_000_000 + 1)) }
      let ready = poll(&waits, nfds_t(waits.count), pause)
      if ready < 0, errno != EINTR { break }
      if let at = next, at <= .now() {
        kill(-pid, stage == 0 ? SIGTERM : SIGKILL)
        // What has left the group and holds the pipes is not waited for.
        if stage == 2 { break }
        stage += 1
        next = MonotonicTime.now().adding(nanoseconds: stage == 1 ? killAfter : 1_000_000_000)
      }
      for n in waits.indices where ready > 0 && waits[n].revents != 0 {
        let more = withUnsafeTemporaryAllocation(byteCount: 65_536, alignment: 1) { buffer in
          let count = read(waits[n].fd, buffer.baseAddress, buffer.count)
          if count < 0 { return errno == EINTR || errno == EAGAIN }
          if count == 0 { return false }
          let bytes = UnsafeRawBufferPointer(rebasing: buffer[..<count])
          kept.add(bytes)
          try? File(descriptor: dup(pipes[n].to), path: "output").write(bytes)
          return true
        }
        if !more { waits[n].fd = -1 }
      }
    }
    return stage > 0
  }

  /// Bounded, however much comes.
  private struct Kept {
    var head: [UInt8] = []
    var tail: [UInt8] = []
    mutating func add(_ bytes: UnsafeRawBufferPointer) {
      let room = WrappedCommand.headBytes - head.count
      head.append(contentsOf: bytes.prefix(max(0, room)))
      tail.append(contentsOf: bytes.dropFirst(max(0, room)))
      if tail.count > 2 * WrappedCommand.tailBytes { tail.removeFirst(tail.count - WrappedCommand.tailBytes) }
    }
    var text: String { String(decoding: head + tail, as: UTF8.self) }
  }
}

/// For the signal handlers, which may use nothing else; written once, before they are there.
nonisolated(unsafe) private var wrappedPID: pid_t = 0
