import Glibc
import Synchronization

/// Keeps the descriptors of followed files within the process's limit: of more files than may be open, those that are quiet are closed
/// and opened again when they change. Used by one task; the count is the process's.
final class TailOpenFiles {
  /// Of all inputs together.
  private static let total = Atomic(0)
  /// Half of what the process may have open; the rest is for buffers, outputs and connections.
  static let limit: Int = {
    var limits = rlimit()
    guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limits) == 0 else { return 256 }
    return Int(clamping: min(max(limits.rlim_cur / 2, 16), 65536))
  }()

  /// Files in the order they were opened; those that were closed since are passed over.
  private var order: [TailedFile] = []
  private var head = 0

  /// A file was opened: where there are too many, the one that was opened first is closed, a quiet one before one that is not read.
  func opened(_ file: TailedFile) {
    order.append(file)
    Self.total.add(1, ordering: .relaxed)
    for takesAny in [false, true] {
      var looks = order.count - head
      while Self.total.load(ordering: .relaxed) > Self.limit, looks > 0 {
        looks -= 1
        let oldest = order[head]
        head += 1
        guard oldest.isOpen else { continue }
        if oldest !== file, oldest.canBeFound, takesAny || oldest.isRead { oldest.close() } else { order.append(oldest) }
      }
    }
    if head > 1024, head * 2 > order.count {
      order.removeFirst(head)
      head = 0
    }
  }
  func closed() { Self.total.subtract(1, ordering: .relaxed) }
}
