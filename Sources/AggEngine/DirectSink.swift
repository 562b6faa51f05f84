public import AggCore

/// An output without a buffer.
public final class DirectSink: Sink {
  public let id: String
  let output: any DirectOutput
  let counters: Counters
  let log: Log
  public init(id: String, output: any DirectOutput, counters: Counters, log: Log) {
    self.id = id
    self.output = output
    self.counters = counters
    self.log = log
  }
  public func take(_ batch: EventBatch, _ transaction: inout Transaction) throws(EmitError) { transaction.deliver(batch, to: self) }
}
