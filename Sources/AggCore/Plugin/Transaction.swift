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

  public init() {}
  public mutating func deliver(_ batch: EventBatch, to destination: any Sink) {
    deliveries.append(Delivery(destination: destination, batch: batch, ignoresError: ignoringErrors))
  }
  public mutating func fail(_ batch: EventBatch, reason: String, plugin: String) { failures.append((batch, reason, plugin)) }
  public mutating func removeAllFailures() { failures.removeAll() }
}

/// Where a filter says what it did not pass on, and what it made beside.
public struct FilterSink {
  public private(set) var dropped: [(count: Int, reason: StaticString)] = []
  public private(set) var failures: [(batch: EventBatch, reason: String)] = []
  /// Events made from others (counted as created).
  public var created = 0
  /// Events folded into others (counted as merged).
  public var merged = 0
  /// Batches under another tag, routed again from the start of the label.
  public private(set) var derived: [EventBatch] = []
  public init() {}
  /// Counts events that were left out on purpose.
  public mutating func drop(_ count: Int, _ reason: StaticString) { if count > 0 { dropped.append((count, reason)) } }
  /// Sends events to `@ERROR`; they must not be in the returned batch.
  public mutating func fail(_ batch: EventBatch, reason: String) { failures.append((batch, reason)) }
  public mutating func derive(_ batch: EventBatch) { derived.append(batch) }
}
