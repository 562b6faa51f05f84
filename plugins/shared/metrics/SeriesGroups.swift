import AggCore

/// Metric events by series: name and labels as Prometheus has them, samples in the order of their times.
///
/// `host` and `service` become labels of that name, an empty label is none, and names get `_` for what Prometheus does not
/// allow in them (`cpu.user.percentage` is `cpu_user_percentage`).
struct SeriesGroups: ~Copyable {
  struct Sample {
    var milliseconds: Int64
    var value: Double
    /// Of the event in the whole of what was added.
    var event: Int
  }
  struct Series {
    /// Sorted by name, `__name__` among them.
    let labels: [(name: String, value: String)]
    let kind: MetricKind
    var samples: [Sample] = []
  }
  private(set) var series: [Series] = []
  private(set) var rejections: [Rejection] = []
  /// Events so far, rejected ones among them.
  private(set) var count = 0
  private let common: [(String, String)]
  /// Keys as they stand in events; several may be one series.
  private var keys = ByteKeyTable()
  private var places: [Int] = []
  private var canonical: [[String]: Int] = [:]
  private var key = ByteWriter(capacity: 512)

  /// `common` are labels that every series gets where it does not have them.
  init(common: [(String, String)] = []) { self.common = common }

  mutating func add(_ batch: EventBatch) {
    let first = count
    var index = first
    let rejected = batch.forEachEventAsMetric { time, metric in
      defer { index += 1 }
      guard let metric else { return }
      let place = self.place(of: metric)
      let (milliseconds, overflow) = time.seconds.multipliedReportingOverflow(by: 1000)
      series[place].samples.append(
        Sample(
          milliseconds: overflow ? 0 : milliseconds &+ Int64(time.nanoseconds / 1_000_000), value: metric.number, event: index))
    }
    rejections += rejected.map { Rejection(index: first + $0.index, reason: $0.reason) }
    count = index
  }

  private mutating func place(of metric: MetricView) -> Int {
    key.removeAll()
    metric.appendSeriesKey(to: &key)
    let (index, isNew) = keys.insert(key.bytes)
    if !isNew { return places[index] }
    let labels = Self.labels(metric, common)
    let texts = labels.flatMap { [$0.name, $0.value] }
    let place: Int
    if let known = canonical[texts] {
      place = known
    } else {
      place = series.count
      canonical[texts] = place
      series.append(Series(labels: labels, kind: metric.kind))
    }
    places.append(place)
    return place
  }

  /// The labels of a metric as Prometheus has them, sorted.
  static func labels(_ metric: MetricView, _ common: [(String, String)]) -> [(name: String, value: String)] {
    var labels: [String: String] = [:]
    for (name, value) in common { labels[name] = value }
    if let host = metric.host { labels["host"] = String(decoding: host, as: UTF8.self) }
    if let service = metric.service { labels["service"] = String(decoding: service, as: UTF8.self) }
    for label in metric.labelTexts { labels[ExpositionText.name(label.name, colons: false)] = label.value }
    labels["__name__"] = ExpositionText.name(metric.nameText, colons: true)
    return labels.filter { !$0.value.isEmpty }.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }.map {
      (name: $0.key, value: $0.value)
    }
  }

  /// In the order of time; of several samples of one time the last stays. Call when everything is added.
  mutating func sort() {
    for index in series.indices where series[index].samples.count > 1 {
      let sorted = series[index].samples.enumerated().sorted {
        ($0.element.milliseconds, $0.offset) < ($1.element.milliseconds, $1.offset)
      }
      var kept: [Sample] = []
      kept.reserveCapacity(sorted.count)
      for (_, sample) in sorted {
        if kept.last?.milliseconds == sample.milliseconds { kept[kept.count - 1] = sample } else { kept.append(sample) }
      }
      series[index].samples = kept
    }
  }
}

extension EventBatch {
  /// As `forEachMetric`, with nil for an event that is none.
  fileprivate func forEachEventAsMetric(_ body: (EventTime, MetricView?) -> Void) -> [Rejection] {
    var rejections: [Rejection] = []
    var index = 0
    forEachEvent { time, record in
      do throws(NotAMetric) { body(time, try MetricView(record)) } catch {
        rejections.append(Rejection(index: index, reason: "not a metric: \(error)"))
        body(time, nil)
      }
      index += 1
    }
    return rejections
  }
}
