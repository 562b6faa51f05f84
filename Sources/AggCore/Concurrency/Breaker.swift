/// Lets attempts through one at a time while their destination fails: of an output, and of each server of out_forward.
///
/// Pure: time is an argument, and who shares it holds a lock.
///
///     closed --(a failure)--> open --(its wait is over: one probe)--> half open
///       ^--------------(a success, anywhere)-------------'  '--(the probe failed)--> open
///
/// Attempts that began before the first failure may still end: what they say counts, but is no further step. One that began before
/// the last success closed it says nothing of the destination as it is now: its failure does not open it again.
public struct Breaker: Sendable {
  public enum State: String, Sendable {
    case closed, open
    case halfOpen = "half_open"
  }
  /// What an attempt is; told back with its outcome.
  public struct Permit: Sendable {
    public let isProbe: Bool
    /// How often the breaker had closed when the attempt began.
    fileprivate let era: Int
  }
  public enum Answer: Sendable {
    case go(Permit)
    /// Ask again then; nil: when the probe that is under way has ended.
    case wait(until: MonotonicTime?)
  }

  public private(set) var state = State.closed
  public private(set) var nextProbe = MonotonicTime(nanoseconds: 0)
  /// When it opened; nil while it is closed.
  public private(set) var opened: MonotonicTime?
  /// Attempts that failed since it opened.
  public private(set) var failures = 0
  /// How often it closed.
  private var era = 0

  public init() {}

  /// May an attempt begin? With `hurrying` a wait is over at once; there is still one probe at a time.
  public mutating func ask(now: MonotonicTime, hurrying: Bool = false) -> Answer {
    switch state {
    case .closed: return .go(Permit(isProbe: false, era: era))
    case .halfOpen: return .wait(until: nil)
    case .open:
      guard hurrying || nextProbe <= now else { return .wait(until: nextProbe) }
      state = .halfOpen
      return .go(Permit(isProbe: true, era: era))
    }
  }

  /// Whether a failure of this attempt is a step of the retry plan: the first one, or a probe's.
  public func isStep(_ permit: Permit) -> Bool { !isStale(permit) && (permit.isProbe || state == .closed) }

  /// Whether the attempt began before the last success closed it.
  public func isStale(_ permit: Permit) -> Bool { permit.era != era }

  /// True when it opened by this failure. The next probe is not before `next`.
  public mutating func failed(_ permit: Permit, now: MonotonicTime, next: MonotonicTime) -> Bool {
    if isStale(permit) { return false }
    failures += 1
    let isFirst = opened == nil
    if isFirst { opened = now }
    if state == .closed || permit.isProbe {
      state = .open
      nextProbe = next
    } else if state == .open {
      nextProbe = max(nextProbe, next)
    }
    return isFirst
  }

  /// The destination took something. Returns how many attempts had failed when this closes it, else nil.
  public mutating func succeeded() -> Int? {
    guard opened != nil else { return nil }
    let (failures, next) = (failures, era &+ 1)
    self = Breaker()
    era = next
    return failures
  }

  /// The attempt says nothing of the destination: it was broken off, or its chunk was at fault.
  public mutating func gaveBack(_ permit: Permit) { if permit.isProbe, !isStale(permit), state == .halfOpen { state = .open } }

  /// A probe may begin now.
  public mutating func hurry() { nextProbe = MonotonicTime(nanoseconds: 0) }
}
