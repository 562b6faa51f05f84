import CAgg
import Glibc
import Synchronization

/// One thread that calls closures at their time; no sleeping task per chunk or connection. Idle, it costs nothing.
///
/// Deadlines are monotonic nanoseconds (`MonotonicTime`), so a stepped clock moves no timer.
public final class TimerQueue: Sendable {
  public struct Token: Hashable, Sendable { fileprivate let number: UInt64 }

  /// The pthread mutex protects everything in it.
  private final class Shared: @unchecked Sendable {
    let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    var entries: [(at: UInt64, number: UInt64, body: @Sendable () -> Void)] = []  // sorted, soonest last
    var next: UInt64 = 0
    var running = false
    init() {
      pthread_mutex_init(mutex, nil)
      var attributes = pthread_condattr_t()
      pthread_condattr_init(&attributes)
      pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
      pthread_cond_init(condition, &attributes)
    }
  }
  private let shared = Shared()
  public init() {}

  /// Calls `body` on the timer's thread at or soon after `at`; it must not block.
  @discardableResult
  public func schedule(at: MonotonicTime, _ body: @escaping @Sendable () -> Void) -> Token {
    let s = shared
    pthread_mutex_lock(s.mutex)
    defer { pthread_mutex_unlock(s.mutex) }
    s.next += 1
    var low = 0
    var high = s.entries.count
    while low < high {
      let middle = (low + high) / 2
      if s.entries[middle].at > at.nanoseconds { low = middle + 1 } else { high = middle }
    }
    s.entries.insert((at.nanoseconds, s.next, body), at: low)
    if !s.running {
      s.running = true
      var thread = pthread_t()
      let context = Unmanaged.passRetained(s)
      var attributes = pthread_attr_t()
      pthread_attr_init(&attributes)
      pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
      pthread_attr_setstacksize(&attributes, 256 << 10)
      let failed = pthread_create(&thread, &attributes, { argument in
        if let argument { TimerQueue.loop(Unmanaged<Shared>.fromOpaque(argument).takeRetainedValue()) }
        return nil
      }, context.toOpaque())
      pthread_attr_destroy(&attributes)
      precondition(failed == 0, "no thread can be started")
    } else if low == s.entries.count - 1 {
      pthread_cond_signal(s.condition)
    }
    return Token(number: s.next)
  }

  public func cancel(_ token: Token) {
    pthread_mutex_lock(shared.mutex)
    if let at = shared.entries.firstIndex(where: { $0.number == token.number }) { shared.entries.remove(at: at) }
    pthread_mutex_unlock(shared.mutex)
  }

  private static func loop(_ s: Shared) {
    agg_thread_name("agg-timer")
    pthread_mutex_lock(s.mutex)
    while true {
      guard let soonest = s.entries.last else {
        pthread_cond_wait(s.condition, s.mutex)
        continue
      }
      let now = MonotonicTime.now().nanoseconds
      if soonest.at <= now {
        s.entries.removeLast()
        pthread_mutex_unlock(s.mutex)
        soonest.body()
        pthread_mutex_lock(s.mutex)
        continue
      }
      var until = timespec(tv_sec: Int(soonest.at / 1_000_000_000), tv_nsec: Int(soonest.at % 1_000_000_000))
      pthread_cond_timedwait(s.condition, s.mutex, &until)
    }
  }
}

/// Nanoseconds of the monotonic clock: for intervals; wall time never is.
public struct MonotonicTime: Hashable, Sendable, Comparable {
  public var nanoseconds: UInt64
  public init(nanoseconds: UInt64) { self.nanoseconds = nanoseconds }
  public static func now() -> MonotonicTime {
    var t = timespec()
    clock_gettime(CLOCK_MONOTONIC, &t)
    return MonotonicTime(nanoseconds: UInt64(t.tv_sec) &* 1_000_000_000 &+ UInt64(t.tv_nsec))
  }
  public static func < (a: MonotonicTime, b: MonotonicTime) -> Bool { a.nanoseconds < b.nanoseconds }
  /// Saturates: a far deadline is "never".
  public func adding(nanoseconds n: Int64) -> MonotonicTime {
    if n < 0 { return MonotonicTime(nanoseconds: nanoseconds > n.magnitude ? nanoseconds - n.magnitude : 0) }
    let (sum, overflow) = nanoseconds.addingReportingOverflow(UInt64(n))
    return MonotonicTime(nanoseconds: overflow ? .max : sum)
  }
  /// Nanoseconds from `earlier` to this; negative when it is later.
  public func since(_ earlier: MonotonicTime) -> Int64 { Int64(truncatingIfNeeded: nanoseconds &- earlier.nanoseconds) }
}
