import AggCore
import Synchronization

/// What the memory buffers of one configuration may hold together: half of memory_limit, so that a destination that is down leaves room
/// for what is on its way. A half of that is divided equally and sure; the other half is for whoever comes first.
package final class MemoryPool: Sendable {
  fileprivate let shareable: Int
  private let sure: Int
  fileprivate let shares = Atomic<Int>(0)
  fileprivate let shared = Atomic<Int>(0)

  package init(limit: Int) {
    sure = limit / 4
    shareable = limit / 4
  }

  /// For one more buffer; at a reload they come and go while others hold something.
  package func share() -> MemoryShare {
    shares.wrappingAdd(1, ordering: .relaxed)
    return MemoryShare(self)
  }
  fileprivate var sureEach: Int { sure / max(1, shares.load(ordering: .relaxed)) }
}

/// One memory buffer's part of it.
package final class MemoryShare: Sendable {
  /// What a batch costs beside its bytes.
  static let overhead = 256

  private let pool: MemoryPool
  private let held = Mutex((bytes: 0, shared: 0))

  fileprivate init(_ pool: MemoryPool) { self.pool = pool }
  deinit {
    pool.shares.wrappingSubtract(1, ordering: .relaxed)
    pool.shared.wrappingSubtract(held.withLock { $0.shared }, ordering: .relaxed)
  }

  /// As with total_limit_size, a buffer that has room takes one more append, however large.
  package var hasRoom: Bool {
    held.withLock { $0.bytes } < pool.sureEach || pool.shared.load(ordering: .relaxed) < pool.shareable
  }

  /// Bytes came, or went (negative).
  package func add(_ n: Int) {
    let sure = pool.sureEach
    held.withLock { held in
      held.bytes += n
      let change = max(0, held.bytes - sure) - held.shared
      held.shared += change
      if change != 0 { pool.shared.wrappingAdd(change, ordering: .relaxed) }
    }
  }
}
