import NIOCore
import NIOHTTP1
import NIOSSL

/// How an HTTP server treats requests.
public struct HTTPServerOptions: Sendable {
  public var listen = ListenOptions()
  /// A larger body is answered with 413.
  public var bodyLimit = 32 << 20
  /// Names and values together; more is answered with 431.
  public var headerLimit = 64 << 10
  public var headerCountLimit = 128
  /// A connection that sends nothing for this long is closed, in the midst of a request with 408. `listen.messageTimeout` is for a
  /// whole request, from its first byte, and for its answer.
  public var idleTimeout: Duration = .seconds(10)
  /// Adds `Connection: Keep-Alive` to answers after which the connection stays open.
  public var announcesKeepAlive = false
  /// Requests with a body are answered with 503 while there is no memory for more (`Network.memory`).
  public var needsMemory = false
  /// The answer to what cannot be served: 400, 408, 413, 417, 431, 503.
  public var refusal: @Sendable (Int) -> HTTPResponse = { status in
    HTTPResponse(status, text: HTTPResponseStatus(statusCode: status).reasonPhrase + "\n")
  }

  public init() { listen.messageTimeout = .seconds(60) }
}

/// Serves HTTP/1.1 and 1.0: keep-alive, pipelining, chunked bodies, `Expect: 100-continue`.
///
/// Every request is whole, within limits, before it is handed on; reading is off while it is being answered.
public final class HTTPServer: Sendable {
  /// With the port that the system chose when 0 was asked for.
  public var endpoint: Endpoint { acceptor.endpoint }

  private let acceptor: Acceptor<HTTPServerConnection>

  /// Binds as `Listener.bind` does.
  public static func bind(
    _ endpoint: Endpoint, _ options: HTTPServerOptions = HTTPServerOptions(), on network: Network
  ) async throws -> HTTPServer {
    let acceptor = try await Acceptor<HTTPServerConnection>(network, endpoint, options.listen) { channel, context, acceptor in
      let pool = network.buffers.pool(of: channel.eventLoop)
      // The decoder keeps what it reads for a while: blocks of its own, not the thread's.
      try channel.syncOptions?.setOption(
        .recvAllocator, value: AdaptiveRecvByteBufferAllocator(minimum: 1024, initial: 2048, maximum: 65_536))
      let inbox = HTTPInbox()
      let handler = HTTPServerHandler(inbox, options, tls: context != nil, memory: options.needsMemory ? network.memory : nil) { error in
        if let error { return acceptor.abandon(channel, error) }
        acceptor.deliver(HTTPServerConnection(channel, inbox, options, pool))
      }
      var limits = NIOHTTPDecoderLimitConfiguration()
      limits.maxHeaderFieldSize = options.headerLimit
      limits.maxHeaderListSize = options.headerLimit
      limits.maxHeaderFieldCount = options.headerCountLimit
      let pipeline = channel.pipeline.syncOperations
      if let context {
        try pipeline.addHandler(NIOSSLServerHandler(context: context))
        let bound = NIOLoopBound(handler, eventLoop: channel.eventLoop)
        _ = channel.eventLoop.scheduleTask(in: TimeAmount(options.listen.handshakeTimeout)) {
          bound.value.becomeReady(NetworkError(.timeout, "no TLS handshake in time"))
        }
      }
      try pipeline.addHandlers(
        ByteToMessageHandler(HTTPRequestDecoder(leftOverBytesStrategy: .dropBytes, limitConfiguration: limits)), handler)
    }
    return HTTPServer(acceptor)
  }

  private init(_ acceptor: Acceptor<HTTPServerConnection>) { self.acceptor = acceptor }

  /// Answers every request with `body`, on the thread that reads the connection, so it must not block; returns as
  /// `Listener.run` does. On cancellation requests that have begun are still answered.
  public func run(_ body: @escaping @Sendable (HTTPServerRequest) async -> HTTPResponse) async {
    await acceptor.run { try await $0.serve(body) }
  }

  /// As `Listener.close`.
  public func close(keepingSocket: Bool = false) async {
    acceptor.stop(keepingSocket: keepingSocket)
    await acceptor.waitUntilStopped()
  }
}
