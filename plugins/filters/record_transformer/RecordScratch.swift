import AggCore
import AggExpression

/// What writing a batch's values keeps: the last second's text of `${time}`, the first field that was not there, where
/// expressions are evaluated, and what failed in the event at hand.
struct RecordScratch {
  var bindings: Bindings?
  private var formatter: TimeFormatter?
  private(set) var missed: [UInt8]?
  private(set) var failure: RecordFailure?

  init(_ bindings: Bindings? = nil) { self.bindings = bindings }

  mutating func miss(_ key: [UInt8]) { if missed == nil { missed = key } }

  /// As Ruby's Time#to_s: `2023-11-14 22:13:20 +0000`, in the machine's zone.
  mutating func write(_ time: EventTime, into out: inout ByteWriter) {
    if formatter == nil { formatter = RecordScratch.local }
    formatter?.format(time, into: &out)
  }
  private static let local = TimeFormatter(format: "%Y-%m-%d %H:%M:%S %z", zone: .local())

  /// Writes nil for a failure, and keeps it.
  mutating func write(_ template: Template, into out: inout ByteWriter) {
    guard let bindings else { return out.putNil() }
    do throws(EvaluationError) { try template.write(bindings, into: &out) } catch {
      fail(RecordFailure(error.reason(template.source)))
      out.putNil()
    }
  }
  mutating func display(_ template: Template, into out: inout ByteWriter) {
    guard let bindings else { return }
    do throws(EvaluationError) { try template.display(bindings, into: &out) } catch {
      fail(RecordFailure(error.reason(template.source)))
    }
  }

  private mutating func fail(_ failure: RecordFailure) { if self.failure == nil { self.failure = failure } }
  /// Throws what failed since the last call.
  mutating func check() throws(RecordFailure) {
    guard let failure else { return }
    self.failure = nil
    throw failure
  }
}

/// Why one event goes to `@ERROR`.
struct RecordFailure: Error {
  var reason: String
  init(_ reason: String) { self.reason = reason }
}
