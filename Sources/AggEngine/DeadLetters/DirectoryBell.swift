import AggCore
import CAgg
import Glibc
import Synchronization

/// Wakes somebody when a file gets a name that ends in `suffix` in one of some directories. One blocked thread; none without directories.
final class DirectoryBell: Sendable {
  private struct State {
    var notify: Int32 = -1
    var watches: [Int32: Waker] = [:]
    var ends: (read: Int32, write: Int32) = (-1, -1)
    var isClosed = false
  }
  private let state = Mutex(State())
  private let suffix: String
  private let pool: BlockingPool

  init(suffix: String, pool: BlockingPool) {
    self.suffix = suffix
    self.pool = pool
  }

  func watch(_ directory: String, _ waker: Waker) {
    let starts = state.withLock { s -> Bool in
      if s.isClosed { return false }
      var isNew = false
      if s.notify < 0 {
        s.notify = inotify_init1(Int32(O_NONBLOCK | O_CLOEXEC))
        var ends: [Int32] = [-1, -1]
        guard s.notify >= 0, pipe(&ends) == 0 else { return false }
        for end in ends { _ = agg_fcntl_int(end, F_SETFD, FD_CLOEXEC) }
        s.ends = (ends[0], ends[1])
        isNew = true
      }
      let id = inotify_add_watch(s.notify, directory, UInt32(IN_MOVED_TO))
      if id >= 0 { s.watches[id] = waker }
      return isNew
    }
    if starts { pool.run { [self] in listen() } }
    // What came before the watch.
    waker.wakeOne()
  }

  func close() {
    let end = state.withLock { s in
      s.isClosed = true
      defer { s.ends.write = -1 }
      return s.ends.write
    }
    if end >= 0 { Glibc.close(end) }
  }

  /// Until the writing end of the pipe is closed.
  private func listen() {
    let (notify, end) = state.withLock { ($0.notify, $0.ends.read) }
    defer {
      Glibc.close(notify)
      Glibc.close(end)
    }
    var descriptors = [pollfd(fd: notify, events: Int16(POLLIN), revents: 0), pollfd(fd: end, events: Int16(POLLIN), revents: 0)]
    while true {
      if poll(&descriptors, 2, -1) < 0, errno != EINTR { return }
      if descriptors[1].revents != 0 { return }
      var named: Set<Int32> = []
      withUnsafeTemporaryAllocation(byteCount: 16 << 10, alignment: 8) { buffer in
        while true {
          let count = read(notify, buffer.baseAddress, buffer.count)
          if count <= 0 { break }
          collect(UnsafeRawBufferPointer(rebasing: buffer[..<count]), &named)
        }
      }
      let wakers = state.withLock { s in named.contains(-1) ? Array(s.watches.values) : named.compactMap { s.watches[$0] } }
      for waker in wakers { waker.wakeOne() }
    }
  }

  /// Watches whose directory got such a name; -1 where records were lost.
  private func collect(_ records: UnsafeRawBufferPointer, _ named: inout Set<Int32>) {
    let head = MemoryLayout<inotify_event>.size
    var at = 0
    while at + head <= records.count {
      let event = records.loadUnaligned(fromByteOffset: at, as: inotify_event.self)
      let end = min(records.count, at + head + Int(event.len))
      let name = String(decoding: records[(at + head)..<end].prefix { $0 != 0 }, as: UTF8.self)
      if event.mask & UInt32(IN_Q_OVERFLOW) != 0 { named.insert(-1) } else if name.hasSuffix(suffix) { named.insert(event.wd) }
      at = end
    }
  }
}
