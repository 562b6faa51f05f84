import NIOCore
import NIOPosix
import NIOSSL
import Synchronization

/// How an outgoing connection is made.
public struct ConnectOptions: Sendable {
  /// For the whole of it: look-up, every address and the TLS handshake.
  public var timeout: Duration = .seconds(10)
  public var tls: TLSClientConfiguration?
  /// The local address to send from.
  public var bindAddress: String?
  /// SO_KEEPALIVE.
  public var keepalive = false
  /// SO_LINGER in seconds; 0 resets the connection on close. Nil leaves the system's way.
  public var linger: Int?
  /// A read that brings nothing for this long throws `NetworkError.timeout`.
  public var idleTimeout: Duration?

  public init() {}
}

extension Network {
  /// Connects to the first of the host's addresses that answers; the name is looked up anew each time.
  ///
  /// Throws `NetworkError`: `refused`, `timeout`, `unknownHost`, `unreachable`, `tls`; with several addresses the last
  /// one's error.
  public func connect(_ endpoint: Endpoint, _ options: ConnectOptions = ConnectOptions()) async throws -> Connection {
    let deadline = NIODeadline.now() + TimeAmount(options.timeout)
    let context: NIOSSLContext? =
      if let tls = options.tls { try await blocking { try self.tlsClients.context(tls) } } else { nil }
    var failure: any Error = NetworkError(.unknownHost, "no address (\(endpoint))")
    let addresses = try await addresses(endpoint)
    for (index, address) in addresses.enumerated() {
      let left = deadline - NIODeadline.now()
      guard left.nanoseconds > 0 else { throw NetworkError(.timeout, "connection timed out (\(endpoint))") }
      // A dead first address must leave time for the others.
      let share = TimeAmount.nanoseconds(left.nanoseconds / Int64(addresses.count - index))
      do { return try await connect(address, endpoint, share, context, options) } catch {
        failure = error
        if Task.isCancelled { throw CancellationError() }
      }
    }
    throw failure
  }

  private func connect(
    _ address: SocketAddress, _ endpoint: Endpoint, _ timeout: TimeAmount, _ context: NIOSSLContext?, _ options: ConnectOptions
  ) async throws -> Connection {
    let loop = try eventLoops().next()
    let pool = buffers.pool(of: loop)
    let promise = loop.makePromise(of: Connection.self)
    let deadline = NIODeadline.now() + timeout
    let name = serverName(endpoint, options.tls)
    var bootstrap = ClientBootstrap(group: loop)
      .connectTimeout(timeout)
      .channelOption(.autoRead, value: false)
      .channelOption(.maxMessagesPerRead, value: 1)
      .channelOption(.allowRemoteHalfClosure, value: true)
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          setLinger(channel, options.linger)
          let tls = try context.map { try NIOSSLClientHandler(context: $0, serverHostname: name) }
          try addStream(to: channel, pool, place: "\(endpoint)", tls: tls, deadline: deadline) { handler, tls, error in
            var error = error
            // NIOSSL is content with a certificate for the address; whoever forges the name's address could have one.
            if error == nil, let name, options.tls?.verifiesHostName == true, options.tls?.isInsecure == false,
              !certificateNames(name, channel)
            {
              error = NetworkError(.tls, "TLS: the certificate is not for \(name) (\(endpoint))")
            }
            if let error {
              // `connecting` below knows why.
              guard handler.state.withLock({ $0.isActive }) else { return }
              handler.abandon(channel)
              return promise.fail(error)
            }
            promise.succeed(Connection(channel, handler, pool, accepted: false, idleTimeout: options.idleTimeout, tls: tls))
          }
        }
      }
    if case .host = endpoint {
      bootstrap = bootstrap.channelOption(.tcpOption(.tcp_nodelay), value: 1)
      if options.keepalive { bootstrap = bootstrap.channelOption(.socketOption(.so_keepalive), value: 1) }
      if let bindAddress = options.bindAddress {
        guard let local = try? SocketAddress(ipAddress: bindAddress, port: 0) else {
          throw NetworkError(.configuration, "no IP address to send from: \(bindAddress)")
        }
        bootstrap = bootstrap.bind(to: local)
      }
    }
    let connecting = bootstrap.connect(to: address)
    connecting.whenFailure { promise.fail(NetworkError.wrap($0, "\(endpoint)")) }
    return try await withTaskCancellationHandler {
      try await promise.futureResult.get()
    } onCancel: {
      connecting.whenSuccess { $0.close(promise: nil) }
      promise.fail(CancellationError())
    }
  }

  /// The name for SNI and for comparison with the certificate; TLS forbids addresses in SNI.
  private func serverName(_ endpoint: Endpoint, _ tls: TLSClientConfiguration?) -> String? {
    if let name = tls?.serverName { return name }
    guard case .host(let host, _) = endpoint, (try? SocketAddress(ipAddress: host, port: 0)) == nil else { return nil }
    return host
  }
}
