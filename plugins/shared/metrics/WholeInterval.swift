import AggCore

/// The whole multiples of an interval since 1970, at which metrics are read.
enum WholeInterval {
  /// The next one, and how long until then in nanoseconds.
  static func next(after now: EventTime, every interval: Int64) -> (time: EventTime, wait: Int64) {
    let (whole, overflow) = now.seconds.multipliedReportingOverflow(by: 1_000_000_000)
    if overflow { return (now, interval) }
    let nanoseconds = whole &+ Int64(now.nanoseconds)
    let wait = interval &- nanoseconds % interval
    let at = nanoseconds &+ wait
    return (EventTime(seconds: at / 1_000_000_000, nanoseconds: UInt32(clamping: at % 1_000_000_000)), wait)
  }
}
