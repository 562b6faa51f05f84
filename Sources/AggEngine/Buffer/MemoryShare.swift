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

  /// For one more buffer; all are made before the first holds anything.
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
  private let held = Mutex(0)

  fileprivate init(_ pool: MemoryPool) { self.pool = pool }

  /// As with total_limit_size, a buffer that has room takes one more append, however large.
  package var hasRoom: Bool {
    held.withLock { $0 } < pool.sureEach || pool.shared.load(ordering: .relaxed) < pool.shareable
  }

  /// Bytes came, or went (negative).
  package func add(_ n: Int) {
    let sure = pool.sureEach
    held.withLock { held in
      let before = max(0, held - sure)
      held += n
      let change = max(0, held - sure) - before
      if change != 0 { pool.shared.wrappingAdd(change, ordering: .relaxed) }
    }
  }
}
