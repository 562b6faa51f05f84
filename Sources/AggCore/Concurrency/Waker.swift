import Synchronization

/// Lets tasks wait for "something changed", with a deadline. A wake without a waiter is remembered once.
public final class Waker: Sendable {
  private struct State {
    var pending = false
    /// How often all were woken.
    var rounds: UInt64 = 0
    var next: UInt64 = 0
    var waiters: [(number: UInt64, continuation: CheckedContinuation<Void, Never>)] = []
  }
  private let state = Mutex(State())
  private let timers: TimerQueue

  public init(_ timers: TimerQueue) { self.timers = timers }

  /// Resumes one waiter, or lets the next `wait` return at once.
  public func wakeOne() {
    let waiter = state.withLock { s -> CheckedContinuation<Void, Never>? in
      if s.waiters.isEmpty {
        s.pending = true
        return nil
      }
      return s.waiters.removeFirst().continuation
    }
    waiter?.resume()
  }

  public func wakeAll() {
    let waiters = state.withLock { s in
      let all = s.waiters
      s.waiters = []
      s.pending = true
      s.rounds &+= 1
      return all
    }
    for waiter in waiters { waiter.continuation.resume() }
  }

  /// For `wait(until:after:)`: taken before looking at what the wait is for.
  public var mark: UInt64 { state.withLock { $0.rounds } }

  /// Returns at `deadline` (nil: never), on a wake, or when the task is cancelled; at once where all were woken since `mark`, of which
  /// each of several tasks that are about to wait is told, while a remembered wake is only one's.
  public func wait(until deadline: MonotonicTime? = nil, after mark: UInt64? = nil) async {
    let number = state.withLock { s -> UInt64? in
      if let mark, s.rounds != mark { return nil }
      if s.pending {
        s.pending = false
        return nil
      }
      s.next += 1
      return s.next
    }
    guard let number else { return }
    var token: TimerQueue.Token?
    if let deadline { token = timers.schedule(at: deadline) { [weak self] in self?.resume(number) } }
    await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        let now = state.withLock { s -> Bool in
          if let mark, s.rounds != mark { return true }
          if s.pending || Task.isCancelled || (deadline.map { $0 <= MonotonicTime.now() } ?? false) {
            s.pending = false
            return true
          }
          s.waiters.append((number, continuation))
          return false
        }
        if now { continuation.resume() }
      }
    } onCancel: {
      resume(number)
    }
    if let token { timers.cancel(token) }
  }

  private func resume(_ number: UInt64) {
    let waiter = state.withLock { s -> CheckedContinuation<Void, Never>? in
      guard let at = s.waiters.firstIndex(where: { $0.number == number }) else { return nil }
      return s.waiters.remove(at: at).continuation
    }
    waiter?.resume()
  }
}
