import AggCore
import Synchronization

/// Counts what is told at most once in ten seconds.
final class QuietCount: Sendable {
  private struct State {
    var count = 0
    var next = MonotonicTime(nanoseconds: 0)
  }
  private let state = Mutex(State())

  /// How many there were since the last line, where it is time for one.
  func add(_ n: Int, now: MonotonicTime) -> Int? {
    state.withLock { state in
      state.count += n
      guard now >= state.next else { return nil }
      defer { state.count = 0 }
      state.next = now.adding(nanoseconds: 10_000_000_000)
      return state.count
    }
  }
}
