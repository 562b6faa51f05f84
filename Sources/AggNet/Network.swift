public import AggCore
import Glibc
import NIOCore
import NIOPosix
import Synchronization

/// The daemon's sockets: its network threads, its resolver's threads and the listening sockets that outlive a reload.
///
/// Created once. Nothing is started before its first use, so a daemon without network plugins pays nothing.
public final class Network: Sendable {
  private struct State {
    var group: MultiThreadedEventLoopGroup?
    var pool: NIOThreadPool?
    var isDown = false
  }

  private let threads: Int
  let sharesPorts: Bool
  private let state = Mutex(State())
  let sockets = SocketRegistry()
  let buffers = ReceivePools()
  let tlsClients = TLSClientContexts()
  let tlsServers = TLSServerContexts()
  let notices = Mutex<(@Sendable (Bool, String) -> Void)?>(nil)
  let httpClients = HTTPClientRegistry()
  private let budget = Mutex<MemoryBudget?>(nil)

  /// Connections that are accepted from then on read only while it admits more.
  public var memory: MemoryBudget? {
    get { budget.withLock { $0 } }
    set { budget.withLock { $0 = newValue } }
  }

  /// `threads` network threads; one moves about 2 GB/s, so more only help TLS.
  /// With `sharesPorts` other processes that also say so may listen on the same ports (SO_REUSEPORT); the kernel divides what comes.
  public init(threads: Int = 2, sharesPorts: Bool = false) {
    self.threads = max(1, threads)
    self.sharesPorts = sharesPorts
    // A peer that goes away must be an error of `write`, not the end of the process.
    signal(SIGPIPE, SIG_IGN)
  }

  /// Closes what is still open and ends the threads; call after every listener and client has ended.
  public func shutdown() async {
    await httpClients.shutdown()
    sockets.releaseUnclaimed()
    let (group, pool) = state.withLock { state in
      defer { (state.group, state.pool, state.isDown) = (nil, nil, true) }
      return (state.group, state.pool)
    }
    try? await group?.shutdownGracefully()
    try? await pool?.shutdownGracefully()
  }

  /// Closes the sockets that `Listener.close(keepingSocket: true)` kept and nobody bound again: the end of a reload.
  public func releaseUnclaimed() { sockets.releaseUnclaimed() }

  var startedLoops: MultiThreadedEventLoopGroup? { state.withLock { $0.group } }

  func eventLoops() throws -> MultiThreadedEventLoopGroup {
    try state.withLock { state in
      if let group = state.group { return group }
      guard !state.isDown else { throw NetworkError(.closed, "the network is shut down") }
      let group = MultiThreadedEventLoopGroup(numberOfThreads: threads)
      state.group = group
      return group
    }
  }

  /// Runs what may wait for the system (resolver, certificate files) away from network threads and the cooperative pool.
  func blocking<R: Sendable>(_ body: @escaping @Sendable () throws -> R) async throws -> R {
    let pool = try state.withLock { state in
      if let pool = state.pool { return pool }
      guard !state.isDown else { throw NetworkError(.closed, "the network is shut down") }
      // Two: one dead name server must not stop every look-up.
      let pool = NIOThreadPool(numberOfThreads: 2)
      pool.start()
      state.pool = pool
      return pool
    }
    return try await pool.runIfActive(body)
  }
}
