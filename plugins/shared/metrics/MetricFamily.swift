import AggCore
import Synchronization

/// One metric of the registry with all its label sets. May be used by several tasks at once; one lock a batch.
final class MetricFamily: Sendable {
  /// What makes two declarations the same metric.
  struct Shape: Sendable, Equatable {
    var name: String
    var kind: MetricKind
    var help: String
    var labels: [String]
    /// Upper bounds of a histogram, ascending, without +Inf.
    var buckets: [Double] = []
  }
  struct Series: Sendable {
    /// Counter and gauge: the value. Histogram and summary: the sum.
    var value = 0.0
    var count = 0
    /// By bucket, not cumulative; the last is +Inf.
    var buckets: [Int] = []
    var updated: MonotonicTime
  }
  private struct State {
    /// Label values, as MessagePack strings one after the other.
    var keys = ByteKeyTable()
    var series: [Series] = []
    var limit: Int
    /// Nanoseconds after which a label set that nothing counts any more is forgotten.
    var retention: Int64?
    var refused = 0
  }

  let shape: Shape
  private let state: Mutex<State>

  init(_ shape: Shape, limit: Int, retention: Int64?) {
    self.shape = shape
    state = Mutex(State(limit: limit, retention: retention))
  }

  /// Limits may change with a reload; what was counted stays.
  func configure(limit: Int, retention: Int64?) {
    state.withLock {
      $0.limit = limit
      $0.retention = retention
    }
  }

  /// Observations of label sets over the limit, since the start.
  var refused: Int { state.withLock { $0.refused } }

  /// Adds what one batch tallied; returns how many observations were refused since their label sets are over the limit.
  @discardableResult func apply(_ tally: MetricTally, now: MonotonicTime = .now()) -> Int {
    state.withLock { state in
      var refused = 0
      for index in 0..<tally.keys.count {
        let entry = tally.entries[index]
        guard let place = tally.keys.withKey(index, { place(of: $0, &state, now) }) else {
          refused += entry.count
          continue
        }
        state.series[place].updated = now
        switch shape.kind {
        case .gauge, .untyped: state.series[place].value = entry.last
        case .counter: state.series[place].value += entry.sum
        case .summary, .histogram:
          state.series[place].value += entry.sum
          state.series[place].count &+= entry.count
          for (bucket, n) in tally.buckets(index).enumerated() { state.series[place].buckets[bucket] &+= n }
        }
      }
      state.refused &+= refused
      return refused
    }
  }

  /// Makes a label set show before anything counts it.
  func initialize(_ values: [String]) {
    var key = ByteWriter(capacity: 128)
    for value in values { key.putString(value) }
    state.withLock { _ = place(of: key.bytes, &$0, .now()) }
  }

  private func place(of key: UnsafeRawBufferPointer, _ state: inout State, _ now: MonotonicTime) -> Int? {
    if let known = state.keys.find(key) { return known }
    if state.keys.count >= state.limit {
      expire(&state, now)
      if state.keys.count >= state.limit { return nil }
    }
    state.series.append(
      Series(buckets: shape.kind == .histogram ? [Int](repeating: 0, count: shape.buckets.count + 1) : [], updated: now))
    return state.keys.insert(key).index
  }

  private func expire(_ state: inout State, _ now: MonotonicTime) {
    guard let retention = state.retention else { return }
    let isOld = { (series: Series) in now.since(series.updated) >= retention }
    guard state.series.contains(where: isOld) else { return }
    var keys = ByteKeyTable()
    var kept: [Series] = []
    for (index, series) in state.series.enumerated() where !isOld(series) {
      _ = state.keys.withKey(index) { keys.insert($0) }
      kept.append(series)
    }
    state.keys = keys
    state.series = kept
  }

  /// Calls `body` with every label set's values, encoded, and its figures, in the order in which they came.
  func forEach(now: MonotonicTime = .now(), _ body: (_ values: [String], Series) -> Void) {
    // Arrays are shared, not copied: the lock is held for no longer than that.
    let (keys, series) = state.withLock { state in
      expire(&state, now)
      return (state.keys, state.series)
    }
    for (index, one) in series.enumerated() { body(keys.withKey(index) { MetricTally.values($0) }, one) }
  }

  func write(into page: inout ExpositionPage) {
    page.family(shape.name, shape.kind, shape.help) { samples in
      forEach { values, series in
        var labels: [UInt8] = []
        for (name, value) in zip(shape.labels, values) { ExpositionText.append(label: name.utf8, value.utf8, to: &labels) }
        switch shape.kind {
        case .counter, .gauge, .untyped: samples.add(labels: labels, series.value)
        case .summary:
          samples.add(labels: labels, series.value, suffix: "_sum")
          samples.add(labels: labels, Double(series.count), suffix: "_count")
        case .histogram:
          for (bound, count) in cumulative(series) {
            var bucket = labels
            ExpositionText.append(label: "le".utf8, bound.utf8, to: &bucket)
            samples.add(labels: bucket, Double(count), suffix: "_bucket")
          }
          samples.add(labels: labels, series.value, suffix: "_sum")
          samples.add(labels: labels, Double(series.count), suffix: "_count")
        }
      }
    }
  }

  /// `le` and the observations up to it.
  func cumulative(_ series: Series) -> [(bound: String, count: Int)] {
    var sum = 0
    return series.buckets.enumerated().map { index, n in
      sum &+= n
      return (index < shape.buckets.count ? ExpositionText.bound(shape.buckets[index]) : "+Inf", sum)
    }
  }
}

/// What one batch adds to one family, collected without a lock.
struct MetricTally: Sendable {
  struct Entry: Sendable {
    var sum = 0.0
    var last = 0.0
    var count = 0
  }
  private let bounds: [Double]
  private(set) var keys = ByteKeyTable()
  private(set) var entries: [Entry] = []
  private var counts: [Int] = []
  private let width: Int

  init(_ shape: MetricFamily.Shape) {
    bounds = shape.buckets
    width = shape.kind == .histogram ? shape.buckets.count + 1 : 0
  }

  func buckets(_ index: Int) -> ArraySlice<Int> { counts[index * width..<(index + 1) * width] }

  /// `times` observations of `value` under the label values that `key` holds.
  mutating func add(_ value: Double, times: Int = 1, _ key: UnsafeRawBufferPointer) {
    let (index, isNew) = keys.insert(key)
    if isNew {
      entries.append(Entry())
      for _ in 0..<width { counts.append(0) }
    }
    entries[index].sum += value * Double(times)
    entries[index].last = value
    entries[index].count &+= times
    if width > 0 {
      var bucket = 0
      while bucket < bounds.count, !(value <= bounds[bucket]) { bucket += 1 }
      counts[index * width + bucket] &+= times
    }
  }

  /// The label values that a key holds.
  static func values(_ key: UnsafeRawBufferPointer) -> [String] {
    guard let base = key.baseAddress else { return [] }
    var values: [String] = []
    var at = base
    // Keys are made of `putString` alone.
    while at < base + key.count {
      let value = ValueView(unchecked: at)
      values.append(value.string ?? "")
      at = value.end
    }
    return values
  }
}
