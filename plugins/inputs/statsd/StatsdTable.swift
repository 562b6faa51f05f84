public import AggCore

/// What statsd clients sent, by series. Not for several tasks at once.
public struct StatsdTable: ~Copyable, Sendable {
  /// Values kept of one timer for its percentiles in one interval; of more, a random choice.
  static let sampleLimit = 1024
  /// Members kept of one set in one interval.
  static let memberLimit = 65_536
  static let labelLimit = 64

  private struct Series {
    let name: String
    let kind: StatsdLine.Kind
    let labels: MetricLabels
    let pairs: [(name: String, value: String)]
    var updated: MonotonicTime
    /// Counter: the total since the series began. Gauge: the value. Timer: the sum of all values.
    var total = 0.0
    /// Timer: values since the series began, each counted as often as its sample rate says.
    var count = 0.0
    var changed = false
    /// Timer: values of this interval.
    var values: [Double] = []
    var seen = 0
    var low = Double.infinity
    var high = -Double.infinity
    var members: Set<[UInt8]> = []
  }
  private var keys = ByteKeyTable()
  private var series: [Series] = []
  private let limit: Int
  private let expiry: Int64
  private let common: [(name: String, value: String)]
  private var key = ByteWriter(capacity: 512)
  private var random = SystemRandomNumberGenerator()

  public init(limit: Int, expiry: Int64, common: [(String, String)]) {
    self.limit = limit
    self.expiry = expiry
    self.common = common.map { (name: $0.0, value: $0.1) }
  }

  var isEmpty: Bool { series.isEmpty }

  /// What came of a block of lines.
  public struct Outcome: Sendable {
    public var rejected = 0
    /// Why the first one was, and its beginning.
    public var problem: String?
    /// Sound lines whose series is over the limit.
    public var refused = 0
  }

  /// Takes the lines of a datagram or a stream.
  public mutating func add(lines: UnsafeRawBufferPointer, now: MonotonicTime) -> Outcome {
    var outcome = Outcome()
    for line in lines.split(separator: 0x0a) {
      let line = UnsafeRawBufferPointer(rebasing: line).chomped
      if line.isEmpty { continue }
      do throws(StatsdLine.Problem) { if try !add(try StatsdLine(line), now: now) { outcome.refused += 1 } } catch {
        outcome.rejected += 1
        if outcome.problem == nil { outcome.problem = "\(error.what): \(QuietLog.excerpt(line))" }
      }
    }
    return outcome
  }

  /// False where the series is over the limit.
  private mutating func add(_ line: StatsdLine, now: MonotonicTime) throws(StatsdLine.Problem) -> Bool {
    // All values first: a line counts whole or not at all.
    if line.kind != .set {
      for value in line.values.split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false)
      where Self.number(value) == nil {
        throw StatsdLine.Problem(what: "the value is no number")
      }
    }
    guard let place = place(line, now) else { return false }
    series[place].updated = now
    series[place].changed = true
    for value in line.values.split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false) {
      switch line.kind {
      case .counter: series[place].total += (Self.number(value) ?? 0) / line.rate
      case .gauge:
        let number = Self.number(value) ?? 0
        // A sign makes it a change.
        if value.first == UInt8(ascii: "+") || value.first == UInt8(ascii: "-") {
          series[place].total += number
        } else {
          series[place].total = number
        }
      case .timer: time(Self.number(value) ?? 0, line.rate, place)
      case .set: if series[place].members.count < Self.memberLimit { series[place].members.insert(Array(value.prefix(256))) }
      }
    }
    return true
  }

  private mutating func time(_ value: Double, _ rate: Double, _ place: Int) {
    series[place].total += value / rate
    series[place].count += 1 / rate
    series[place].low = min(series[place].low, value)
    series[place].high = max(series[place].high, value)
    series[place].seen += 1
    if series[place].values.count < Self.sampleLimit {
      series[place].values.append(value)
    } else {
      let at = Int.random(in: 0..<series[place].seen, using: &random)
      if at < Self.sampleLimit { series[place].values[at] = value }
    }
  }

  private mutating func place(_ line: StatsdLine, _ now: MonotonicTime) -> Int? {
    key.removeAll()
    key.append(line.kind == .counter ? 0 : line.kind == .gauge ? 1 : line.kind == .timer ? 2 : 3 as UInt8)
    key.putString(line.name)
    if let tags = line.tags { key.append(tags) }
    if let known = keys.find(key.bytes) { return known }
    if series.count >= limit { forget(now) }
    if series.count >= limit { return nil }
    let own = line.labels(limit: Self.labelLimit)
    let pairs = common.filter { pair in !own.contains { $0.name == pair.name } } + own
    series.append(
      Series(
        name: String(decoding: line.name, as: UTF8.self), kind: line.kind, labels: MetricLabels(pairs), pairs: pairs, updated: now
      ))
    return keys.insert(key.bytes).index
  }

  private static func number(_ text: Slice<UnsafeRawBufferPointer>) -> Double? {
    guard text.count <= 64, let value = Double(String(decoding: text, as: UTF8.self)), value.isFinite else { return nil }
    return value
  }

  /// Drops the series that nobody sent for `expiry`.
  private mutating func forget(_ now: MonotonicTime) {
    guard series.contains(where: { now.since($0.updated) >= expiry }) else { return }
    var kept = ByteKeyTable()
    var left: [Series] = []
    for (index, one) in series.enumerated() where now.since(one.updated) < expiry {
      _ = keys.withKey(index) { kept.insert($0) }
      left.append(one)
    }
    keys = kept
    series = left
  }

  /// The figures of the interval that ends now; timers and sets begin anew, counters and gauges go on.
  public mutating func flush(_ tag: Tag, at time: EventTime, now: MonotonicTime, percentiles: [Double]) -> EventBatch {
    forget(now)
    var writer = MetricWriter(capacity: 128 * series.count + 1024)
    for index in series.indices {
      let one = series[index]
      switch one.kind {
      case .counter: writer.add(one.name, one.total, .counter, one.labels, at: time)
      case .gauge: writer.add(one.name, one.total, .gauge, one.labels, at: time)
      case .set: writer.add(one.name, Int64(one.members.count), .gauge, one.labels, at: time)
      case .timer:
        let sorted = one.values.sorted()
        for percentile in percentiles {
          guard let value = Self.percentile(percentile, of: sorted) else { continue }
          let quantile = ExpositionText.number(percentile / 100)
          writer.add(one.name, value, .summary, MetricLabels(one.pairs + [(name: "quantile", value: quantile)]), at: time)
        }
        writer.add(one.name + "_sum", one.total, .summary, one.labels, at: time)
        writer.add(one.name + "_count", one.count.rounded(), .summary, one.labels, at: time)
        if one.changed {
          writer.add(one.name + "_min", one.low, .gauge, one.labels, at: time)
          writer.add(one.name + "_max", one.high, .gauge, one.labels, at: time)
        }
      }
      series[index].changed = false
      series[index].values.removeAll(keepingCapacity: true)
      series[index].members.removeAll()
      series[index].seen = 0
      (series[index].low, series[index].high) = (.infinity, -.infinity)
    }
    return writer.finish(tag: tag)
  }

  /// The nearest rank: the smallest value that `percentile` percent of the values do not exceed.
  static func percentile(_ percentile: Double, of sorted: [Double]) -> Double? {
    if sorted.isEmpty { return nil }
    let rank = (percentile / 100 * Double(sorted.count)).rounded(.up)
    return sorted[min(max(Int(rank) - 1, 0), sorted.count - 1)]
  }
}
