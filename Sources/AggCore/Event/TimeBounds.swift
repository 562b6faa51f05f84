/// Between which seconds since 1970 the times of a batch's events lie; none is outside, though all may lie closer together.
///
/// Known where the events were written or checked one by one anyway, so that nobody has to go through them again to find their time slice.
public struct TimeBounds: Sendable, Hashable {
  public private(set) var low: UInt32
  public private(set) var high: UInt32
  @usableFromInline init(unchecked low: UInt32, _ high: UInt32) { (self.low, self.high) = (low, high) }

  /// Of no event.
  public static let none = TimeBounds(unchecked: .max, 0)
  /// Nothing is known, as of events with times before 1970.
  public static let unknown = TimeBounds(unchecked: 0, .max)

  public var isKnown: Bool { low <= high && !(low == 0 && high == .max) }
  @inlinable @inline(__always) public mutating func add(_ seconds: UInt32) { set(min(low, seconds), max(high, seconds)) }
  @usableFromInline @inline(__always) mutating func set(_ low: UInt32, _ high: UInt32) { (self.low, self.high) = (low, high) }
  public mutating func add(_ other: TimeBounds) { set(min(low, other.low), max(high, other.high)) }
}
