import AggCore
import Synchronization

/// Log lines about what peers send: a few at once, then one in ten seconds that says how many were left out.
///
/// A peer that sends garbage must not fill the log.
final class QuietLog: Sendable {
  private struct State {
    var left = QuietLog.burst
    var windowStart = MonotonicTime.now()
    var suppressed = 0
  }
  private static let burst = 5
  private static let window: Int64 = 10_000_000_000
  private let log: Log
  private let state = Mutex(State())

  init(_ log: Log) { self.log = log }

  func warn(_ message: @autoclosure () -> String) {
    if let note = admit() { log.warn(message() + note) }
  }
  func error(_ message: @autoclosure () -> String) {
    if let note = admit() { log.error(message() + note) }
  }

  /// What to add to the line; nil when it is left out.
  private func admit() -> String? {
    state.withLock { state in
      let now = MonotonicTime.now()
      if now >= state.windowStart.adding(nanoseconds: Self.window) {
        state.windowStart = now
        state.left = Self.burst
      }
      guard state.left > 0 else {
        state.suppressed += 1
        return nil
      }
      state.left -= 1
      defer { state.suppressed = 0 }
      return state.suppressed == 0 ? "" : " (\(state.suppressed) such lines were left out)"
    }
  }

  /// The start of what a peer sent, for a log line.
  static func excerpt(_ bytes: UnsafeRawBufferPointer) -> String { String(decoding: bytes.prefix(200), as: UTF8.self) }
}
