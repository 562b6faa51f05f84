import AggCore
import Crypto
import Synchronization

/// Spreads the posts of many hosts over the minute; the first one, late ones and those of the stop go at once.
package final class PostPace: Sendable {
  private let waker: Waker
  private let state = Mutex((isFirst: true, isStopping: false))

  init(_ timers: TimerQueue) { waker = Waker(timers) }

  /// The second of the minute that belongs to a host; source: mackerel-agent's `delayByHost`.
  package static func offset(of id: String) -> Int64 {
    var last: UInt8 = 0
    for byte in Insecure.SHA1.hash(data: Array(id.utf8)) { last = byte }
    return Int64(last) % 60
  }

  /// How many seconds to wait at `now` for points of which the newest is of `newest`.
  package static func delay(offset: Int64, now: Int64, newest: Int64) -> Int64 {
    let elapsed = ((now % 60) + 60) % 60
    guard now &- newest < 60, offset > elapsed else { return 0 }
    return offset - elapsed
  }

  func wait(_ offset: Int64, newest: Int64) async {
    let goes = state.withLock { s in
      defer { s.isFirst = false }
      return s.isFirst || s.isStopping
    }
    if goes { return }
    let delay = Self.delay(offset: offset, now: EventTime.now().seconds, newest: newest)
    let until = MonotonicTime.now().adding(nanoseconds: delay &* 1_000_000_000)
    while MonotonicTime.now() < until, !Task.isCancelled, !state.withLock({ $0.isStopping }) { await waker.wait(until: until) }
  }

  func stop() {
    state.withLock { $0.isStopping = true }
    waker.wakeAll()
  }
}
