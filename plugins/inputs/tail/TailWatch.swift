import AggCore
import CAgg
import Glibc
import Synchronization

/// Waits until a followed file may have changed, a time passes, or the task is cancelled. inotify is only a hint.
final class TailWatch: Sendable {
  private let notify: Int32
  /// Written by `wake`, read by `wait`.
  private let pipeEnds: (read: Int32, write: Int32)
  private let watches = Mutex<[String: Int32]>([:])
  /// By watch, its path.
  private let directories = Mutex<[Int32: String]>([:])
  /// By watch, the file's path; and the files that were written to since `takeWritten`.
  private struct Files {
    var paths: [Int32: String] = [:]
    var written: Set<Int32> = []
  }
  private let files = Mutex(Files())
  private let renames = Mutex(RenamePairs())

  init() {
    notify = inotify_init1(Int32(O_NONBLOCK | O_CLOEXEC))
    var ends: [Int32] = [-1, -1]
    _ = pipe(&ends)
    for end in ends {
      _ = agg_fcntl_int(end, F_SETFL, O_NONBLOCK)
      _ = agg_fcntl_int(end, F_SETFD, FD_CLOEXEC)
    }
    pipeEnds = (ends[0], ends[1])
  }
  deinit {
    close(notify)
    close(pipeEnds.read)
    close(pipeEnds.write)
  }

  /// Directories catch creation and renames, files catch writes.
  func watch(_ path: String, isDirectory: Bool) {
    guard notify >= 0 else { return }
    let mask = isDirectory ? UInt32(IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE) : UInt32(IN_MODIFY | IN_ATTRIB | IN_MOVE_SELF)
    watches.withLock { all in
      if all[path] != nil { return }
      let id = inotify_add_watch(notify, path, mask)
      if id >= 0 {
        all[path] = id
        if isDirectory { directories.withLock { $0[id] = path } } else { files.withLock { $0.paths[id] = path } }
      }
    }
  }
  func unwatch(_ path: String) {
    watches.withLock { all in
      guard let id = all.removeValue(forKey: path) else { return }
      inotify_rm_watch(notify, id)
      files.withLock { files in
        // One file under two names is one watch.
        if files.paths[id] == path { files.paths[id] = nil }
      }
    }
  }

  func wake() {
    var byte: UInt8 = 1
    _ = write(pipeEnds.write, &byte, 1)
  }

  /// Blocks the calling (pool) thread; returns early on a change or a wake. True: names in a directory changed, or may have.
  func wait(milliseconds: Int32) -> Bool {
    var descriptors = [pollfd(fd: notify, events: Int16(POLLIN), revents: 0), pollfd(fd: pipeEnds.read, events: Int16(POLLIN), revents: 0)]
    _ = poll(&descriptors, 2, milliseconds)
    let known = directories.withLock { $0 }
    return withUnsafeTemporaryAllocation(byteCount: 16 << 10, alignment: 8) { buffer in
      var changed = false
      while true {
        let count = read(notify, buffer.baseAddress, buffer.count)
        if count <= 0 { break }
        changed = changesNames(UnsafeRawBufferPointer(rebasing: buffer[..<count]), known) || changed
      }
      while read(pipeEnds.read, buffer.baseAddress, buffer.count) > 0 {}
      return changed
    }
  }

  /// The files that were written to, as far as inotify has told, since the last call.
  func takeWritten() -> [String] {
    files.withLock { files in
      defer { files.written.removeAll(keepingCapacity: true) }
      return files.written.compactMap { files.paths[$0] }
    }
  }

  /// Renames within watched directories since the last call, in their order.
  func takeRenames() -> [RenamePairs.Rename] { renames.withLock { $0.take() } }

  /// Whether any of the kernel's records is of a directory, or says that records were lost.
  private func changesNames(_ records: UnsafeRawBufferPointer, _ directories: [Int32: String]) -> Bool {
    let head = MemoryLayout<inotify_event>.size
    var at = 0
    var changed = false
    var written: [Int32] = []
    defer { if !written.isEmpty { files.withLock { $0.written.formUnion(written) } } }
    while at + head <= records.count {
      let event = records.loadUnaligned(fromByteOffset: at, as: inotify_event.self)
      let end = min(at + head + Int(event.len), records.count)
      if event.mask & UInt32(IN_Q_OVERFLOW) != 0 { changed = true }
      if let directory = directories[event.wd] {
        changed = true
        if event.mask & UInt32(IN_MOVED_FROM | IN_MOVED_TO) != 0 {
          let name = String(decoding: records[at + head..<end].prefix { $0 != 0 }, as: UTF8.self)
          moved(directory == "." ? name : directory + "/" + name, event)
        }
      } else if written.last != event.wd { written.append(event.wd) }
      at = end
    }
    return changed
  }

  private func moved(_ path: String, _ event: inotify_event) {
    renames.withLock {
      if event.mask & UInt32(IN_MOVED_FROM) != 0 { $0.from(path, cookie: event.cookie) } else { $0.to(path, cookie: event.cookie) }
    }
  }
}
