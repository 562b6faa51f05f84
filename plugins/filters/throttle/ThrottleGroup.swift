/// One group's rate: how many events of the current period it has let through, and its rate of the last second.
///
/// Pure: time is a parameter. Source: fluent-plugin-throttle 0.0.5, `filter`.
struct ThrottleGroup: Sendable {
  struct Rules: Sendable {
    /// Nanoseconds.
    var period: Int64
    var limit: Int
    /// nil: the next period begins anew whatever the rate is.
    var resetRate: Int?
    var warningDelay: Int64
  }
  enum Verdict { case within, over, overAndTold, backDown }

  /// Of the current period; one more than the limit when it is used up.
  private(set) var count = 0
  /// Which period, counted from 1970.
  private(set) var period: Int64
  private(set) var periodStart: Int64
  private(set) var rateCount = 0
  private(set) var rateStart: Int64
  private(set) var rate = 0
  private var lastWarning: Int64?
  /// Where a run keeps what it has counted here; meaningless to others.
  var run: UInt64 = 0
  var index = 0

  /// `now`: nanoseconds since 1970.
  init(_ rules: Rules, now: Int64) {
    period = now / rules.period
    periodStart = now
    rateStart = now
  }

  mutating func add(_ rules: Rules, now: Int64) -> Verdict {
    rateCount &+= 1
    let elapsed = now &- rateStart
    if elapsed >= 1_000_000_000 {
      rate = Self.perSecond(rateCount, elapsed)
      rateCount = 0
      rateStart = now
    }
    var verdict = Verdict.within
    if now / rules.period > period {
      if count > rules.limit, let resetRate = rules.resetRate {
        if rate >= resetRate { return over(rules, now) }
        verdict = .backDown
      }
      count = 0
      period = now / rules.period
      periodStart = now
    } else if count > rules.limit {
      return over(rules, now)
    }
    count &+= 1
    return count > rules.limit ? over(rules, now) : verdict
  }

  private mutating func over(_ rules: Rules, _ now: Int64) -> Verdict {
    if let last = lastWarning, now &- last < rules.warningDelay { return .over }
    lastWarning = now
    return .overAndTold
  }

  /// The larger of this period's rate and the last second's, for the log.
  func shownRate(now: Int64) -> Int { max(rate, Self.perSecond(count, max(now &- periodStart, 1))) }

  private static func perSecond(_ n: Int, _ nanoseconds: Int64) -> Int {
    let rate = (Double(n) * 1e9 / Double(max(nanoseconds, 1))).rounded()
    return rate < 1e15 ? Int(rate) : 1_000_000_000_000_000
  }

  /// What a batch has added, to be taken back when it is refused.
  struct Addition: Sendable {
    let key: [UInt8]
    private let period: Int64
    private let rateStart: Int64
    /// What was there before, of the period and the second that these are.
    private let countBefore: Int
    private let rateBefore: Int
    private var counted = 0
    private var seen = 0

    init(key: [UInt8], before: ThrottleGroup, after: ThrottleGroup) {
      self.key = key
      period = after.period
      rateStart = after.rateStart
      countBefore = before.period == after.period && before.periodStart == after.periodStart ? before.count : 0
      rateBefore = before.rateStart == after.rateStart ? before.rateCount : 0
      update(after)
    }
    mutating func update(_ after: ThrottleGroup) {
      counted = after.count &- countBefore
      seen = after.rateCount &- rateBefore
    }
    func takeBack(from group: inout ThrottleGroup) {
      if group.rateStart == rateStart { group.rateCount = max(0, group.rateCount &- seen) }
      if group.period == period { group.count = max(0, group.count &- counted) }
    }
  }
}
