import AggCore
import Synchronization

/// What became of the parts of chunks that a server found too large (413).
///
/// A chunk is halved, and its halves, down to single events: part 1 is all of it, the halves of part n are 2n and 2n + 1. The parts of a
/// chunk have ids that come out the same in each attempt and after a restart, so that a receiver that knows them takes each once.
final class HTTPParts: Sendable {
  struct Part: Equatable {
    var number: UInt64
    var events: Range<Int>

    var halves: (Part, Part)? {
      guard events.count > 1, number < 1 << 62 else { return nil }
      let middle = events.lowerBound + events.count / 2
      return (
        Part(number: number * 2, events: events.lowerBound..<middle), Part(number: number * 2 + 1, events: middle..<events.upperBound)
      )
    }
    func id(in chunk: ChunkID) -> ChunkID { ChunkID(high: chunk.high, low: chunk.low &+ (number &- 1) &* 0x9e37_79b9_7f4a_7c15) }
  }

  /// One chunk's.
  struct Progress {
    fileprivate var halved: Set<UInt64> = []
    fileprivate var done: Set<UInt64> = []
    /// The smallest body that was refused: nothing as large need be tried.
    var refusedSize = Int.max
    /// Events that will not be delivered.
    var rejected: [Rejection] = []
    /// What the server said of the first of them.
    var firstRefusal: String?
    /// The server refused the whole: what it says of one part is said of that part.
    var isHalved: Bool { refusedSize < .max }

    mutating func halve(_ part: Part) { halved.insert(part.number) }
    mutating func finish(_ part: Part) {
      var number = part.number
      done.insert(number)
      // Two halves that are through make a whole.
      while number > 1, done.contains(number ^ 1) {
        done.remove(number)
        done.remove(number ^ 1)
        number /= 2
        halved.remove(number)
        done.insert(number)
      }
    }

    /// The part's events will not be delivered.
    mutating func refuse(_ part: Part, _ reason: String, _ description: String, status: Int?) {
      rejected += part.events.map { Rejection(index: $0, reason: reason, status: status) }
      firstRefusal = firstRefusal ?? description
      finish(part)
    }

    /// The next part to send, in the order of events; nil when the chunk is through.
    func next(of count: Int) -> Part? {
      var rest = [Part(number: 1, events: 0..<count)]
      while let part = rest.popLast() {
        if done.contains(part.number) { continue }
        guard halved.contains(part.number), let (first, second) = part.halves else { return part }
        rest.append(second)
        rest.append(first)
      }
      return nil
    }
  }

  /// More chunks than this are not remembered between attempts: their parts are sent again, under the same ids.
  private static let capacity = 1024
  private let chunks = Mutex<[ChunkID: Progress]>([:])

  func progress(_ chunk: ChunkID) -> Progress { chunks.withLock { $0.isEmpty ? nil : $0[chunk] } ?? Progress() }
  func keep(_ progress: Progress, of chunk: ChunkID) {
    if progress.isHalved { chunks.withLock { $0.count < Self.capacity || $0[chunk] != nil ? $0[chunk] = progress : () } }
  }
  func forget(_ chunk: ChunkID) { chunks.withLock { if !$0.isEmpty { _ = $0.removeValue(forKey: chunk) } } }

  /// The events of these numbers, in their batches.
  static func slice(_ batches: [EventBatch], _ events: Range<Int>) -> [EventBatch] {
    var result: [EventBatch] = []
    var first = 0
    for batch in batches {
      let range = max(events.lowerBound, first)..<max(max(events.lowerBound, first), min(events.upperBound, first + batch.count))
      if !range.isEmpty {
        let (from, to) = (range.lowerBound - first, range.upperBound - first)
        let head = to < batch.count ? batch.split(at: to).0 : batch
        result.append(from > 0 ? head.split(at: from).1 : head)
      }
      first += batch.count
    }
    return result
  }
}

extension WriteError {
  /// Why the destination will never take this; nil where it may.
  var refusal: String? {
    switch kind {
    case .discard(let reason): reason
    case .partial(let rejected): rejected.first?.reason
    case .retry, .cancelled: nil
    }
  }
}
