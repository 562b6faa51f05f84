import Synchronization

/// Where the daemon is in its life: an output that starts while it runs is a reload's, and one that is closed before the end is merely
/// replaced.
///
/// The executable makes one and registers it; plugins find it with `context.shared(DaemonPhase.self)`.
public final class DaemonPhase: Sendable {
  private let state = Mutex((isRunning: false, isEnding: false))
  public init() {}
  /// The first start is over.
  public var isRunning: Bool { state.withLock { $0.isRunning } }
  public var isEnding: Bool { state.withLock { $0.isEnding } }
  public func run() { state.withLock { $0.isRunning = true } }
  public func end() { state.withLock { $0.isEnding = true } }
}
