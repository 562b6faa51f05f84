import Glibc

/// When an event happened: seconds since 1970 and nanoseconds, as the forward protocol's EventTime.
///
/// Seconds are kept signed and wide so that arithmetic never traps; the wire form clamps to 32 bits unsigned.
public struct EventTime: Hashable, Sendable, Comparable {
  public var seconds: Int64
  /// 0 ..< 1_000_000_000.
  public var nanoseconds: UInt32

  @inlinable public init(seconds: Int64, nanoseconds: UInt32 = 0) {
    self.seconds = seconds
    self.nanoseconds = nanoseconds
  }

  /// Fluentd truncates a float towards its nanosecond; NaN and out-of-range values give the epoch.
  public init(_ value: Double) {
    guard value.isFinite, value.magnitude < 9e15 else { self.init(seconds: 0); return }
    let whole = value.rounded(.down)
    let fraction = ((value - whole) * 1e9).rounded(.down)
    self.init(seconds: Int64(whole), nanoseconds: UInt32(min(max(fraction, 0), 999_999_999)))
  }

  public static func now() -> EventTime {
    var t = timespec()
    clock_gettime(CLOCK_REALTIME, &t)
    return EventTime(seconds: Int64(t.tv_sec), nanoseconds: UInt32(truncatingIfNeeded: t.tv_nsec))
  }

  public var doubleValue: Double { Double(seconds) + Double(nanoseconds) / 1e9 }

  @inlinable public static func < (a: EventTime, b: EventTime) -> Bool {
    (a.seconds, a.nanoseconds) < (b.seconds, b.nanoseconds)
  }
}
