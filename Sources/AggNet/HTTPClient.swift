import AsyncHTTPClient
import Glibc
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
import Synchronization

/// What one request asks for.
public struct HTTPRequest: Sendable {
  public var method: String
  /// `http://`, `https://`, or `http+unix://` with the socket's path percent-encoded as host.
  public var url: String
  public var fields: HTTPFields
  public var body: [UInt8]
  /// For the whole exchange.
  public var timeout: Duration = .seconds(60)
  /// A longer answer throws `NetworkError.tooLarge`.
  public var replyLimit = 8 << 20

  public init(_ method: String = "GET", _ url: String, fields: HTTPFields = HTTPFields(), body: [UInt8] = []) {
    self.method = method
    self.url = url
    self.fields = fields
    self.body = body
  }
}

/// What a server answered, whatever the status.
public struct HTTPReply: Sendable {
  public let status: Int
  public let fields: HTTPFields
  public let body: [UInt8]
}

/// How an HTTP client connects; the same for all its requests.
public struct HTTPClientOptions: Sendable {
  public struct Proxy: Sendable, Hashable {
    public var host: String
    public var port: Int
    /// Basic authentication.
    public var credentials: (user: String, password: String)? {
      get { user.map { ($0, password) } }
      set { (user, password) = (newValue?.user, newValue?.password ?? "") }
    }
    private var user: String?
    private var password = ""

    public init(host: String, port: Int) {
      self.host = host
      self.port = port
    }
  }

  public var tls: TLSClientConfiguration?
  public var proxy: Proxy?
  public var connectTimeout: Duration = .seconds(60)
  /// Between two blocks of an answer.
  public var readTimeout: Duration = .seconds(60)
  /// How long an unused connection stays open.
  public var idleTimeout: Duration = .seconds(30)
  /// To one host at once; further requests wait.
  public var maxConnections = 8
  /// Off: each request has a connection of its own.
  public var reusesConnections = true

  public init() {}
}

/// Sends HTTP/1.1 requests over kept connections; may be used by several tasks at once.
///
/// Costs nothing before its first request. Redirects are not followed: their answer is the reply.
public final class HTTPClient: Sendable {
  private let network: Network
  private let options: HTTPClientOptions
  private let client = Mutex<AsyncHTTPClient.HTTPClient?>(nil)

  public init(_ options: HTTPClientOptions = HTTPClientOptions(), on network: Network) {
    self.options = options
    self.network = network
  }

  /// Sends and waits for the whole reply.
  ///
  /// Throws `NetworkError`: `refused`, `timeout`, `unknownHost`, `tls`, `closed`, `tooLarge`, `configuration` (URL,
  /// certificate); `CancellationError`. After `refused`, `unknownHost` and `configuration` the server saw nothing.
  public func send(_ request: HTTPRequest) async throws -> HTTPReply {
    let client = try await started()
    var message = HTTPClientRequest(url: request.url)
    message.method = HTTPMethod(rawValue: request.method)
    message.headers = request.fields.headers
    if !options.reusesConnections { message.headers.replaceOrAdd(name: "connection", value: "close") }
    if !request.body.isEmpty || request.method == "POST" || request.method == "PUT" {
      message.body = .bytes(ByteBuffer(bytes: request.body))
    }
    do {
      let response = try await client.execute(message, timeout: TimeAmount(request.timeout))
      let body = try await response.body.collect(upTo: request.replyLimit)
      return HTTPReply(
        status: Int(response.status.code), fields: HTTPFields(response.headers), body: Array(body.readableBytesView))
    } catch {
      if Task.isCancelled { throw CancellationError() }
      throw failure(error, request.url)
    }
  }

  /// Closes the kept connections; requests under way fail.
  public func close() async {
    network.httpClients.remove(self)
    let client = self.client.withLock { $0.take() }
    try? await client?.shutdown()
  }

  private func started() async throws -> AsyncHTTPClient.HTTPClient {
    if let client = client.withLock({ $0 }) { return client }
    var configuration = AsyncHTTPClient.HTTPClient.Configuration()
    if let tls = options.tls { configuration.tlsConfiguration = try await network.blocking { try tls.configuration() } }
    configuration.redirectConfiguration = .disallow
    configuration.httpVersion = .http1Only
    configuration.decompression = .disabled
    configuration.timeout = .init(connect: TimeAmount(options.connectTimeout), read: TimeAmount(options.readTimeout))
    configuration.connectionPool = .init(
      idleTimeout: TimeAmount(options.idleTimeout), concurrentHTTP1ConnectionsPerHostSoftLimit: max(1, options.maxConnections))
    // The engine retries by its own plan; a refused connection is an answer at once.
    configuration.connectionPool.retryConnectionEstablishment = false
    configuration.proxy = options.proxy.map { proxy in
      .server(
        host: proxy.host, port: proxy.port,
        authorization: proxy.credentials.map { .basic(username: $0.user, password: $0.password) })
    }
    let loops = try network.eventLoops()
    let (client, unused) = self.client.withLock { [configuration] kept in
      let made = AsyncHTTPClient.HTTPClient(eventLoopGroupProvider: .shared(loops), configuration: configuration)
      // Another task's first request was faster.
      if let kept { return (kept, made as AsyncHTTPClient.HTTPClient?) }
      kept = made
      return (made, nil)
    }
    if let unused { try? await unused.shutdown() } else { network.httpClients.add(self) }
    return client
  }

  private func failure(_ error: any Error, _ url: String) -> any Error {
    switch error {
    case is NIOTooManyBytesError: return NetworkError(.tooLarge, "answer too large (\(url))")
    case let error as NIOConnectionError:
      if let failed = error.connectionErrors.first { return NetworkError.wrap(failed.error, "\(error.host):\(error.port)") }
      return NetworkError(.unknownHost, "unknown host \(error.host)")
    case let error as HTTPClientError:
      switch error {
      case .connectTimeout, .readTimeout, .writeTimeout, .deadlineExceeded, .tlsHandshakeTimeout, .httpProxyHandshakeTimeout,
        .getConnectionFromPoolTimeout:
        return NetworkError(.timeout, "\(error.shortDescription) (\(url))")
      case .remoteConnectionClosed, .uncleanShutdown:
        return NetworkError(.closed, "connection closed by peer (\(url))")
      case .invalidURL, .emptyHost, .emptyScheme, .missingSocketPath:
        return NetworkError(.configuration, "\(error.shortDescription) (\(url))")
      default:
        return NetworkError(
          error.shortDescription.contains("cheme") ? .configuration : .other, "\(error.shortDescription) (\(url))")
      }
    case is HTTPParserError, is NIOHTTPDecoderError: return NetworkError(.malformed, "no HTTP answer: \(error) (\(url))")
    default: return NetworkError.wrap(error, url)
    }
  }
}

/// The clients that were used, so that the network's end closes them.
final class HTTPClientRegistry: Sendable {
  private let clients = Mutex<[ObjectIdentifier: HTTPClient]>([:])

  func add(_ client: HTTPClient) { clients.withLock { $0[ObjectIdentifier(client)] = client } }
  func remove(_ client: HTTPClient) { clients.withLock { $0[ObjectIdentifier(client)] = nil } }

  func shutdown() async {
    for client in clients.withLock({ $0 }).values { await client.close() }
  }
}
