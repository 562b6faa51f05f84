public import AggCore

/// When a failing output is tried again, and when it is given up. Pure: time and chance are arguments.
///
/// 17 steps of the default doubling take 72 hours.
public struct RetryPlan: Sendable {
  public struct Policy: Sendable {
    public var exponential = true
    public var wait: Int64 = 1_000_000_000
    public var base = 2.0
    public var maximumInterval: Int64?
    public var timeout: Int64 = 72 * 3600 * 1_000_000_000
    public var maximumTimes: Int?
    public var forever = false
    public var randomize = true
    public var hasSecondary = false
    public var secondaryThreshold = 0.8
    public init() {}
  }
  public enum Verdict: Equatable, Sendable { case retry(at: MonotonicTime), giveUp }

  private let policy: Policy
  public let started: MonotonicTime
  public private(set) var steps = 0
  /// Chunks go to the secondary from here on.
  public private(set) var usesSecondary = false
  private var secondarySteps = 0
  private var reachedTimeout = false

  public init(_ policy: Policy, now: MonotonicTime) {
    self.policy = policy
    started = now
  }

  /// Notes a failure. `chance` is uniform in 0 ..< 1.
  public mutating func failed(now: MonotonicTime, chance: Double, atLeast after: Int64? = nil) -> Verdict {
    steps += 1
    if policy.forever { return .retry(at: now.adding(nanoseconds: max(interval(steps - 1, chance), after ?? 0))) }
    let deadline = started.adding(nanoseconds: policy.timeout)
    if reachedTimeout { return .giveUp }
    if policy.hasSecondary, !usesSecondary, now >= secondaryAt {
      usesSecondary = true
      secondarySteps = steps
    }
    if let most = policy.maximumTimes, steps > most { return .giveUp }
    let exponent = usesSecondary ? steps - secondarySteps : steps - 1
    var next = now.adding(nanoseconds: max(interval(exponent, chance), after ?? 0))
    if policy.hasSecondary, !usesSecondary { next = min(next, max(secondaryAt, now)) }
    if next >= deadline {
      reachedTimeout = true
      next = max(deadline, now)
    }
    return .retry(at: next)
  }

  /// Whether the next attempt is the secondary's.
  public mutating func nextIsSecondary(now: MonotonicTime) -> Bool {
    if policy.hasSecondary, !policy.forever, !usesSecondary, now >= secondaryAt {
      usesSecondary = true
      secondarySteps = steps
    }
    return usesSecondary
  }

  private var secondaryAt: MonotonicTime {
    var longest = Double(policy.timeout)
    if let most = policy.maximumTimes {
      var total = 0.0
      for i in 0..<min(max(most, 0), 64) { total += rawInterval(i) }
      longest = min(longest, total)
    }
    return started.adding(nanoseconds: Int64(clamping: longest * policy.secondaryThreshold))
  }
  private func rawInterval(_ n: Int) -> Double {
    let wait = Double(policy.wait)
    guard policy.exponential else { return wait }
    var value = wait
    for _ in 0..<min(max(n, 0), 64) { value *= policy.base }
    return min(value, policy.maximumInterval.map(Double.init) ?? 1e18)
  }
  private func interval(_ n: Int, _ chance: Double) -> Int64 {
    let value = rawInterval(n)
    return Int64(clamping: policy.randomize ? value + value * 0.125 * (2 * chance - 1) : value)
  }
}

extension Int64 {
  /// A float as nanoseconds, without a trap on what does not fit.
  init(clamping value: Double) { self = value.isNaN ? 0 : value >= 9.2e18 ? .max : value <= -9.2e18 ? .min : Int64(value) }
}
