/// Delivers chunks. The engine owns buffering, retry and parallelism; `write` may be called by several tasks at once.
public protocol Output: Plugin {
  /// What `<buffer>` means where the configuration does not say.
  static var buffering: BufferDefaults { get }
  /// Returns when the destination has the whole chunk. Runs on a thread it may block. Never swallow cancellation.
  func write(_ chunk: ChunkView) async throws(WriteError)
  /// What a secondary writes in this output's stead; nil where chunks leave as MessagePack.
  var chunkFormatter: (any Formatter)? { get }
  /// Whether `write` delivers `ChunkView.formatted` as it stands; where it does not, such chunks stay where they are.
  static var takesFormatted: Bool { get }
  /// Called once, before the inputs start; what it throws stops the daemon's start. For outputs that verify their destination.
  func prepare() async throws
  /// Sees what is staged in a file buffer before it is delivered; nil, the default, for nobody.
  var stagingObserver: (any StagingObserver)? { get }
  /// Background work beside writing (heartbeats), until cancelled; returns at once where there is none.
  func run() async
  /// The stop has begun: a `write` that waits for a better moment goes on at once. Must not block.
  func stopping()
  /// The last call, after the last `write`.
  func close() async
}
extension Output {
  public static var buffering: BufferDefaults { BufferDefaults() }
  public var chunkFormatter: (any Formatter)? { nil }
  public static var takesFormatted: Bool { false }
  public func prepare() async throws {}
  public var stagingObserver: (any StagingObserver)? { nil }
  public func run() async {}
  public func stopping() {}
  public func close() async {}
}

/// Takes batches at once, without a buffer (stdout, null when there is no `<buffer>`).
///
/// Called inside the commit of a batch, from several tasks at once; must not block for long.
public protocol DirectOutput: Plugin {
  func process(_ batch: EventBatch) throws(WriteError)
}

/// Takes batches at once and works beside: counts that are reported on a timer.
public protocol TimedOutput: DirectOutput {
  /// Called once, before the inputs start, on a thread it may block; returns when cancelled, which comes when they have stopped.
  ///
  /// What it emits last still reaches its outputs (`context.emitter()`, which is not interrupted by cancellation).
  func run() async
}

/// Looks at batches and works beside: counts that are emitted on a timer.
public protocol TimedFilter: Filter {
  /// As `TimedOutput.run`: called once, before the inputs start; returns when cancelled, which comes when they have stopped.
  func run() async
}

/// Sends batches on to other outputs or labels: copy, relabel, roundrobin.
///
/// One that is a `HoldingFilter` too may hold events: it asks `transaction.owns([gate])` first, and throws where that is false;
/// it tells the transaction what its filter told the sink (`keep`, `onRefusal`); it emits to a label, not downstream.
public protocol RoutingOutput: Plugin {
  func route(_ batch: EventBatch, _ transaction: inout Transaction) throws(EmitError)
}

/// An output's defaults for its `<buffer>` section.
public struct BufferDefaults: Sendable {
  /// Buffered even without a `<buffer>` section (unless the plugin is also a `DirectOutput` and none is given).
  public var chunkKeys: [String]
  public var timekey: Int64?
  public var flushInterval: Int64?
  public var memory: String
  public var flushAtShutdown: Bool?
  /// Seconds; what `retry_max_interval` and `retry_timeout` are where nothing is said.
  public var retryMaxInterval: Int64?
  public var retryTimeout: Int64?
  /// Used as `<secondary>` by default it is not; a secondary gets formatted bytes where it asks for them.
  public init(
    chunkKeys: [String] = [], timekey: Int64? = nil, flushInterval: Int64? = nil, memory: String = "memory", flushAtShutdown: Bool? = nil,
    retryMaxInterval: Int64? = nil, retryTimeout: Int64? = nil
  ) {
    self.chunkKeys = chunkKeys
    self.timekey = timekey
    self.flushInterval = flushInterval
    self.memory = memory
    self.flushAtShutdown = flushAtShutdown
    self.retryMaxInterval = retryMaxInterval
    self.retryTimeout = retryTimeout
  }
}

/// Why a chunk was not delivered, and what the engine does about it.
public struct WriteError: Error, Sendable, CustomStringConvertible {
  public enum Kind: Sendable {
    /// Nothing was taken; try again, no sooner than `after` where the destination said so.
    case retry(after: Duration?)
    /// Retrying is useless: to the secondary or the dead letters, under a reason.
    case discard(reason: String)
    /// Every record was delivered but these.
    case partial(rejected: [Rejection])
    /// The daemon is stopping: not a retry, not counted.
    case cancelled
  }
  public var kind: Kind
  public var description: String
  /// What the destination answered, as HTTP's status; nil where there is none. Kept with dead letters.
  public var status: Int?
  public init(_ kind: Kind, _ description: String, status: Int? = nil) {
    self.kind = kind
    self.description = description
    self.status = status
  }
  public static func retry(_ description: String, after: Duration? = nil, status: Int? = nil) -> WriteError {
    WriteError(.retry(after: after), description, status: status)
  }
  public static func discard(_ reason: String, _ description: String, status: Int? = nil) -> WriteError {
    WriteError(.discard(reason: reason), description, status: status)
  }

  /// Runs `body`, mapping what it throws to a retry, and cancellation to itself: no plugin swallows cancellation.
  public static func mapping<R>(_ body: () async throws -> R) async throws(WriteError) -> R {
    do { return try await body() } catch let error as WriteError { throw error } catch is CancellationError {
      throw WriteError(.cancelled, "cancelled")
    } catch { throw .retry("\(error)") }
  }
}
