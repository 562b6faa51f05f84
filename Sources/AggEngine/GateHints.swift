import AggCore
import Synchronization

/// Which gates the batches of a tag needed last time, so that routing need not start a second time to find out.
///
/// Only a hint: gates that are missing are met while routing, one too many only waits. Empty, and one lock, without holding filters.
final class GateHints: Sendable {
  private struct Key: Hashable {
    var root: ObjectIdentifier
    var tag: Tag
  }
  /// Tags come from outside: all are forgotten when there are this many.
  private static let limit = 4096
  private let known = Mutex<[Key: [HoldGate]]>([:])

  func gates(_ root: any Sink, _ batches: [EventBatch]) -> [HoldGate] {
    known.withLock { known in
      if known.isEmpty { return [] }
      var all: [HoldGate] = []
      for batch in batches {
        for gate in known[Key(root: ObjectIdentifier(root), tag: batch.tag)] ?? [] where !all.contains(where: { $0 === gate }) { all.append(gate) }
      }
      return all.sorted { $0.order < $1.order }
    }
  }

  func learn(_ root: any Sink, _ batches: [EventBatch], _ gates: [HoldGate]) {
    known.withLock { known in
      if known.count >= Self.limit { known.removeAll() }
      for batch in batches { known[Key(root: ObjectIdentifier(root), tag: batch.tag)] = gates }
    }
  }
}
