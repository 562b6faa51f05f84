package import AggCore
import Synchronization

/// How far one followed file is read and since when the rest waits; written by in_tail once a block, read by whoever shows it.
final class TailLag: Sendable {
  private let clock = Mutex(LagClock())

  /// The file has so many bytes now.
  func look(size: Int, now: MonotonicTime = .now()) { clock.withLock { $0.look(size: size, now: now) } }
  /// Everything before `position` is stored.
  func moved(to position: Int) { clock.withLock { $0.moved(to: position) } }
  var position: Int { clock.withLock { $0.position } }
  var size: Int { clock.withLock { max($0.size, $0.position) } }
  /// Bytes that are not stored, and seconds since the first of them was seen; 0 where there are none.
  func lag(now: MonotonicTime) -> (bytes: Int, seconds: Double) { clock.withLock { ($0.bytes, $0.seconds(now)) } }
}

/// Which bytes of a file were there at which time, in bounded room.
package struct LagClock: Sendable {
  /// Bytes before `end`, and after the one before, were first seen at `at`.
  private struct Seen {
    var end: Int
    var at: MonotonicTime
  }
  private static let limit = 16
  package private(set) var position = 0
  package private(set) var size = 0
  private var seen: [Seen] = []
  package init() {}

  package mutating func look(size: Int, now: MonotonicTime) {
    self.size = size
    // Truncated: what was beyond is not there.
    while let last = seen.last, last.end > size {
      let start = seen.count > 1 ? seen[seen.count - 2].end : position
      if start < size {
        seen[seen.count - 1].end = size
        break
      }
      seen.removeLast()
    }
    guard size > max(position, seen.last?.end ?? 0) else { return }
    if seen.count == Self.limit {
      // The earlier time counts for both: a lag is never told too short.
      seen = stride(from: 0, to: Self.limit, by: 2).map { Seen(end: seen[$0 + 1].end, at: seen[$0].at) }
    }
    seen.append(Seen(end: size, at: now))
  }

  package mutating func moved(to position: Int) {
    // From its head on: it is another file now.
    if position < self.position { seen = [] }
    self.position = position
    let past = seen.prefix { $0.end <= position }.count
    if past > 0 { seen.removeFirst(past) }
  }

  package var bytes: Int { max(0, size - position) }
  package func seconds(_ now: MonotonicTime) -> Double {
    guard bytes > 0, let first = seen.first else { return 0 }
    return Double(max(0, now.since(first.at))) / 1e9
  }
}
