import AggCore

/// How fast series that only grow have grown since they were read before. Holds one round's series.
struct CounterRates: Sendable {
  private struct Key: Hashable {
    var name: String
    var labels: MetricLabels
  }
  private var before: [Key: Double] = [:]
  private var now: [Key: Double] = [:]
  private var last: MonotonicTime?
  /// Between the two rounds.
  private var seconds = 0.0

  /// A round of readings begins.
  mutating func begin(_ time: MonotonicTime) {
    seconds = last.map { Double(time.since($0)) / 1e9 } ?? 0
    last = time
    before = now
    now = [:]
  }

  /// Per second; nil for the first reading of a series, and for one that has begun anew.
  mutating func rate(_ name: String, _ labels: MetricLabels, _ value: Double) -> Double? {
    let key = Key(name: name, labels: labels)
    now[key] = value
    guard seconds > 0, let earlier = before[key], value >= earlier else { return nil }
    return (value - earlier) / seconds
  }
}
