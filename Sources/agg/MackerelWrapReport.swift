import AggCore
import AggPlugins
import Glibc

/// What `agg wrap` says of a command.
struct WrapReport {
  static let messageLimit = 1024

  var name: String
  var command: [String]
  var note: String
  var detail: Bool
  var result: WrappedCommand

  /// As mkr names it, so that a job keeps its check: the program's name and three bytes of the command line's MD5.
  static func name(of command: [String]) -> String {
    let program = File.name(of: command.first ?? "")
    let plain = String(
      decoding: program.utf8.map { byte -> UInt8 in
        let isWord =
          (0x30...0x39).contains(byte) || (0x41...0x5a).contains(byte) || (0x61...0x7a).contains(byte) || byte == 0x2d
          || byte == 0x5f
        return isWord ? byte : 0x5f
      }, as: UTF8.self)
    return "mkrwrap-\(plain)-\(MackerelClient.shortDigest(command.joined(separator: " ")))"
  }

  var message: String {
    var text = result.message
    if !note.isEmpty { text += "\nNote: \(note)" }
    text += "\n% \(command.joined(separator: " "))"
    if detail { text += "\n" + result.output }
    return Self.cut(text)
  }

  /// A long text loses its middle.
  static func cut(_ text: String) -> String {
    let all = Array(text.unicodeScalars)
    if all.count <= messageLimit { return text }
    let middle = Array("\n...\n".unicodeScalars)
    let rest = messageLimit - middle.count
    var out = String.UnicodeScalarView()
    out.append(contentsOf: all[..<(rest / 2)])
    out.append(contentsOf: middle)
    out.append(contentsOf: all[(all.count - (rest - rest / 2))...])
    return String(out)
  }

  func body(host: String, isWarning: Bool, notificationMinutes: Int64?) -> [UInt8] {
    var report: Value = ["source": ["type": "host"], "name": .null, "status": .null]
    report["source"] = .map(FieldMap([.init(key: "type", value: "host"), .init(key: "hostId", value: Value(host))]))
    report["name"] = Value(name)
    report["status"] = result.isSuccess ? "OK" : isWarning ? "WARNING" : "CRITICAL"
    report["message"] = Value(message)
    report["occurredAt"] = .int(EventTime.now().seconds)
    if let notificationMinutes { report["notificationInterval"] = .int(notificationMinutes) }
    return Value.map(FieldMap([.init(key: "reports", value: .array([report]))])).json ?? []
  }
}

/// Whether a job's last run was a success, between runs of `agg wrap --auto-close`.
struct WrapMemory {
  private let path: String

  /// In the user's own state, never where others may write.
  init(_ name: String) {
    let base =
      MackerelConnection.environment("XDG_STATE_HOME") ?? MackerelConnection.environment("HOME").map { $0 + "/.local/state" }
      ?? "/var/lib"
    path = base + "/agg/wrap-" + name.map { $0 == "/" ? "_" : String($0) }.joined()
  }
  /// False after a failure, and where nothing is known: mkr reports the first success too.
  var lastWasSuccess: Bool { (try? File.contents(path, limit: 64).string) == "ok" }

  func store(_ isSuccess: Bool) {
    do throws(FileError) {
      try File.makeDirectories(File.directory(of: path), permission: 0o700)
      var text = ByteWriter(capacity: 64)
      text.append(isSuccess ? "ok" : "failed")
      try File.replace(path, with: text.bytes, permission: 0o600)
    } catch { printError("the result is not kept for --auto-close: \(error)") }
  }
}
