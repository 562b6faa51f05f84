import Synchronization

/// `<system> memory_limit`: over it inputs wait, until a tenth of it is free again.
///
/// Asked once a batch and once a read of a connection; while there is room that is two relaxed loads. Outputs never wait: they are
/// what makes room. One who waits is let through now and then all the same, so that nothing stands still for ever
/// when what fills the memory is half of something that has to become whole.
public final class MemoryBudget: Sendable {
  private struct State {
    var isWatching = false
    var looks = 0
    var grants = 0
  }
  private static let interval: Int64 = 20_000_000
  /// Looks between two who are let through all the same.
  private static let patience = 10

  private let maximum = Atomic<Int>(.max)
  private let suspended = Atomic<Bool>(false)
  private let suspensions = Atomic<Int>(0)
  private let state = Mutex(State())
  private let waiters: Waker
  private let timers: TimerQueue
  private let log: Mutex<Log?> = Mutex(nil)

  public init(_ timers: TimerQueue) {
    self.timers = timers
    waiters = Waker(timers)
  }

  /// Bytes; `Int.max` for no limit. May be called while inputs run.
  public func setLimit(_ bytes: Int, log: Log) {
    self.log.withLock { $0 = log }
    maximum.store(bytes, ordering: .relaxed)
  }
  public var limit: Int? {
    let bytes = maximum.load(ordering: .relaxed)
    return bytes == .max ? nil : bytes
  }
  public var isSuspended: Bool { suspended.load(ordering: .relaxed) }
  /// How often inputs were suspended.
  public var suspensionCount: Int { suspensions.load(ordering: .relaxed) }

  /// Whether an input may take more in; where not, it waits, or refuses.
  public func admits() -> Bool {
    if !suspended.load(ordering: .relaxed), HeldMemory.current < maximum.load(ordering: .relaxed) { return true }
    return suspend()
  }

  /// Returns when there is room, or when the task is cancelled: what it has in hand is then taken in.
  public func wait() async {
    while !Task.isCancelled, !admits() {
      await waiters.wait()
      let isGranted = state.withLock { state in
        guard state.grants > 0 else { return false }
        state.grants -= 1
        return true
      }
      if isGranted { return }
    }
  }

  /// False, unless there is room meanwhile.
  private func suspend() -> Bool {
    let isFirst = suspended.exchange(true, ordering: .relaxed) == false
    if isFirst {
      suspensions.wrappingAdd(1, ordering: .relaxed)
      let (held, limit) = (HeldMemory.current, maximum.load(ordering: .relaxed))
      log.withLock { $0 }?.warn("memory_limit is reached (\(held >> 20) of \(limit >> 20) MiB are held): inputs wait")
    }
    let begins = state.withLock { state in
      defer { state.isWatching = true }
      return !state.isWatching
    }
    if begins { watch() }
    return false
  }

  private func watch() { timers.schedule(at: .now().adding(nanoseconds: Self.interval)) { [weak self] in self?.look() } }

  private func look() {
    let limit = maximum.load(ordering: .relaxed)
    if limit == .max || HeldMemory.current < limit - limit / 10 {
      state.withLock { $0 = State() }
      suspended.store(false, ordering: .relaxed)
      log.withLock { $0 }?.info("there is memory again: inputs go on")
      return waiters.wakeAll()
    }
    let grants = state.withLock { state in
      state.looks += 1
      guard state.looks % Self.patience == 0 else { return false }
      state.grants = 1
      return true
    }
    if grants { waiters.wakeOne() }
    watch()
  }
}
