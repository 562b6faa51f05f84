import AggCore
import Glibc
import NIOCore
import NIOPosix
import NIOSSL
import Synchronization

/// What a listener's task runs for: a stream or an HTTP connection.
protocol Accepted: Sendable {
  var peer: PeerAddress { get }
  var executor: any TaskExecutor { get }
  func close() async
  /// Closes by force when the task that was told to end does not.
  func close(after grace: Duration)
}

/// Accepts on a bound socket and runs one task a connection; shared by `Listener` and `HTTPServer`.
final class Acceptor<Client: Accepted>: Sendable {
  /// Puts the handlers of one connection in place, on its loop, and calls `deliver` or `abandon` exactly once.
  typealias Setup = @Sendable (any Channel, NIOSSLContext?, Acceptor<Client>) throws -> Void

  struct State {
    var ready: [Client] = []
    var waiter: UnsafeContinuation<Client?, Never>?
    /// Accepted connections that are not ready yet (handshake).
    var pending = 0
    var open = 0
    /// As many are open as descriptors allow.
    var isPaused = false
    /// There was no descriptor for a connection.
    var isStarved = false
    var isStopped = false
    /// The listening channel is closed: no further connection comes.
    var isClosed = false
    var socket: BoundSocket?
  }

  let endpoint: Endpoint
  let options: ListenOptions
  private let network: Network
  let state: Mutex<State>
  let server: any Channel
  /// Never so many that nothing is left for files: half of the descriptors this process may have.
  let share: Int
  let refusing: Trouble?
  let starving: Trouble?

  init(_ network: Network, _ endpoint: Endpoint, _ options: ListenOptions, setup: @escaping Setup) async throws {
    let tls = try await options.tls.asyncMap { tls in try await network.blocking { try TLSServerContext(tls) } }
    let socket = try await network.bindSocket(.stream, endpoint, options.socket)
    if let tls { network.tlsServers.add(tls) }
    self.network = network
    self.options = options
    self.endpoint = socket.endpoint
    state = Mutex(State(socket: socket))
    share = max(1, Self.descriptors / 2)
    refusing = options.log.map { Trouble($0) }
    starving = options.log.map { Trouble($0) }
    let relay = Relay<Client>()
    do {
      var bootstrap = ServerBootstrap(group: try network.eventLoops())
        .childChannelOption(.autoRead, value: false)
        .childChannelOption(.maxMessagesPerRead, value: 1)
        .childChannelOption(.allowRemoteHalfClosure, value: true)
        .childChannelInitializer { channel in
          channel.eventLoop.makeCompletedFuture {
            guard let acceptor = relay.acceptor.withLock({ $0 }) else { throw ChannelError.ioOnClosedChannel }
            guard acceptor.begins() else { throw ChannelError.eof }
            setLinger(channel, options.linger)
            do { try setup(channel, tls?.current(network), acceptor) } catch {
              acceptor.abandon(channel, error)
              throw error
            }
          }
        }
      if case .host = endpoint {
        bootstrap = bootstrap.childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
        if options.keepalive { bootstrap = bootstrap.childChannelOption(.socketOption(.so_keepalive), value: 1) }
      }
      // Accepting starts below, when there is somebody to hand connections to.
      server = try await bootstrap.serverChannelOption(.autoRead, value: false)
        .serverChannelInitializer { $0.pipeline.addHandler(AcceptErrors { error in relay.acceptor.withLock { $0 }?.starve(error) }) }
        .withBoundSocket(try socket.duplicate()).get()
      // NIO has called `listen` with a backlog of 128, at which the kernel resets connections of a burst.
      _ = listen(socket.descriptor, options.socket.backlog)
    } catch {
      socket.close()
      throw NetworkError.wrap(error, "\(endpoint)")
    }
    relay.acceptor.withLock { $0 = self }
    try await server.setOption(.autoRead, value: true).get()
  }

  /// Runs `body` for each connection until the task is cancelled or `stop` was called, then until all have ended.
  /// A cancelled task leaves the socket open, so that `stop` can still hand it over.
  func run(_ body: @escaping @Sendable (Client) async throws -> Void) async {
    await withTaskCancellationHandler {
      await withDiscardingTaskGroup { group in
        while let client = await next() {
          group.addTask(executorPreference: client.executor) { await self.serve(client, body) }
        }
        group.cancelAll()
      }
    } onCancel: {
      stop(keepingSocket: nil)
    }
  }

  /// Cancelled, but nobody called `close`.
  deinit { state.withLock { $0.socket.take() }?.close() }

  private func serve(_ client: Client, _ body: @Sendable (Client) async throws -> Void) async {
    await withTaskCancellationHandler {
      do { try await body(client) } catch {
        if !(error is CancellationError) { options.onError?(client.peer, error) }
      }
      await client.close()
    } onCancel: {
      client.close(after: options.closeDeadline)
    }
    state.withLock { $0.open -= 1 }
    options.onEvent?(.ended)
    resumeIfRoom()
  }

  private static var descriptors: Int {
    var limit = rlimit()
    guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return 1024 }
    return Int(clamping: limit.rlim_cur)
  }

  private func next() async -> Client? {
    await withUnsafeContinuation { waiter in
      let (client, isOver) = state.withLock { state -> (Client?, Bool) in
        if !state.ready.isEmpty { return (state.ready.removeFirst(), true) }
        if state.isClosed, state.pending == 0 { return (nil, true) }
        state.waiter = waiter
        return (nil, false)
      }
      if isOver { waiter.resume(returning: client) }
    }
  }

  func deliver(_ client: Client) {
    let waiter = state.withLock { state -> UnsafeContinuation<Client?, Never>? in
      state.pending -= 1
      state.open += 1
      guard let waiter = state.waiter else {
        state.ready.append(client)
        return nil
      }
      state.waiter = nil
      return waiter
    }
    waiter?.resume(returning: client)
  }

  /// A connection that never became ready.
  func abandon(_ channel: any Channel, _ error: any Error) {
    let waiter = state.withLock { state -> UnsafeContinuation<Client?, Never>? in
      state.pending -= 1
      guard state.isClosed, state.pending == 0, let waiter = state.waiter else { return nil }
      state.waiter = nil
      return waiter
    }
    waiter?.resume(returning: nil)
    options.onEvent?(.ended)
    if (error as? NetworkError)?.code == .timeout { options.onEvent?(.timedOut) }
    options.onError?(PeerAddress(channel.remoteAddress), error)
    channel.close(promise: nil)
    resumeIfRoom()
  }

  /// Accepts no more. The first call that says so decides about the socket; until then it goes on queueing connections.
  func stop(keepingSocket: Bool?) {
    let (socket, isFirst) = state.withLock { state -> (BoundSocket?, Bool) in
      let isFirst = !state.isStopped
      state.isStopped = true
      return (keepingSocket == nil ? nil : state.socket.take(), isFirst)
    }
    if let socket { if keepingSocket == true { network.sockets.keep(socket) } else { socket.close() } }
    guard isFirst else { return }
    // NIO drops connections that are accepted but not yet set up when their listening channel closes: stop reading it,
    // let every loop, then its own, finish what was handed to them, close it after that.
    let server = server
    let loops = (try? network.eventLoops())?.makeIterator().map { $0 } ?? []
    server.setOption(.autoRead, value: false)
      .flatMap { EventLoopFuture.andAllComplete(loops.map { $0.submit {} }, on: server.eventLoop) }
      .flatMap { server.eventLoop.submit {} }
      .whenComplete { _ in server.close(mode: .all).whenComplete { _ in self.closed() } }
  }

  private func closed() {
    let waiter = state.withLock { state -> UnsafeContinuation<Client?, Never>? in
      state.isClosed = true
      guard state.pending == 0 else { return nil }
      defer { state.waiter = nil }
      return state.waiter
    }
    waiter?.resume(returning: nil)
  }

  func waitUntilStopped() async { try? await server.closeFuture.get() }
}

/// Lets the bootstrap, which is made first, reach the acceptor.
private final class Relay<Client: Accepted>: Sendable {
  let acceptor = Mutex<Acceptor<Client>?>(nil)
}

/// NIO has SO_LINGER, whose value is a structure, only on the channel itself.
func setLinger(_ channel: any Channel, _ seconds: Int?) {
  guard let seconds, let provider = channel as? any SocketOptionProvider else { return }
  _ = provider.setSoLinger(linger(l_onoff: 1, l_linger: CInt(clamping: seconds)))
}

extension Optional {
  fileprivate func asyncMap<R>(_ body: (Wrapped) async throws -> R) async rethrows -> R? {
    if let self { try await body(self) } else { nil }
  }
}
