import AggCore
import Synchronization

/// Keeps a peer from filling the log: one line in ten seconds, which says how many there would have been.
final class LogThrottle: Sendable {
  private static let interval: Int64 = 10_000_000_000
  private struct State {
    var next = MonotonicTime(nanoseconds: 0)
    var suppressed = 0
  }
  private let state = Mutex(State())

  /// Warns, or counts the line.
  func warn(_ log: Log, _ message: @autoclosure () -> String) {
    let suppressed = state.withLock { state -> Int? in
      let now = MonotonicTime.now()
      guard state.next <= now else {
        state.suppressed += 1
        return nil
      }
      state.next = now.adding(nanoseconds: Self.interval)
      defer { state.suppressed = 0 }
      return state.suppressed
    }
    guard let suppressed else { return }
    log.warn(suppressed == 0 ? message() : "\(message()) (and \(suppressed) such lines before)")
  }
}
