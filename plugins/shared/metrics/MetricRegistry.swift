import AggCore
import Synchronization

/// The metrics that plugins of one configuration count together, and that its Prometheus endpoints show:
/// `context.shared(MetricRegistry.self)`.
///
/// Each configuration has its own; a metric that a reload declares again as it was goes on counting.
public final class MetricRegistry: Sendable {
  typealias Collector = @Sendable (inout ExpositionPage) -> Void
  private struct State {
    var families: [MetricFamily] = []
    var places: [String: (index: Int, at: SourceLocation)] = [:]
    /// What the configuration before counted and this one has not declared yet.
    var inherited: [String: MetricFamily] = [:]
    var collectors: [(id: UInt64, write: Collector)] = []
    var nextCollector: UInt64 = 0
  }
  private let state: Mutex<State>
  /// The files that in_tail follows.
  let tails: TailFigures

  /// `before`: the registry of the configuration that this one replaces.
  public init(after before: MetricRegistry? = nil) {
    tails = before?.tails ?? TailFigures()
    var state = State()
    if let before {
      state.inherited = before.state.withLock { old in
        old.inherited.merging(old.families.map { ($0.shape.name, $0) }) { _, newer in newer }
      }
    }
    self.state = Mutex(state)
  }

  /// The family of that shape, made where it is not there. Two declarations of one name must agree; source: fluent-plugin-prometheus.
  func family(_ shape: MetricFamily.Shape, limit: Int, retention: Int64?, at: SourceLocation) throws(ConfigError) -> MetricFamily
  {
    let outcome = state.withLock { state -> Result<MetricFamily, ConfigError> in
      if let place = state.places[shape.name] {
        let known = state.families[place.index]
        guard let difference = Self.difference(known.shape, shape) else { return .success(known) }
        return .failure(
          ConfigError(
            at: at, "metric '\(shape.name)' is declared at \(place.at) with \(difference); give it another name or the same"))
      }
      let family: MetricFamily
      if let old = state.inherited.removeValue(forKey: shape.name), old.shape == shape {
        family = old
        family.configure(limit: limit, retention: retention)
      } else {
        family = MetricFamily(shape, limit: limit, retention: retention)
      }
      state.places[shape.name] = (state.families.count, at)
      state.families.append(family)
      return .success(family)
    }
    switch outcome {
    case .success(let family): return family
    case .failure(let error): throw error
    }
  }

  private static func difference(_ known: MetricFamily.Shape, _ new: MetricFamily.Shape) -> String? {
    if known.kind != new.kind { return "type \(known.kind.rawValue)" }
    if known.help != new.help { return "desc '\(known.help)'" }
    if known.labels != new.labels {
      return "the labels \(known.labels.isEmpty ? "(none)" : known.labels.joined(separator: ", "))"
    }
    if known.buckets != new.buckets { return "other buckets" }
    return nil
  }

  /// Has `write` called for every page, until the number is given to `removeCollector`.
  func addCollector(_ write: @escaping Collector) -> UInt64 {
    state.withLock { state in
      state.nextCollector += 1
      state.collectors.append((state.nextCollector, write))
      return state.nextCollector
    }
  }
  func removeCollector(_ id: UInt64) { state.withLock { $0.collectors.removeAll { $0.id == id } } }

  /// The page as text, for tests and tools.
  public func page(openMetrics: Bool = false) -> String {
    var page = ExpositionPage(openMetrics ? .openMetrics : .text)
    write(into: &page)
    return String(decoding: page.finish(), as: UTF8.self)
  }

  func write(into page: inout ExpositionPage) {
    let (families, collectors) = state.withLock { ($0.families, $0.collectors) }
    for family in families { family.write(into: &page) }
    for collector in collectors { collector.write(&page) }
    let refused = families.map { (name: $0.shape.name, count: $0.refused) }.filter { $0.count > 0 }
    page.family(
      "agg_metric_refused_observations_total", .counter, "Observations left out since their metric has max_label_sets label sets."
    ) {
      for family in refused { $0.add([("metric", family.name)], Double(family.count)) }
    }
  }
}
