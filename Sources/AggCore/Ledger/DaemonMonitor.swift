/// What a running daemon tells about itself, for plugins that show it: `context.shared(DaemonMonitor.self)`.
///
/// Each call of `snapshot` reads every plugin's counters once; a plugin's own figures belong together, those of two plugins
/// may be microseconds apart.
public final class DaemonMonitor: Sendable {
  public let snapshot: @Sendable () -> DaemonSnapshot
  /// The id of the output that a tag at the top level ends in; nil where no match takes it.
  public let output: @Sendable (Tag) -> String?

  public init(snapshot: @escaping @Sendable () -> DaemonSnapshot, output: @escaping @Sendable (Tag) -> String?) {
    self.snapshot = snapshot
    self.output = output
  }
}

/// Which program this is, registered by the executable: `context.shared(ProgramFacts.self)`.
public struct ProgramFacts: Sendable {
  public var version: String
  public var configPath: String
  /// The log file, nil for standard error.
  public var logPath: String?
  /// `<system> root_dir`.
  public var rootDirectory: String?
  public init(version: String, configPath: String, logPath: String? = nil, rootDirectory: String? = nil) {
    self.version = version
    self.configPath = configPath
    self.logPath = logPath
    self.rootDirectory = rootDirectory
  }
}

/// The daemon's plugins at one time, in the order inputs, outputs, filters, then those of each label.
public struct DaemonSnapshot: Sendable {
  public var plugins: [PluginSnapshot]
  public init(plugins: [PluginSnapshot]) { self.plugins = plugins }
}

/// One plugin: what it is, what it counted, and what its buffer holds.
public struct PluginSnapshot: Sendable {
  public var id: String
  public var type: String
  /// "input", "filter", "output", or "label" for events that no match of a label takes.
  public var kind: String
  /// "@ROOT" for the top level.
  public var label: String
  /// The section's own lines with secrets masked.
  public var config: [Entry]
  public var counters: Counters.Snapshot
  public var buffer: BufferSnapshot?
  public var retry: RetrySnapshot?

  public struct Entry: Sendable {
    public var name: String
    public var value: String?
    public init(name: String, value: String?) {
      self.name = name
      self.value = value
    }
  }
  public init(
    id: String, type: String, kind: String, label: String, config: [Entry], counters: Counters.Snapshot, buffer: BufferSnapshot? = nil,
    retry: RetrySnapshot? = nil
  ) {
    self.id = id
    self.type = type
    self.kind = kind
    self.label = label
    self.config = config
    self.counters = counters
    self.buffer = buffer
    self.retry = retry
  }

  /// Events that the ledger's equation for this kind of plugin does not account for; 0 but for the moment of a change.
  ///
  /// Input: received = committed + rejected + lost + dropped. Filter: in + created = out + dropped + merged + held.
  /// Output: offered + recovered = delivered + buffered + dropped + dead-lettered.
  public var unaccounted: Int {
    let c = counters
    switch kind {
    case "input": return c[.received] - c[.committed] - c[.rejected] - c[.lost] - c.droppedTotal
    case "filter": return c[.in] + c[.recovered] + c[.created] - c[.out] - c.droppedTotal - c[.merged] - c[.held]
    default: return c[.offered] + c[.recovered] - c[.delivered] - c[.buffered] - c.droppedTotal - c[.deadLettered]
    }
  }
}

/// What one output's buffer holds. Bytes are stored bytes.
public struct BufferSnapshot: Sendable {
  public var stagedBytes: Int
  public var queuedBytes: Int
  public var stagedChunks: Int
  public var queuedChunks: Int
  public var limitBytes: Int
  /// Starts of the time slices that chunks belong to, in seconds since 1970, ascending.
  public var timekeys: [Int64]
  /// Since when the oldest chunk has been there, in nanoseconds.
  public var oldestAge: Int64?
  public init(
    stagedBytes: Int, queuedBytes: Int, stagedChunks: Int, queuedChunks: Int, limitBytes: Int, timekeys: [Int64], oldestAge: Int64?
  ) {
    self.stagedBytes = stagedBytes
    self.queuedBytes = queuedBytes
    self.stagedChunks = stagedChunks
    self.queuedChunks = queuedChunks
    self.limitBytes = limitBytes
    self.timekeys = timekeys
    self.oldestAge = oldestAge
  }
}

/// An output that fails and is being tried again.
public struct RetrySnapshot: Sendable {
  public var steps: Int
  /// When the first attempt failed, and when the next one is.
  public var started: EventTime
  public var next: EventTime
  public var lastError: String
  /// "open" while every attempt waits for `next`, "half_open" while one tries whether the destination works again.
  public var breaker: String
  public init(steps: Int, started: EventTime, next: EventTime, lastError: String, breaker: String = "open") {
    self.breaker = breaker
    self.steps = steps
    self.started = started
    self.next = next
    self.lastError = lastError
  }
}
