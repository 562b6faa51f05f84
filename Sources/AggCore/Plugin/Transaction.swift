/// A place batches can be routed to: a buffered or direct output, a label, a routing output.
public protocol Sink: AnyObject, Sendable {
  var id: String { get }
  /// Adds to the transaction where the batch is to be stored; stores nothing itself.
  func take(_ batch: EventBatch, _ transaction: inout Transaction) throws(EmitError)
}

/// Where the batches of one emit go: collected first, then stored at all outputs or none.
public struct Transaction {
  public struct Delivery {
    public let destination: any Sink
    public let batch: EventBatch
    /// A failure here is counted and does not refuse the rest (`<store ignore_error>`).
    public let ignoresError: Bool
  }
  public private(set) var deliveries: [Delivery] = []
  /// Events for `@ERROR`, with the reason: (batch, reason, plugin).
  public private(set) var failures: [(batch: EventBatch, reason: String, plugin: String)] = []
  /// How deep routing has gone; a configuration that relabels in a circle ends here.
  public var depth = 0
  public static let maximumDepth = 64
  /// Set while a store with `ignore_error` is being routed.
  public var ignoringErrors = false

  /// Gates that this emit has taken, and those it met without having them: routing then starts again with all of them.
  public var gates: [HoldGate] = []
  public private(set) var missing: [HoldGate] = []
  /// State of filters and outputs to store with the batch, by plugin.
  public private(set) var spans: [(plugin: String, span: SourceSpan)] = []
  private var commits: [@Sendable () -> Void] = []
  private var refusals: [@Sendable () -> Void] = []

  public init() {}
  public mutating func deliver(_ batch: EventBatch, to destination: any Sink) {
    deliveries.append(Delivery(destination: destination, batch: batch, ignoresError: ignoringErrors))
  }
  public mutating func fail(_ batch: EventBatch, reason: String, plugin: String) { failures.append((batch, reason, plugin)) }
  public mutating func removeAllFailures() { failures.removeAll() }

  /// False, with the gates noted as missing, when one of them is not this emit's.
  public mutating func owns(_ wanted: [HoldGate]) -> Bool {
    let absent = wanted.filter { gate in !gates.contains { $0 === gate } }
    missing += absent
    return absent.isEmpty
  }
  public mutating func keep(_ span: SourceSpan, of plugin: String) { spans.append((plugin, span)) }
  public mutating func onCommit(_ body: @escaping @Sendable () -> Void) { commits.append(body) }
  public mutating func onRefusal(_ body: @escaping @Sendable () -> Void) { refusals.append(body) }
  /// The batch is stored.
  public func committed() { for body in commits { body() } }
  /// Nothing of it was stored; last change first.
  public func refused() { for body in refusals.reversed() { body() } }
}

/// Where a filter says what it did not pass on, and what it made beside.
public struct FilterSink: Sendable {
  public private(set) var dropped: [(count: Int, reason: StaticString)] = []
  public private(set) var failures: [(batch: EventBatch, reason: String)] = []
  /// Events made from others (counted as created).
  public var created = 0
  /// Events folded into others (counted as merged).
  public var merged = 0
  /// How many more events are held than before the batch (fewer: negative).
  public var held = 0
  /// Held state that changed.
  public private(set) var spans: [SourceSpan] = []
  public private(set) var commits: [@Sendable () -> Void] = []
  public private(set) var refusals: [@Sendable () -> Void] = []
  /// Batches under another tag, routed again from the start of the label.
  public private(set) var derived: [EventBatch] = []
  public init() {}
  /// Counts events that were left out on purpose.
  public mutating func drop(_ count: Int, _ reason: StaticString) { if count > 0 { dropped.append((count, reason)) } }
  /// Sends events to `@ERROR`; they must not be in the returned batch.
  public mutating func fail(_ batch: EventBatch, reason: String) { failures.append((batch, reason)) }
  public mutating func derive(_ batch: EventBatch) { derived.append(batch) }
  /// What a holding filter holds under `key` after this batch; empty: nothing any more. The last call for a key counts.
  public mutating func hold(_ key: String, _ state: [UInt8]) { spans.append(SourceSpan(key: key, state: state)) }
  /// Runs once the batch is stored at all its outputs: for what a filter counts, since a refused batch comes again.
  public mutating func onCommit(_ body: @escaping @Sendable () -> Void) { commits.append(body) }
  /// Runs when the batch is refused.
  public mutating func onRefusal(_ body: @escaping @Sendable () -> Void) { refusals.append(body) }
}
