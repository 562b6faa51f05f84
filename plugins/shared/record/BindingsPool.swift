import AggCore
import AggExpression
import Synchronization

/// Where a filter's expressions are evaluated: one `Bindings` for each batch that is being filtered, kept for the next.
final class BindingsPool: Sendable {
  private let host: Bindings.Host
  private let preparation: Preparation?
  private let isTimeEventTime: Bool
  private struct Idle: @unchecked Sendable {  // each is taken out under the lock and used by one batch until it comes back
    var list: [Bindings] = []
  }
  private let idle = Mutex(Idle())

  /// Throws what `preparation` raises.
  init(_ context: PluginContext, preparation: Preparation? = nil, isTimeEventTime: Bool = false) throws(EvaluationError) {
    host = Bindings.Host(
      hostname: context.system.hostname, workerID: context.system.workerID, variables: ConfigEnvironment.current().variables,
      zone: .local())
    self.preparation = preparation
    self.isTimeEventTime = isTimeEventTime
    let first = Idle(list: [try make()])
    idle.withLock { $0 = first }
  }

  private func make() throws(EvaluationError) -> Bindings {
    let bindings = Bindings(host)
    bindings.isTimeEventTime = isTimeEventTime
    try preparation?.run(bindings)
    return bindings
  }

  /// Runs `body` with the tag set; no value of the bindings may leave it.
  func with<R, E: Error>(_ tag: Tag, _ body: (Bindings) throws(E) -> R) throws(E) -> R {
    let taken = idle.withLock { Idle(list: $0.list.popLast().map { [$0] } ?? []) }
    // What worked at start works again, unless it looks at the clock: then its variables are nil.
    let bindings = taken.list.first ?? (try? make()) ?? Bindings(host)
    bindings.setTag(tag.description)
    defer {
      bindings.end()
      let back = Idle(list: [bindings])
      idle.withLock { if $0.list.count < 8 { $0.list += back.list } }
    }
    return try body(bindings)
  }
}

extension EvaluationError {
  /// Why the expression gave nothing, for a log line.
  func reason(_ source: String) -> String {
    let start = source.count > 100 ? source.prefix(100) + "…" : source
    return kind == .limit ? "'\(start)' \(message)" : "'\(start)' raises \(className): \(message)"
  }
}

extension ExpressionError {
  /// For the configuration's reader: what is wrong with which value.
  func mistake(_ name: String) -> String {
    let line = expression.split { $0.isNewline }.joined(separator: " ")
    return
      "'\(name)' has '\(line)', which cannot be evaluated: \(message) (at byte \(offset)); docs/EXPRESSIONS.md lists what can"
  }
}
