import AggCore

/// agg's own figures at one moment: the process, the ledger, buffers, latencies, the files that are followed.
///
/// monitor_agent and the input prometheus show them as a page, the input agg_metrics emits them as events. Labels are bounded by the
/// configuration, but for files, which are told one by one up to a limit.
struct OwnMetrics: ~Copyable {
  struct Sample {
    var labels: [(String, String)]
    var value: Double
    /// `_bucket`, `_sum` or `_count` of a histogram.
    var suffix = ""
  }
  struct Family {
    let name: String
    let kind: MetricKind
    let help: String
    fileprivate(set) var samples: [Sample] = []

    mutating func add(_ labels: [(String, String)], _ value: Double) { samples.append(Sample(labels: labels, value: value)) }
    mutating func add(_ labels: [(String, String)], _ histogram: LatencyHistogram) {
      for (bound, count) in histogram.cumulative {
        samples.append(Sample(labels: labels + [("le", ExpositionText.bound(bound))], value: Double(count), suffix: "_bucket"))
      }
      samples.append(Sample(labels: labels, value: histogram.sum, suffix: "_sum"))
      samples.append(Sample(labels: labels, value: Double(histogram.count), suffix: "_count"))
    }
    /// Figures that are no times are whole, and events have them so: one type a name, whatever the value is.
    fileprivate var isWhole: Bool { !name.contains("_seconds") }
  }
  /// How many files of one input are told one by one where nothing else is said.
  static let defaultFiles = 100

  private(set) var families: [Family] = []

  mutating func family(_ name: String, _ kind: MetricKind, _ help: String, _ body: (inout Family) -> Void) {
    var family = Family(name: name, kind: kind, help: help)
    body(&family)
    if !family.samples.isEmpty { families.append(family) }
  }

  /// Adds events of those names that `isWanted`; `more` are labels of every one. With `rates` what only grows is told as a rate.
  borrowing func write(
    _ more: [(String, String)], at time: EventTime, _ rates: inout CounterRates?, into writer: inout MetricWriter,
    where isWanted: (String) -> Bool
  ) {
    rates?.begin(.now())
    for family in families {
      for sample in family.samples {
        let name = family.name + sample.suffix
        guard isWanted(name) else { continue }
        let labels = MetricLabels((sample.labels + more).map { (name: $0.0, value: $0.1) })
        if rates != nil, family.kind == .counter || family.kind == .histogram {
          guard let rate = rates?.rate(name, labels, sample.value) else { continue }
          writer.add(name, rate, .gauge, labels, at: time)
        } else if (family.isWhole || sample.suffix == "_bucket" || sample.suffix == "_count"), let whole = Int64(exactly: sample.value) {
          writer.add(name, whole, family.kind, labels, at: time)
        } else {
          writer.add(name, sample.value, family.kind, labels, at: time)
        }
      }
    }
  }
}

extension ExpositionPage {
  mutating func add(_ metrics: borrowing OwnMetrics) {
    for family in metrics.families {
      self.family(family.name, family.kind, family.help) { out in
        for sample in family.samples { out.add(sample.labels, sample.value, suffix: sample.suffix) }
      }
    }
  }
}
