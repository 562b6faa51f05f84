import AggCore
import Glibc
import Synchronization

/// The descriptors of staged chunks that are kept open: never more than `limit`, however many chunks there are.
///
/// Shared by all buffers of a daemon. A chunk whose descriptor is gone is opened again when it is appended to.
public final class ChunkFiles: Sendable {
  private struct State {
    var files: [ChunkID: (file: File, used: UInt64)] = [:]
    var clock: UInt64 = 0
  }
  private let state = Mutex(State())
  let limit: Int

  /// Without a limit: a quarter of what the process may have open, the rest is for connections and followed files.
  public init(limit: Int? = nil) { self.limit = max(1, limit ?? Self.usualLimit) }

  private static var usualLimit: Int {
    var limits = rlimit()
    guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limits) == 0 else { return 128 }
    return Int(min(1024, max(16, limits.rlim_cur / 4)))
  }

  func file(of chunk: ChunkID) -> File? {
    state.withLock { s in
      s.clock += 1
      s.files[chunk]?.used = s.clock
      return s.files[chunk]?.file
    }
  }

  func keep(_ file: File, of chunk: ChunkID) {
    // Closed here, outside of the lock.
    let closed = state.withLock { s -> [File] in
      s.clock += 1
      s.files[chunk] = (file, s.clock)
      guard s.files.count > limit else { return [] }
      // A quarter at once, so that finding the oldest costs little for each.
      let oldest = s.files.sorted { $0.value.used < $1.value.used }.prefix(max(1, limit / 4))
      for (id, _) in oldest { s.files[id] = nil }
      return oldest.map(\.value.file)
    }
    _ = closed
  }

  func drop(_ chunk: ChunkID) { _ = state.withLock { $0.files.removeValue(forKey: chunk) } }
  public var count: Int { state.withLock { $0.files.count } }
}
