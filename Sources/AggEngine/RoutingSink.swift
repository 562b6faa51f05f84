public import AggCore

/// copy, relabel, roundrobin: the plugin decides where batches go on.
public final class RoutingSink: Sink {
  public let id: String
  let output: any RoutingOutput
  let counters: Counters
  public init(id: String, output: any RoutingOutput, counters: Counters) {
    self.id = id
    self.output = output
    self.counters = counters
  }
  public func take(_ batch: EventBatch, _ transaction: inout Transaction) throws(EmitError) {
    transaction.depth += 1
    defer { transaction.depth -= 1 }
    guard transaction.depth <= Transaction.maximumDepth else {
      throw EmitError.failed("\(id): events are routed in a circle; a label relabels back to itself")
    }
    let (counters, count, bytes) = (counters, batch.count, batch.byteCount)
    transaction.onCommit { counters.offered(count, bytes: bytes, to: .delivered) }
    try output.route(batch, &transaction)
  }
}
