import AggCore
import CAgg
import Glibc

/// Gives back the pages of code that the start touched and rest does not need.
///
/// They stay in the page cache and come back with a minor fault each 64 KiB: less than a millisecond of CPU when work begins.
enum ResidentText {
  /// Of this program and its libraries, as the loader knows them; code that was made at run time (PCRE2's) is not among them. Left alone
  /// while the process is traced: a debugger's breakpoints are changes that the files do not have.
  static func release() {
    if !isTraced { agg_release_text() }
  }

  private static var isTraced: Bool {
    guard let status = try? File.contents("/proc/self/status", limit: 64 << 10) else { return true }
    var isTraced = false
    forEachLine(status.bytes) { line, _ in
      if line.starts(with: "TracerPid:".utf8) { isTraced = line.last != 0x30 || line.count > 12 }
    }
    return isTraced
  }
}
