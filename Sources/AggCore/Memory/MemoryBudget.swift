import CAgg
import Synchronization

/// `<system> memory_limit`: over it inputs read no more, until a tenth of it is free again.
///
/// Asked once a read; while there is room that is two relaxed loads. What was read is always stored, and outputs never wait: they are what
/// makes room. When half-read messages alone fill the memory nobody could go on: then one reader at a time may, until its message is whole.
public final class MemoryBudget: Sendable {
  private struct State {
    var isWatching = false
    /// The least that was held at a look, and when it became less than before by a hundredth of the limit.
    var least = Int.max
    var lastFreed = MonotonicTime(nanoseconds: 0)
    /// The reader that goes on over the limit, and when it last did.
    var favoured: ObjectIdentifier?
    var lastRead = MonotonicTime(nanoseconds: 0)
    /// The next one that is woken is favoured.
    var isChoosing = false
  }
  private static let interval: Int64 = 20_000_000
  /// Nothing was freed and nobody stores for this long: it stands still.
  private static let patience: Int64 = 250_000_000

  private let maximum = Atomic<Int>(.max)
  private let suspended = Atomic<Bool>(false)
  private let suspensions = Atomic<Int>(0)
  private let storing = Atomic<Int>(0)
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
    if bytes != .max { agg_return_memory_early() }
    maximum.store(bytes, ordering: .relaxed)
  }
  public var limit: Int? {
    let bytes = maximum.load(ordering: .relaxed)
    return bytes == .max ? nil : bytes
  }
  public var isSuspended: Bool { suspended.load(ordering: .relaxed) }
  /// How often inputs were suspended.
  public var suspensionCount: Int { suspensions.load(ordering: .relaxed) }

  /// An input stores a batch: what makes room may be behind that, not behind a reader.
  public func beginStoring() { storing.wrappingAdd(1, ordering: .relaxed) }
  public func endStoring() { storing.wrappingSubtract(1, ordering: .relaxed) }

  /// Whether more may be read in; where not, the reader waits, or refuses.
  public func admits() -> Bool {
    if !suspended.load(ordering: .relaxed), HeldMemory.current < maximum.load(ordering: .relaxed) { return true }
    suspend()
    return false
  }

  /// Returns when `reader` may read: when there is room, when it is favoured, or when the task is cancelled.
  public func wait(_ reader: ObjectIdentifier) async {
    while !Task.isCancelled, !admits(), !isFavoured(reader) {
      await waiters.wait()
      state.withLock { state in
        guard state.isChoosing else { return }
        state.isChoosing = false
        state.favoured = reader
      }
    }
  }

  private func isFavoured(_ reader: ObjectIdentifier) -> Bool {
    state.withLock { state in
      guard state.favoured == reader else { return false }
      state.lastRead = .now()
      return true
    }
  }

  private func suspend() {
    if !suspended.exchange(true, ordering: .relaxed) {
      suspensions.wrappingAdd(1, ordering: .relaxed)
      let (held, limit) = (HeldMemory.current, maximum.load(ordering: .relaxed))
      log.withLock { $0 }?.warn("memory_limit is reached (\(held >> 20) of \(limit >> 20) MiB are held): inputs wait")
    }
    let begins = state.withLock { state in
      if state.isWatching { return false }
      state = State(isWatching: true, least: HeldMemory.current, lastFreed: .now())
      return true
    }
    if begins { watch() }
  }

  private func watch() { timers.schedule(at: .now().adding(nanoseconds: Self.interval)) { [weak self] in self?.look() } }

  private func look() {
    let (held, limit) = (HeldMemory.current, maximum.load(ordering: .relaxed))
    if limit == .max || held < limit - limit / 10 {
      state.withLock { $0 = State() }
      suspended.store(false, ordering: .relaxed)
      log.withLock { $0 }?.info("there is memory again: inputs go on")
      return waiters.wakeAll()
    }
    let isStoring = storing.load(ordering: .relaxed) > 0
    let chooses = state.withLock { state in
      let now = MonotonicTime.now()
      if isStoring { state.lastFreed = now }
      if held < state.least - limit / 100 { (state.least, state.lastFreed) = (held, now) }
      guard now.since(state.lastFreed) > Self.patience, now.since(state.lastRead) > Self.patience else { return false }
      state.isChoosing = true
      return true
    }
    if chooses { waiters.wakeOne() }
    watch()
  }
}
