import AggCore
import Glibc
import Synchronization

/// One writer per final path: within the process a task waits without holding a thread, across processes the file's lock decides.
final class PathGate: Sendable {
  /// Two outputs may write to one path: the gate is the process's.
  static let shared = PathGate()
  /// Who waits for each path that is being written.
  private let waiting = Mutex<[String: [CheckedContinuation<Void, Never>]]>([:])

  func enter(_ path: String) async {
    await withCheckedContinuation { continuation in
      let isFree = waiting.withLock { waiting in
        guard waiting[path] != nil else {
          waiting[path] = []
          return true
        }
        waiting[path]?.append(continuation)
        return false
      }
      if isFree { continuation.resume() }
    }
  }
  func leave(_ path: String) {
    let next = waiting.withLock { waiting -> CheckedContinuation<Void, Never>? in
      guard var queue = waiting[path], !queue.isEmpty else {
        waiting[path] = nil
        return nil
      }
      let next = queue.removeFirst()
      waiting[path] = queue
      return next
    }
    next?.resume()
  }

  /// Opens the file that `path` names now, for appending, and locks it; waits while another process holds it.
  static func open(_ path: String, permission: Int) async throws -> File {
    while true {
      let file = try File(path, [.readWrite, .create, .append], permission: permission)
      while !file.tryLock() { try await Task.sleep(for: .milliseconds(5)) }
      // It may have been renamed (rotated) between open and lock.
      let opened = try file.status()
      if let named = File.status(path), named.inode == opened.inode, named.device == opened.device { return file }
      file.unlock()
    }
  }
}
