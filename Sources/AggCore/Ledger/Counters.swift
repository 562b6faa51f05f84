import Synchronization

/// What one plugin did to events; the rows of the ledger. Cheap enough for once a batch.
public final class Counters: Sendable {
  /// The ledger's columns. Input: received = committed + rejected + lost. Filter: in + recovered + created = out + dropped + merged + held.
  /// Output: offered + recovered = delivered + buffered + dropped + deadLettered.
  public enum Column: Int, CaseIterable, Sendable {
    case received, committed, rejected, lost
    case `in`, out, created, merged, held
    case offered, recovered, delivered, buffered, deadLettered
    case retries, writeErrors, duplicates, bytes
    /// Outputs: batches offered; attempts to write, those slower than slow_flush_log_threshold, and the time of all.
    case emits, writes, slowWrites, writeMilliseconds
    /// Outputs: attempts to write to the secondary; chunks that overflow_action drop_oldest_chunk gave up.
    case secondaryWrites, oldestDropped
    /// Outputs: how often the destination began to fail.
    case breakerOpens
    /// Outputs: dead letters that were offered again; chunks that wait because the dead letters are full or cannot be written.
    case replayed, deadLettersRefused
    /// Listeners: connections accepted, open now, closed at once for `connection_limit`, and ended for having taken too long.
    case connections, openConnections, refusedConnections, timedOutConnections
    public var name: String {
      switch self {
      case .in: "in"
      case .deadLettered: "dead_lettered"
      case .writeErrors: "write_errors"
      case .slowWrites: "slow_writes"
      case .secondaryWrites: "secondary_writes"
      case .oldestDropped: "oldest_dropped"
      case .breakerOpens: "breaker_opens"
      case .writeMilliseconds: "write_milliseconds"
      case .deadLettersRefused: "dead_letters_refused"
      case .openConnections: "open_connections"
      case .refusedConnections: "refused_connections"
      case .timedOutConnections: "timed_out_connections"
      default: "\(self)"
      }
    }
  }

  public let plugin: String
  public let type: String
  /// "input", "filter", "output".
  public let kind: String
  private let state = Mutex(State())
  private struct State {
    var columns = [Int](repeating: 0, count: Column.allCases.count)
    var dropped: [String: Int] = [:]
    var droppedBytes: [String: Int] = [:]
    var latencies = [LatencyHistogram](repeating: LatencyHistogram(), count: Latency.allCases.count)

    mutating func drop(_ n: Int, _ reason: String) {
      let isKnown = dropped[reason] != nil || dropped.count < Counters.mostReasons
      dropped[isKnown ? reason : "other", default: 0] &+= n
    }
  }
  /// Reasons are labels of metrics: however many a destination makes up, these are told apart, the rest together.
  private static let mostReasons = 64

  /// What is measured of outputs with a buffer.
  public enum Latency: Int, CaseIterable, Sendable {
    /// How long attempts to write took.
    case write
    /// How long ago events had been taken in when the destination had them; of this run's events.
    case delivery
  }

  public init(plugin: String, type: String, kind: String) {
    self.plugin = plugin
    self.type = type
    self.kind = kind
  }

  public func add(_ column: Column, _ n: Int) { if n != 0 { state.withLock { $0.columns[column.rawValue] &+= n } } }
  /// Batches (`emits` of them) came to an output and were stored (`.buffered`) or written (`.delivered`).
  public func offered(_ n: Int, bytes: Int, to column: Column, emits: Int = 1) {
    state.withLock {
      $0.columns[Column.offered.rawValue] &+= n
      $0.columns[column.rawValue] &+= n
      $0.columns[Column.bytes.rawValue] &+= bytes
      $0.columns[Column.emits.rawValue] &+= emits
    }
  }
  /// A batch went through a filter.
  public func filtered(_ before: Int, out after: Int, _ sink: FilterSink) {
    let derived = sink.derived.reduce(0) { $0 + $1.count }
    let failed = sink.failures.reduce(0) { $0 + $1.batch.count }
    state.withLock {
      $0.columns[Column.in.rawValue] &+= before
      $0.columns[Column.out.rawValue] &+= after &+ derived
      $0.columns[Column.created.rawValue] &+= sink.created
      $0.columns[Column.merged.rawValue] &+= sink.merged
      $0.columns[Column.held.rawValue] &+= sink.held
      for (n, reason) in sink.dropped { $0.drop(n, "\(reason)") }
      if failed > 0 { $0.drop(failed, "failed") }
    }
  }
  public func add(_ latency: Latency, _ histogram: LatencyHistogram) {
    if histogram.count > 0 { state.withLock { $0.latencies[latency.rawValue].add(histogram) } }
  }
  /// An attempt to write took so many nanoseconds.
  public func wrote(in nanoseconds: Int64) {
    state.withLock {
      $0.columns[Column.writes.rawValue] &+= 1
      $0.columns[Column.writeMilliseconds.rawValue] &+= Int(nanoseconds / 1_000_000)
      $0.latencies[Latency.write.rawValue].add(nanoseconds: nanoseconds)
    }
  }
  public func add(_ a: Column, _ b: Column, _ n: Int) {
    state.withLock {
      $0.columns[a.rawValue] &+= n
      $0.columns[b.rawValue] &+= n
    }
  }
  /// Moves `n` from one column to another in one step, so that every snapshot balances.
  public func move(_ from: Column, to: Column, _ n: Int) {
    state.withLock {
      $0.columns[from.rawValue] &-= n
      $0.columns[to.rawValue] &+= n
    }
  }
  /// Counts events given up on purpose; every reason has its own counter.
  public func drop(_ n: Int, _ reason: String) { if n > 0 { state.withLock { $0.drop(n, reason) } } }
  /// Counts the bytes of what was given up where the number of events is not known; with 0 the counter is there from the start.
  public func dropBytes(_ n: Int, _ reason: String) { state.withLock { $0.droppedBytes[reason, default: 0] &+= max(0, n) } }
  public func drop(_ n: Int, _ reason: String, from column: Column) {
    if n > 0 {
      state.withLock {
        $0.columns[column.rawValue] &-= n
        $0.drop(n, reason)
      }
    }
  }

  /// A chunk is done with: some of its events are dead letters, the rest is delivered.
  public func deadLettered(_ n: Int, delivered: Int) {
    state.withLock {
      $0.columns[Column.buffered.rawValue] &-= n &+ max(0, delivered)
      $0.columns[Column.deadLettered.rawValue] &+= n
      $0.columns[Column.delivered.rawValue] &+= max(0, delivered)
    }
  }

  public struct Snapshot: Sendable {
    public var columns: [Column: Int]
    public var dropped: [String: Int]
    public var droppedBytes: [String: Int] = [:]
    var latencies: [LatencyHistogram]
    public subscript(_ latency: Latency) -> LatencyHistogram { latencies[latency.rawValue] }
    public subscript(_ column: Column) -> Int { columns[column] ?? 0 }
    public var droppedTotal: Int { dropped.values.reduce(0, +) }
  }
  public func snapshot() -> Snapshot {
    state.withLock { s in
      Snapshot(
        columns: Dictionary(uniqueKeysWithValues: Column.allCases.map { ($0, s.columns[$0.rawValue]) }), dropped: s.dropped,
        droppedBytes: s.droppedBytes, latencies: s.latencies)
    }
  }
}
