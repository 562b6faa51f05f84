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
  struct Refusal {
    let path: String
    let isDirectory: Bool
  }
  /// Why a watch could not be made: by error code, the first one, until somebody asks.
  private let refusals = Mutex<[Int32: Refusal]>([:])
  private struct Directories {
    /// By watch, its path; of two paths that are one directory, one.
    var names: [Int32: String] = [:]
    var paths: Set<String> = []
  }
  private let directories = Mutex(Directories())
  /// By watch, the paths of its file (a link is another of the same); those that something happened to since `takeChanged`.
  private struct Files {
    var paths: [Int32: [String]] = [:]
    var changed: Set<String> = []
  }
  private let files = Mutex(Files())
  private let renames = Mutex(RenamePairs())

  init() {
    notify = inotify_init1(Int32(O_NONBLOCK | O_CLOEXEC))
    let code = errno
    var ends: [Int32] = [-1, -1]
    _ = pipe(&ends)
    for end in ends {
      _ = agg_fcntl_int(end, F_SETFL, O_NONBLOCK)
      _ = agg_fcntl_int(end, F_SETFD, FD_CLOEXEC)
    }
    pipeEnds = (ends[0], ends[1])
    if notify < 0 { refuse("inotify", isDirectory: false, code) }
  }
  deinit {
    close(notify)
    close(pipeEnds.read)
    close(pipeEnds.write)
  }

  private static let names = UInt32(IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE) | UInt32(IN_ONLYDIR)

  /// Directories catch creation and renames, files catch writes, and that they go. True when there was no watch and there is one now.
  @discardableResult func watch(_ path: String, isDirectory: Bool) -> Bool {
    guard notify >= 0 else { return false }
    let mask = isDirectory ? Self.names : UInt32(IN_MODIFY | IN_ATTRIB | IN_MOVE_SELF)
    return watches.withLock { all in
      if all[path] != nil { return false }
      let id = inotify_add_watch(notify, path, mask)
      guard id >= 0 else {
        refuse(path, isDirectory: isDirectory, errno)
        return false
      }
      all[path] = id
      if isDirectory {
        directories.withLock { directories in
          directories.names[id] = path
          directories.paths.insert(path)
        }
      } else { files.withLock { $0.paths[id, default: []].append(path) } }
      return true
    }
  }
  /// A directory that was removed or renamed, and made again under its name, is another one: asked for by name, the kernel says the watch
  /// that it has, or makes one.
  func renewDirectories() {
    watches.withLock { all in
      let known = directories.withLock { $0 }
      var next = Directories(paths: known.paths)
      func keep(_ path: String, _ id: Int32) {
        all[path] = id
        if next.names[id] == nil || known.names[id] == path { next.names[id] = path }
      }
      var refused: [String] = []
      for path in known.paths {
        let id = inotify_add_watch(notify, path, Self.names)
        let code = id < 0 ? errno : 0
        if id >= 0 { keep(path, id) } else if code == ENOSPC { refused.append(path) } else if Self.isAbsence(code) {
          all[path] = nil
          next.paths.remove(path)
        } else if let old = all[path] {
          // It may not be read now; what is watched still is.
          keep(path, old)
        }
      }
      // Only now: one that has changed its name has its new one by now.
      for id in known.names.keys where next.names[id] == nil { inotify_rm_watch(notify, id) }
      // Another directory than before, which had to wait for the room of that one.
      for path in refused {
        let id = inotify_add_watch(notify, path, Self.names)
        if id >= 0 { keep(path, id) } else {
          refuse(path, isDirectory: true, errno)
          all[path] = nil
          next.paths.remove(path)
        }
      }
      directories.withLock { [next] in $0 = next }
    }
  }

  /// There is nothing to watch under the name, for now.
  private static func isAbsence(_ code: Int32) -> Bool { code == ENOENT || code == ENOTDIR || code == ELOOP }

  private func refuse(_ path: String, isDirectory: Bool, _ code: Int32) {
    if Self.isAbsence(code) { return }
    refusals.withLock { if $0[code] == nil { $0[code] = Refusal(path: path, isDirectory: isDirectory) } }
  }
  func unwatch(_ path: String) {
    watches.withLock { all in
      guard let id = all.removeValue(forKey: path) else { return }
      let isShared = files.withLock { files in
        files.paths[id]?.removeAll { $0 == path }
        if files.paths[id]?.isEmpty ?? false { files.paths[id] = nil }
        return files.paths[id] != nil
      }
      if !isShared { inotify_rm_watch(notify, id) }
    }
  }

  /// What the kernel refused since the last call, by error code.
  func takeRefusals() -> [Int32: Refusal] {
    refusals.withLock { refusals in
      defer { refusals = [:] }
      return refusals
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
    let known = directories.withLock { $0.names }
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

  /// The files that were written to, renamed or removed since the last call, as far as inotify has told.
  func takeChanged() -> Set<String> {
    files.withLock { files in
      defer { files.changed = [] }
      return files.changed
    }
  }

  private func note(_ events: [(watch: Int32, mask: UInt32)]) {
    let gone = files.withLock { files -> [String] in
      var gone: [String] = []
      for (watch, mask) in events {
        guard let paths = files.paths[watch] else { continue }
        files.changed.formUnion(paths)
        // The kernel has taken the watch away with its file.
        if mask & UInt32(IN_IGNORED) != 0 {
          gone += paths
          files.paths[watch] = nil
        }
      }
      return gone
    }
    if !gone.isEmpty { watches.withLock { all in for path in gone { all[path] = nil } } }
  }

  /// Renames within watched directories since the last call, in their order.
  func takeRenames() -> [RenamePairs.Rename] { renames.withLock { $0.take() } }

  /// Whether any of the kernel's records is of a directory, or says that records were lost.
  private func changesNames(_ records: UnsafeRawBufferPointer, _ directories: [Int32: String]) -> Bool {
    let head = MemoryLayout<inotify_event>.size
    var at = 0
    var changed = false
    var others: [(watch: Int32, mask: UInt32)] = []
    defer { if !others.isEmpty { note(others) } }
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
      } else if others.last?.watch != event.wd || others.last?.mask != event.mask { others.append((event.wd, event.mask)) }
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
