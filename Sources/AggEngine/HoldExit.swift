import AggCore

/// A holding filter's own way into the topology: what it lets go goes on behind it, to a label, or to `@ERROR`.
final class HoldExit: HoldService {
  private let live: LiveTopology
  private let entry: Topology.HoldingEntry

  init(live: LiveTopology, entry: Topology.HoldingEntry) {
    self.live = live
    self.entry = entry
  }

  func emit(to route: HoldEmitter.Route, _ make: @Sendable () -> HoldEmission?) async throws(EmitError) {
    let (live, entry) = (live, entry)
    let emission = try await live.pass(.inner) { gateway throws(EmitError) in
      try await gateway.emit(from: entry.filter, entry.id, covering: make) { (batch, transaction) throws(EmitError) in
        switch route {
        case .downstream:
          guard let router = live.router(entry.label) else { throw .failed("label \(entry.label) is gone") }
          try router.take(batch, &transaction, after: entry.id)
        case .label(let name):
          guard let router = live.router(name) else { throw .failed("label \(name) is not defined") }
          try router.take(batch, &transaction)
        case .error(let reason): transaction.fail(batch, reason: reason, plugin: entry.id)
        }
      }
    }
    guard let emission else { return }
    let count = emission.batches.reduce(0) { $0 + $1.count }
    if case .error = route { entry.counters.drop(count, "failed", from: .held) } else { entry.counters.move(.held, to: .out, count) }
  }
}
