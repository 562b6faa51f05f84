/// How long something took, counted in buckets of fixed bounds. A value: who shares one has a lock.
public struct LatencyHistogram: Sendable, Equatable {
  /// Upper bounds in seconds, ascending: from what a local write takes to what an outage of a day delays.
  public static let bounds: [Double] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 600, 3600, 21_600, 86_400]

  /// By bucket, not cumulative; the last is beyond all bounds. Empty while nothing was counted.
  public private(set) var buckets: [Int] = []
  public private(set) var count = 0
  /// Of all that was counted, in seconds.
  public private(set) var sum = 0.0

  public init() {}

  /// `n` things that took so many nanoseconds each; less than none is none.
  public mutating func add(_ n: Int = 1, nanoseconds: Int64) {
    if n <= 0 { return }
    let seconds = Double(max(0, nanoseconds)) / 1e9
    if buckets.isEmpty { buckets = [Int](repeating: 0, count: Self.bounds.count + 1) }
    var place = 0
    while place < Self.bounds.count, seconds > Self.bounds[place] { place += 1 }
    buckets[place] &+= n
    count &+= n
    sum += seconds * Double(n)
  }

  public mutating func add(_ other: LatencyHistogram) {
    if other.count == 0 { return }
    if buckets.isEmpty { buckets = [Int](repeating: 0, count: Self.bounds.count + 1) }
    for (place, n) in other.buckets.enumerated() { buckets[place] &+= n }
    count &+= other.count
    sum += other.sum
  }

  /// Each bound with what took no longer; the last bound is infinite.
  public var cumulative: [(bound: Double, count: Int)] {
    var total = 0
    return (Self.bounds + [.infinity]).enumerated().map { place, bound in
      total &+= buckets.isEmpty ? 0 : buckets[place]
      return (bound, total)
    }
  }
}
