import Synchronization

/// How many bytes blocks and larger writers hold in this process: batches on their way, memory buffers, chunks that are being
/// delivered, unfinished input of connections and files, bodies that are being written.
///
/// Counted where it is allocated and freed, so that nothing is counted twice (copy shares blocks) and nothing has to be told.
/// One relaxed addition an allocation; what is smaller than 4 KiB counts only once it is a batch.
public enum HeldMemory {
  private static let bytes = Atomic<Int>(0)
  /// What a block costs beside its bytes: the object, malloc's own, the buffer's entry.
  static let blockOverhead = 160
  static let smallestWriter = 4096

  public static var current: Int { bytes.load(ordering: .relaxed) }
  static func add(_ n: Int) { bytes.wrappingAdd(n, ordering: .relaxed) }

  /// What a writer of this capacity counts.
  static func charge(_ capacity: Int) -> Int { capacity < smallestWriter ? 0 : capacity }
}
