import AggCore
import AggEngine
import ArgumentParser
import Glibc

/// `agg upgrade`: the running daemon is followed by its program as it is now on disk, without a connection refused or an event lost.
struct Upgrade: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "upgrade",
    abstract: "Let a new program take the place of the running daemon.",
    discussion: """
      The running daemon starts the new program, which reads its configuration, takes the listening sockets over and opens the buffers
      when the old one lets them go. When the new one does not get on, the old one goes on, and this ends with status 1.
      """)
  @Option(name: .long, help: "Process number of the daemon; not needed where only one runs.")
  var pid: Int32?
  @Option(name: .customLong("pid-file"), help: "File with the process number.")
  var processFile: String?
  @Option(name: .long, help: "Program to start instead of the daemon's own file.")
  var program: String?
  @Option(name: .long, help: "Seconds to wait.")
  var timeout = 300

  mutating func run() throws {
    let pid = try target()
    do {
      let connection = try ControlConnection(to: pid)
      guard connection.send("upgrade" + (try program.map { " " + (try absolute($0)) } ?? "")) else {
        throw StoreError("process \(pid) is gone")
      }
      var started: pid_t?
      while let (text, _) = connection.receive(seconds: timeout) {
        let words = text.split(separator: " ", maxSplits: 1).map(String.init)
        switch words.first {
        case "started": started = words.last.flatMap { pid_t($0) }
        case "upgraded":
          waitForFile(naming: pid)
          print("process \(words.last ?? "?") has taken over from process \(pid)")
          return
        default: exitWithError("agg upgrade: \(words.count > 1 ? words[1] : text)")
        }
      }
      exitWithError("agg upgrade: process \(pid) gave no answer\(started.map { "; it had started process \($0)" } ?? "")")
    } catch let error as StoreError { exitWithError("agg upgrade: \(error)") }
  }

  /// So that who runs this finds the new process in the file. Two seconds at most: the daemon may have been started without it.
  private func waitForFile(naming old: pid_t) {
    guard let processFile else { return }
    for _ in 0..<400 where ProcessFile.process(processFile) == old { usleep(5000) }
  }

  private func target() throws -> pid_t {
    if let pid { return pid }
    if let processFile {
      guard let pid = ProcessFile.process(processFile) else {
        exitWithError("agg upgrade: \(processFile) holds no process number")
      }
      return pid
    }
    let running = ControlSocket.running
    if running.count == 1 { return running[0] }
    exitWithError(
      running.isEmpty
        ? "agg upgrade: no agg is running here"
        : "agg upgrade: several run; say which with --pid: \(running.sorted().map(String.init).joined(separator: ", "))")
  }

  private func absolute(_ path: String) throws -> String {
    guard let resolved = realpath(path, nil) else { throw StoreError("\(path): \(String(cString: strerror(errno)))") }
    defer { free(resolved) }
    return String(cString: resolved)
  }
}
