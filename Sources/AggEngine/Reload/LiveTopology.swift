public import AggCore
import Synchronization

/// The topology that runs now, for plugins that a reload leaves running: their way in leads to whatever it has become.
public final class LiveTopology: Sendable {
  private let current = Mutex<Topology?>(nil)
  private let currentGateway = Mutex<Gateway?>(nil)
  let passage = Passage()

  private let timers: TimerQueue

  init(_ timers: TimerQueue) { self.timers = timers }

  var topology: Topology? { current.withLock { $0 } }
  var gateway: Gateway? { currentGateway.withLock { $0 } }
  func router(_ label: String) -> LabelRouter? { current.withLock { $0?.routers[label] } }

  /// Called while nobody is inside of the passage.
  func follow(_ topology: Topology, _ gateway: Gateway) {
    current.withLock { $0 = topology }
    currentGateway.withLock { $0 = gateway }
  }

  /// Nothing runs any more; whoever still comes is told that agg stops.
  func leave() {
    current.withLock { $0 = nil }
    currentGateway.withLock { $0 = nil }
  }

  /// Takes one batch through: `body` gets the gateway and finds its labels, and is called again when a reload came between.
  func pass<R: Sendable>(_ side: Passage.Side, _ body: (Gateway) async throws(EmitError) -> R) async throws(EmitError) -> R {
    while true {
      guard await passage.enter(side) else { throw .closed }
      let result: Result<R, EmitError>
      do throws(EmitError) {
        guard let gateway else { throw EmitError.closed }
        result = .success(try await body(gateway))
      } catch { result = .failure(error) }
      passage.leave(side)
      guard case .failure(.moved) = result else { return try result.get() }
      // Who may go in all the same, and finds no room again, must not turn in a circle.
      await withUnsafeContinuation { continuation in
        timers.schedule(at: .now().adding(nanoseconds: 10_000_000)) { continuation.resume() }
      }
    }
  }

  /// The service that monitoring plugins read.
  public var monitor: DaemonMonitor {
    DaemonMonitor(
      snapshot: { [weak self] in self?.topology?.snapshot() ?? DaemonSnapshot(plugins: []) },
      output: { [weak self] tag in self?.router("@ROOT")?.pipeline(for: tag).sink?.id })
  }
}
