import NIOCore
import NIOSSL
import Synchronization

/// Accepts streams on a TCP or unix socket, with or without TLS.
public final class Listener: Sendable {
  /// With the port that the system chose when 0 was asked for.
  public var endpoint: Endpoint { acceptor.endpoint }

  private let acceptor: Acceptor<Connection>

  /// Binds, or takes over the socket of a listener that was closed with `keepingSocket`, and starts accepting.
  ///
  /// Throws `NetworkError`: `address already in use (127.0.0.1:5170)`, a certificate that cannot be read.
  public static func bind(_ endpoint: Endpoint, _ options: ListenOptions = ListenOptions(), on network: Network) async throws
    -> Listener
  {
    let acceptor = try await Acceptor<Connection>(network, endpoint, options) { channel, context, acceptor in
      let options = acceptor.options
      let pool = network.buffers.pool(of: channel.eventLoop)
      try addStream(
        to: channel, pool, place: "\(PeerAddress(channel.remoteAddress))", tls: context.map { NIOSSLServerHandler(context: $0) },
        deadline: NIODeadline.now() + TimeAmount(options.handshakeTimeout)
      ) { handler, tls, error in
        if let error { return acceptor.abandon(channel, error) }
        acceptor.deliver(
          Connection(
            channel, handler, pool, accepted: true, idleTimeout: options.idleTimeout, tls: tls, memory: network.memory,
            messageTimeout: options.messageTimeout, onEvent: options.onEvent))
      }
    }
    return Listener(acceptor)
  }

  private init(_ acceptor: Acceptor<Connection>) { self.acceptor = acceptor }

  /// Runs `body` in a task of its own for each connection, on the thread that reads it; returns when all have ended.
  ///
  /// `body` must not block. The connection is closed when it returns; what it throws goes to `options.onError`.
  /// Cancelling the task, or `close`, ends accepting and cancels the connections' tasks; `Connection.read` then gives
  /// what had arrived and 0, and `options.closeDeadline` bounds the rest. The socket
  /// of a cancelled listener is still bound: call `close`.
  public func run(_ body: @escaping @Sendable (Connection) async throws -> Void) async { await acceptor.run(body) }

  /// Stops accepting and ends `run`. With `keepingSocket` the socket goes on queueing connections for whoever binds the
  /// same endpoint next, until `Network.releaseUnclaimed`.
  public func close(keepingSocket: Bool = false) async {
    acceptor.stop(keepingSocket: keepingSocket)
    await acceptor.waitUntilStopped()
  }
}

extension Connection: Accepted {}

/// Puts TLS and the stream's handler into a new channel's pipeline; `ready` is called once, on the loop.
func addStream(
  to channel: any Channel, _ pool: ReceivePool, place: String, tls: (any ChannelHandler)?, deadline: NIODeadline,
  ready: @escaping @Sendable (StreamHandler, TLSInfo?, NetworkError?) -> Void
) throws {
  let box = HandlerBox()
  let handler = StreamHandler(place: place, tls: tls != nil) { error in
    guard let handler = box.handler.withLock({ $0.take() }) else { return }
    ready(handler, error == nil ? TLSInfo(channel) : nil, error)
  }
  box.handler.withLock { $0 = handler }
  try channel.syncOptions?.setOption(.recvAllocator, value: PooledReceiveAllocator(pool: tls == nil ? pool : nil, handler.hint))
  if let tls {
    try channel.pipeline.syncOperations.addHandler(tls)
    _ = channel.eventLoop.scheduleTask(deadline: deadline) {
      guard let handler = box.handler.withLock({ $0.take() }) else { return }
      ready(handler, nil, NetworkError(.timeout, "no TLS handshake in time (\(place))"))
    }
  }
  try channel.pipeline.syncOperations.addHandler(handler)
}

/// Whoever takes the handler out calls `ready`: the handshake's end or its timeout.
private final class HandlerBox: Sendable { let handler = Mutex<StreamHandler?>(nil) }
