import AggCore
import CAgg
import Glibc
import Synchronization

/// What the C library does with memory that was freed.
///
/// Blocks of up to some MiB come and go thousands of times a second. Given back to the system each time, as is the library's way, every
/// 4 KiB of the next block costs a page fault: a fifth of the CPU of the fastest rows. So it keeps them, and what is free is given back
/// when work ends, and once a minute. `memory_limit` is stricter (see MemoryBudget).
final class HeapMemory: Sendable {
  private static let interval: Int64 = 10_000_000_000
  /// Nanoseconds of CPU in `interval`: less is rest.
  private static let rest: Int64 = 100_000_000
  /// Less since the last time has freed nothing to speak of.
  private static let work: Int64 = 20_000_000
  /// Looks between two times under load.
  private static let patience = 6

  private struct State {
    var used: Int64 = 0
    var usedAtTrim: Int64 = 0
    var looks = 0
  }
  private let state = Mutex(State())
  private let timers: TimerQueue
  private let pool: BlockingPool

  init(_ timers: TimerQueue, _ pool: BlockingPool) {
    self.timers = timers
    self.pool = pool
  }

  /// Before anything large is allocated.
  static func keepFreed() {
    // The most that the library can keep in one piece, and more than a configuration's working set.
    mallopt(M_MMAP_THRESHOLD, 32 << 20)
    mallopt(M_TRIM_THRESHOLD, 256 << 20)
    // As many threads are at work at once; each arena keeps its own.
    mallopt(M_ARENA_MAX, CInt(max(2, sysconf(Int32(_SC_NPROCESSORS_ONLN)))))
  }

  /// Gives back what is free now.
  func release() { pool.run { _ = malloc_trim(0) } }

  /// For as long as the process lives; a look takes microseconds.
  func follow() {
    timers.schedule(at: .now().adding(nanoseconds: Self.interval)) { [self] in
      if isTime(Self.cpu()) { release() }
      follow()
    }
  }

  /// `used`: the CPU time of the process until now.
  private func isTime(_ used: Int64) -> Bool {
    state.withLock { state in
      let isAtRest = used - state.used < Self.rest
      state.used = used
      state.looks += 1
      guard used - state.usedAtTrim >= Self.work, isAtRest || state.looks >= Self.patience else { return false }
      (state.usedAtTrim, state.looks) = (used, 0)
      return true
    }
  }

  private static func cpu() -> Int64 {
    var time = timespec()
    return clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time) == 0 ? Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec) : 0
  }
}
