import Synchronization

/// Something that fails for a while, told once when it begins and once when it has ended, however often it is tried between.
///
/// What works now and then (small writes on a disk that is all but full) is one trouble: it has ended when something worked and
/// nothing failed for `quiet`.
public final class Trouble: Sendable {
  private struct State {
    var since: MonotonicTime?
    var last = MonotonicTime(nanoseconds: 0)
    var count = 0
  }
  public static let quiet: Int64 = 2_000_000_000
  private let log: Log
  private let isOn = Atomic(false)
  private let state = Mutex(State())

  public init(_ log: Log) { self.log = log }

  /// It failed; the first time says why.
  public func failed(now: MonotonicTime = .now(), _ message: @autoclosure () -> String) {
    let isNew = state.withLock { s in
      defer {
        s.last = now
        s.count += 1
      }
      if s.since != nil { return false }
      s.since = now
      return true
    }
    isOn.store(true, ordering: .relaxed)
    if isNew { log.error(message()) }
  }

  /// It worked. One load where there is no trouble.
  @inline(__always) public func worked(now: @autoclosure () -> MonotonicTime = .now(), _ message: @autoclosure () -> String) {
    if isOn.load(ordering: .relaxed) { ended(now(), message) }
  }
  func ended(_ now: MonotonicTime, _ message: () -> String) {
    let told = state.withLock { s -> (count: Int, seconds: Int64)? in
      guard let since = s.since, now.since(s.last) >= Self.quiet else { return nil }
      defer { s = State() }
      isOn.store(false, ordering: .relaxed)
      return (s.count, s.last.since(since) / 1_000_000_000)
    }
    if let told { log.info("\(message()) after \(told.count) failed attempts in \(told.seconds) s") }
  }
}
