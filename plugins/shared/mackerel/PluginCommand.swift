import AggCore
import Glibc

/// A command line as a configuration gives it: text for `/bin/sh -c`, or a JSON array of arguments that no shell takes apart.
struct CommandText: ConfigReadable, Hashable {
  static let configType = "string or array"
  var configText: String
  /// What the shell runs.
  var shell: String

  init() {
    configText = ""
    shell = ""
  }
  init(configText text: String, strict: Bool) throws(ConfigValueError) {
    configText = text
    shell = text
    // `[ -f x ] && …` begins with a bracket too, and is no JSON.
    guard text.hasPrefix("["), let items = JSONTranscoder.decode(text)?.array else { return }
    let arguments = items.compactMap(\.text)
    if arguments.count != items.count || arguments.isEmpty {
      throw ConfigValueError("must be a command line, or an array of its arguments as texts; got '\(text)'")
    }
    shell = "exec " + arguments.map(Self.quoted).joined(separator: " ")
  }

  /// One word for the shell, whatever it holds.
  static func quoted(_ text: String) -> String {
    var out = "'"
    for character in text.unicodeScalars { if character == "'" { out += "'\\''" } else { out.unicodeScalars.append(character) } }
    return out + "'"
  }
}

/// What one run of a plugin's command gave.
struct PluginRun: Sendable {
  enum Outcome: Sendable, Equatable {
    case ended(ProcessEnding)
    case timedOut
    /// It printed more than is read, and was ended.
    case tooLong
    case notStarted(String)
    /// The daemon is stopping.
    case cancelled
  }
  var outcome: Outcome
  /// Standard output, at most `PluginCommand.keptBytes` of it.
  var output: [UInt8] = []
}

/// A monitoring plugin's command: who runs it, in what environment, for how long, and how much of its output counts.
///
/// It leads a process group of its own that ends as a whole: TERM at the timeout, KILL ten seconds later.
struct PluginCommand: Sendable {
  static let keptBytes = 1 << 20
  /// One that prints more is ended: it would only burn time.
  static let readBytes = 16 << 20
  static let killAfter: Duration = .seconds(10)

  let command: CommandText
  let user: String?
  let environment: [String: String]
  let timeout: TimeSpan

  init(_ command: CommandText, user: String?, environment: StringMap, timeout: TimeSpan) throws(ConfigValueError) {
    if command.shell.isEmpty { throw ConfigValueError("'command' must not be empty") }
    if timeout.nanoseconds <= 0 { throw ConfigValueError("'timeout' must be more than 0") }
    var variables: [String: String] = [:]
    for pair in environment.pairs {
      let name = pair.key.utf8
      let isPlain = name.allSatisfy { $0 == 0x5f || (0x30...0x39).contains($0) || (0x41...0x5a).contains($0 & 0xdf) }
      guard isPlain, let first = name.first, !(0x30...0x39).contains(first) else {
        throw ConfigValueError("'env': '\(pair.key)' cannot be the name of a variable; use letters, digits and _")
      }
      if pair.value.utf8.contains(0) { throw ConfigValueError("'env': the value of \(pair.key) has a zero byte") }
      variables[pair.key] = pair.value
    }
    self.command = command
    self.user = user
    self.environment = variables
    self.timeout = timeout
  }

  /// Runs it once; `more` goes over the configured environment. Blocks the thread, which has to be a pool's.
  func run(_ services: CommandServices, _ log: Log, _ more: [String: String] = [:]) async -> PluginRun {
    let child: ChildProcess
    do throws(ProcessError) {
      let (shell, own) = try asUser()
      let variables = own.merging(environment) { $1 }.merging(more) { $1 }
      child = try ChildProcess.start(
        shell, input: false, output: true, errors: .logged, environment: variables, pool: services.pool, timers: services.timers)
    } catch { return PluginRun(outcome: .notStarted(error.description)) }
    do {
      let result = try await child.supervise(timeout: timeout.duration, timeoutGrace: Self.killAfter) { read(child, log) }
      let (output, isTooLong) = result.value
      if Task.isCancelled { return PluginRun(outcome: .cancelled) }
      if isTooLong { return PluginRun(outcome: .tooLong, output: output) }
      // One that met TERM by ending as it should is not late.
      if result.timedOut, !result.ending.isSuccess { return PluginRun(outcome: .timedOut, output: output) }
      return PluginRun(outcome: .ended(result.ending), output: output)
    } catch { return PluginRun(outcome: Task.isCancelled ? .cancelled : .notStarted("\(error)")) }
  }

  private func read(_ child: ChildProcess, _ log: Log) -> (output: [UInt8], isTooLong: Bool) {
    var kept = ByteWriter(capacity: 4096)
    var rest = ByteWriter(capacity: 64)
    var lines = ErrorLines(log)
    var ended = ChildProcess.Ended()
    var total = 0
    while true {
      let n: Int
      if kept.count < Self.keptBytes {
        n = child.read(into: &kept, limit: min(65_536, Self.keptBytes - kept.count), &lines, &ended)
      } else {
        n = child.read(into: &rest, &lines, &ended)
        rest.removeAll()
      }
      total += n
      if n == 0 || total > Self.readBytes { break }
    }
    lines.finish()
    if total > Self.readBytes { child.stop(grace: .zero) }
    return (kept.array, total > Self.readBytes)
  }

  /// The command as another user runs it: by setpriv where we are root, else by sudo, as mackerel-agent does.
  private func asUser() throws(ProcessError) -> (shell: String, environment: [String: String]) {
    guard let user else { return (command.shell, [:]) }
    guard let account = Account(user) else { throw ProcessError(description: "there is no user '\(user)'") }
    if account.uid == geteuid() { return (command.shell, [:]) }
    let words = "/bin/sh -c " + CommandText.quoted(command.shell)
    let variables = ["HOME": account.home, "USER": user, "LOGNAME": user]
    if geteuid() == 0 {
      return ("exec setpriv --reuid=\(account.uid) --regid=\(account.gid) --init-groups --inh-caps=-all -- \(words)", variables)
    }
    return ("exec sudo -n -E -u \(CommandText.quoted(user)) -- \(words)", variables)
  }
}

/// A user of this machine, by name.
private struct Account {
  var uid: uid_t
  var gid: gid_t
  var home: String

  init?(_ name: String) {
    var entry = passwd()
    var found: UnsafeMutablePointer<passwd>?
    let result = withUnsafeTemporaryAllocation(of: CChar.self, capacity: 16_384) { buffer -> (uid_t, gid_t, String)? in
      guard let base = buffer.baseAddress, getpwnam_r(name, &entry, base, buffer.count, &found) == 0, found != nil else {
        return nil
      }
      return (entry.pw_uid, entry.pw_gid, entry.pw_dir.map { String(cString: $0) } ?? "/")
    }
    guard let result else { return nil }
    (uid, gid, home) = result
  }
}
