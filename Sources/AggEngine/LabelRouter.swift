public import AggCore
import Synchronization

/// The filters and matches of one label (or the top level) in file order; the first matching `<match>` wins.
public final class LabelRouter: Sink {
  public struct Rule: Sendable {
    public enum Target: Sendable {
      case filter(any Filter, Counters)
      case output(any Sink)
    }
    public var pattern: TagPattern
    public var target: Target
    public init(pattern: TagPattern, target: Target) {
      self.pattern = pattern
      self.target = target
    }
  }
  /// What one tag resolves to.
  struct Pipeline: Sendable {
    var filters: [(filter: any Filter, counters: Counters)]
    var sink: (any Sink)?
    /// Of the filters that hold events.
    var gates: [HoldGate] = []
  }
  /// Tags come from outside: the cache is emptied when it holds this many.
  static let cachedTags = 4096

  public let id: String
  private let rules = Mutex<[Rule]>([])
  private let cache = Mutex<[Tag: Pipeline]>([:])
  private let unmatched: Counters
  private let log: Log
  private let warned = Mutex<Set<String>>([])

  /// `unmatched` counts events that no match takes.
  public init(id: String, unmatched: Counters, log: Log) {
    self.id = id
    self.unmatched = unmatched
    self.log = log
  }

  /// Called while the topology is built.
  public func add(_ rule: Rule) { rules.withLock { $0.append(rule) } }

  func pipeline(for tag: Tag) -> Pipeline {
    if let known = cache.withLock({ $0[tag] }) { return known }
    var made = Pipeline(filters: [], sink: nil)
    for rule in rules.withLock({ $0 }) where rule.pattern.matches(tag) {
      switch rule.target {
      case .filter(let filter, let counters): made.filters.append((filter, counters))
      case .output(let sink): made.sink = sink
      }
      if made.sink != nil { break }
    }
    made.gates = made.filters.compactMap { ($0.filter as? any HoldingFilter)?.gate }
    cache.withLock { cache in
      if cache.count >= Self.cachedTags { cache.removeAll(keepingCapacity: true) }
      cache[tag] = made
    }
    return made
  }

  public func take(_ batch: EventBatch, _ transaction: inout Transaction) throws(EmitError) { try take(batch, &transaction, after: nil) }

  /// `after` is the id of the filter that the batch comes from: only those behind it see it.
  func take(_ batch: EventBatch, _ transaction: inout Transaction, after: String?) throws(EmitError) {
    if batch.isEmpty { return }
    transaction.depth += 1
    defer { transaction.depth -= 1 }
    guard transaction.depth <= Transaction.maximumDepth else {
      throw EmitError.failed("\(id): events are routed in a circle; a label relabels back to itself")
    }
    let pipeline = pipeline(for: batch.tag)
    if !pipeline.gates.isEmpty, !transaction.owns(pipeline.gates) { throw EmitError.failed("\(id): a filter that holds events is busy") }
    guard let sink = pipeline.sink else {
      let (unmatched, count) = (unmatched, batch.count)
      transaction.onCommit {
        unmatched.add(.offered, count)
        unmatched.drop(count, "no_match")
      }
      warnUnmatched(batch.tag)
      return
    }
    var batch = batch
    let behind = after.flatMap { id in pipeline.filters.firstIndex { $0.counters.plugin == id } }.map { $0 + 1 } ?? 0
    for (filter, counters) in pipeline.filters.dropFirst(behind) {
      var out = FilterSink()
      let before = batch
      do throws(FilterError) { batch = try filter.filter(before, &out) } catch {
        transaction.onCommit {
          counters.add(.in, before.count)
          counters.drop(before.count, "filter_error")
        }
        transaction.fail(before, reason: "\(error)", plugin: counters.plugin)
        return
      }
      settle(out, counters, in: before.count, out: batch.count, &transaction)
      for derived in out.derived { try take(derived, &transaction) }
      if batch.isEmpty { return }
    }
    try sink.take(batch, &transaction)
  }

  /// What a filter did to a batch, counted when the batch is stored: a refused one comes again.
  private func settle(_ sink: FilterSink, _ counters: Counters, in before: Int, out after: Int, _ transaction: inout Transaction) {
    for span in sink.spans { transaction.keep(span, of: counters.plugin) }
    for body in sink.refusals { transaction.onRefusal(body) }
    for body in sink.commits { transaction.onCommit(body) }
    for (failed, reason) in sink.failures { transaction.fail(failed, reason: reason, plugin: counters.plugin) }
    transaction.onCommit { [sink] in counters.filtered(before, out: after, sink) }
  }

  private func warnUnmatched(_ tag: Tag) {
    let first = warned.withLock { $0.count < 100 && $0.insert(tag.description).inserted }
    if first, !tag.description.hasPrefix("fluent.") { log.warn("no patterns matched tag=\"\(tag)\"; its events are dropped and counted") }
  }
}
