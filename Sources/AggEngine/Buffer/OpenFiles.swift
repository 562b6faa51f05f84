import AggCore
import Glibc

/// Which process has a file open, as far as this user may see it (Linux: /proc/PID/fd).
enum OpenFiles {
  /// The number of a process, other than this one, that has one of the paths open.
  static func holder(of paths: Set<String>) -> Int? {
    let files = Set(paths.compactMap { path in File.status(path).map { Key(device: $0.device, inode: $0.inode) } })
    let own = Int(getpid())
    guard let processes = try? File.list("/proc") else { return nil }
    for name in processes {
      guard let process = Int(name), process != own, let descriptors = try? File.list("/proc/\(name)/fd") else { continue }
      for descriptor in descriptors {
        // Sockets and pipes have numbers of their own kind, on devices of their own.
        guard let status = File.status("/proc/\(name)/fd/\(descriptor)"), status.isRegular else { continue }
        if files.contains(Key(device: status.device, inode: status.inode)) { return process }
      }
    }
    return nil
  }
  private struct Key: Hashable {
    var device: UInt64
    var inode: UInt64
  }
}
