import AggCore
import Synchronization

/// What metric events said last, by series, for the pages of an exporter. May be used by several tasks at once.
final class ExportedSeries: Sendable {
  private struct Entry {
    let family: String
    let suffix: String
    let kind: MetricKind
    /// As the page has them.
    let labels: [UInt8]
    var value: Double
    /// The event's, and when it came.
    var time: EventTime
    var updated: MonotonicTime
  }
  private struct State {
    var keys = ByteKeyTable()
    /// By key; two orders of the same labels are two keys and one entry.
    var places: [Int] = []
    var entries: [Entry] = []
    var canonical: [String: Int] = [:]
    var refused = 0
  }
  private let state = Mutex(State())
  private let limit: Int
  private let expiry: Int64

  init(limit: Int, expiry: Int64) {
    self.limit = limit
    self.expiry = expiry
  }

  /// Takes the metrics in; returns the events that are none, and those whose series is over the limit.
  func take(_ batches: [EventBatch], now: MonotonicTime = .now()) -> [Rejection] {
    state.withLock { state in
      var rejections: [Rejection] = []
      var first = 0
      for batch in batches {
        var key = ByteWriter(capacity: 512)
        var index = first
        var over: [Rejection] = []
        // Sound ones come in order with the others left out, so their index is counted apart.
        let rejected = batch.forEachMetric { time, metric in
          defer { index += 1 }
          key.removeAll()
          metric.appendSeriesKey(to: &key)
          if let known = state.keys.find(key.bytes) {
            update(&state.entries[state.places[known]], metric, time, now)
            return
          }
          let (text, entry) = Self.entry(metric, time, now)
          if let place = state.canonical[text] {
            update(&state.entries[place], metric, time, now)
            remember(key.bytes, place, &state)
            return
          }
          if state.entries.count >= limit { forget(&state, now) }
          guard state.entries.count < limit else {
            over.append(Rejection(index: index, reason: "over max_series"))
            state.refused += 1
            return
          }
          state.canonical[text] = state.entries.count
          remember(key.bytes, state.entries.count, &state)
          state.entries.append(entry)
        }
        // From "th sound event" to "th event": the rejected ones before it count too.
        let skipped = rejected.map { first + $0.index }
        rejections += skipped.enumerated().map { Rejection(index: $1, reason: rejected[$0].reason) }
        for one in over {
          var at = one.index
          for skip in skipped where skip <= at { at += 1 }
          rejections.append(Rejection(index: at, reason: one.reason))
        }
        first += batch.count
      }
      return rejections.sorted { $0.index < $1.index }
    }
  }

  /// Keys are only a short cut: too many orders of labels, and the table begins anew.
  private func remember(_ key: UnsafeRawBufferPointer, _ place: Int, _ state: inout State) {
    if state.keys.count >= limit &* 4 {
      state.keys = ByteKeyTable()
      state.places = []
    }
    if state.keys.insert(key).isNew { state.places.append(place) }
  }

  private func update(_ entry: inout Entry, _ metric: MetricView, _ time: EventTime, _ now: MonotonicTime) {
    // A chunk that was retried may bring older values.
    guard time >= entry.time else { return }
    entry.value = metric.number
    entry.time = time
    entry.updated = now
  }

  private static func entry(_ metric: MetricView, _ time: EventTime, _ now: MonotonicTime) -> (String, Entry) {
    var family = ExpositionText.name(metric.nameText, colons: true)
    var suffix = ""
    if metric.kind == .histogram || metric.kind == .summary {
      for ending in ["_bucket", "_sum", "_count"] where family.hasSuffix(ending) {
        family.removeLast(ending.utf8.count)
        suffix = ending
        break
      }
    }
    var labels: [UInt8] = []
    for label in SeriesGroups.labels(metric, []) where label.name != "__name__" {
      ExpositionText.append(label: label.name.utf8, label.value.utf8, to: &labels)
    }
    let entry = Entry(
      family: family, suffix: suffix, kind: metric.kind, labels: labels, value: metric.number, time: time, updated: now)
    return ("\(family)\(suffix){" + String(decoding: labels, as: UTF8.self), entry)
  }

  private func forget(_ state: inout State, _ now: MonotonicTime) {
    let isOld = { [expiry] (entry: Entry) in now.since(entry.updated) >= expiry || entry.value.bitPattern == Double.staleMarkerBits }
    guard state.entries.contains(where: isOld) else { return }
    var kept: [Int: Int] = [:]
    var entries: [Entry] = []
    for (index, entry) in state.entries.enumerated() where !isOld(entry) {
      kept[index] = entries.count
      entries.append(entry)
    }
    state.canonical = state.canonical.compactMapValues { kept[$0] }
    state.entries = entries
    state.keys = ByteKeyTable()
    state.places = []
  }

  func write(into page: inout ExpositionPage, timestamps: Bool, now: MonotonicTime = .now()) {
    let (entries, refused) = state.withLock { state in
      forget(&state, now)
      return (state.entries, state.refused)
    }
    for entry in entries {
      page.family(entry.family, entry.kind, "\(entry.family) of metric events.") {
        $0.add(labels: entry.labels, entry.value, suffix: entry.suffix, time: timestamps ? entry.time : nil)
      }
    }
    page.family("agg_exporter_series", .gauge, "Series on this page.") { $0.add([], Double(entries.count)) }
    page.family("agg_exporter_refused_events_total", .counter, "Metric events left out for max_series.") {
      $0.add([], Double(refused))
    }
  }
}
