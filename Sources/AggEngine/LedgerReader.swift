import Synchronization

/// The ledger of a running daemon, for the monitor. Registered with the host; follows reloads.
public final class LedgerReader: Sendable {
  private let current = Mutex<Topology?>(nil)
  public init() {}
  public func follow(_ topology: Topology) { current.withLock { $0 = topology } }
  public var topology: Topology? { current.withLock { $0 } }
}
