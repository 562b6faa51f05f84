import AggCore
import Glibc

/// `--pid-file`: the number of the process that is the daemon now. Of a process that took over the file follows.
struct ProcessFile: Sendable {
  let path: String
  private var text: String { "\(getpid())\n" }

  /// The old content is replaced in one step. What fails is said and nothing else: agg runs without it.
  func write() {
    var text = text
    text.withUTF8 { bytes in
      do { try File.replace(path, with: UnsafeRawBufferPointer(bytes)) } catch { printError("--pid-file: \(error)") }
    }
  }
  /// Removes it where it is still this process's.
  func remove() {
    guard let content = try? File.contents(path, limit: 64), content.string == text else { return }
    try? File.remove(path)
  }
  /// The process that the file names.
  static func process(_ path: String) -> pid_t? {
    guard let content = try? File.contents(path, limit: 64) else { return nil }
    return pid_t(content.string.filter { $0 != "\n" && $0 != " " })
  }
}
