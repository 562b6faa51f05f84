public import AggCore
import AggNet
import Glibc

extension HTTPOutput {
  public enum Method: String, ConfigEnum { case put, post }
  public enum Compress: String, ConfigEnum { case text, gzip, zstd }
  public enum VerifyMode: String, ConfigEnum { case none, peer }

  public struct Auth: Configurable {
    public enum Method: String, ConfigEnum {
      case basic
      case awsSigV4 = "aws_sigv4"
    }
    var method = Method.basic
    var username: String?
    var password: String?
    public init() {}
    public static let parameters: [Parameter<Self>] = [
      .optional("method", \.method, "basic; aws_sigv4 is refused"),
      .optional("username", \.username, "User of basic authentication"),
      .optional("password", \.password, "Password of basic authentication", secret: true),
      .ignored("aws_service", "agg does not sign requests for AWS"),
      .ignored("aws_region", "agg does not sign requests for AWS"),
      .ignored("aws_role_arn", "agg does not sign requests for AWS"),
    ]
    public mutating func validate(_ context: ConfigContext) throws {
      if method == .awsSigV4 { throw ConfigValueError("'method' aws_sigv4 is not built; put a signing proxy between, or use basic") }
      if username == nil { throw ConfigValueError("'username' is required for basic authentication") }
    }
  }

  public struct Config: Configurable {
    var endpoint = ""
    var method = Method.post
    var proxy: String?
    var contentType: String?
    var jsonArray = false
    var headers = StringMap()
    var placeholderHeaders = StringMap()
    var compress = Compress.text
    var allowedHosts = StringList()
    var openTimeout: Int?
    var readTimeout: Int?
    var sslTimeout: Int?
    var reuseConnections = false
    var caPath: String?
    var certificatePath: String?
    var privateKeyPath: String?
    var privateKeyPassphrase: String?
    var verifyMode = VerifyMode.peer
    var tlsVersion: String?
    var ciphers: String?
    var unrecoverable = true
    var retryableCodes: [Int]?
    var format: ConfigElement?
    var auth: Auth?
    public init() {}
    public static let parameters: [Parameter<Self>] = [
      .required("endpoint", \.endpoint, "URL that chunks are sent to; placeholders of chunk keys are encoded"),
      .optional("http_method", \.method, "post or put"),
      .optional("proxy", \.proxy, "URL of a proxy; default: HTTP_PROXY or http_proxy of the environment"),
      .optional("content_type", \.contentType, "Content-Type; default: by the type of <format>"),
      .optional("json_array", \.jsonArray, "Send one JSON array a request instead of lines"),
      .optional("headers", \.headers, "Further headers"),
      .optional("headers_from_placeholders", \.placeholderHeaders, "Further headers, with placeholders of chunk keys"),
      .optional("compress", \.compress, "Compression of the body"),
      .optional("allowed_hosts", \.allowedHosts, "Hosts that a placeholder in the endpoint's host may give"),
      .optional("open_timeout", \.openTimeout, "Seconds for connecting; default 60"),
      .optional("read_timeout", \.readTimeout, "Seconds between two parts of the answer; default 60"),
      .optional("ssl_timeout", \.sslTimeout, "Seconds for the TLS handshake; adds to open_timeout"),
      .optional("reuse_connections", \.reuseConnections, "Keep connections open for further chunks"),
      .optional("tls_ca_cert_path", \.caPath, "Authorities of the server's certificate (PEM)"),
      .optional("tls_client_cert_path", \.certificatePath, "Certificate shown to the server, then its intermediates (PEM)"),
      .optional("tls_private_key_path", \.privateKeyPath, "Key of that certificate (PEM)"),
      .optional("tls_private_key_passphrase", \.privateKeyPassphrase, "Passphrase of that key", secret: true),
      .optional("tls_verify_mode", \.verifyMode, "peer, or none: any certificate is taken"),
      .optional("tls_version", \.tlsVersion, "The one TLS version that is spoken; default: TLSv1_2 and above"),
      .optional("tls_ciphers", \.ciphers, "OpenSSL's notation, for TLS 1.2 and below"),
      .optional("error_response_as_unrecoverable", \.unrecoverable, "A refused chunk goes to the secondary; off: it is dropped and counted"),
      .optional("retryable_response_codes", \.retryableCodes, "Status codes after which the chunk is sent again; default: 503"),
      .element("format", \.format, "How an event is written; default json"),
      .section("auth", \.auth, "Authentication"),
    ]

    public mutating func validate(_ context: ConfigContext) throws {
      for (name, value) in [("open_timeout", openTimeout), ("read_timeout", readTimeout), ("ssl_timeout", sslTimeout)] {
        if let value, value < 1 { throw ConfigValueError("'\(name)' must be at least 1 second; got \(value)") }
      }
      for (name, path) in [("tls_ca_cert_path", caPath), ("tls_client_cert_path", certificatePath), ("tls_private_key_path", privateKeyPath)] {
        if let path, File.status(path)?.isRegular != true { throw ConfigValueError("'\(name)' is no file: \(path)") }
      }
      if certificatePath != nil, privateKeyPath == nil { throw ConfigValueError("'tls_client_cert_path' needs 'tls_private_key_path'") }
      if let tlsVersion, TLSVersion(name: tlsVersion) == nil {
        throw ConfigValueError("'tls_version' must be one of TLSv1_1, TLSv1_2, TLSv1_3; got '\(tlsVersion)'")
      }
      if certificatePath != nil, endpoint.hasPrefix("http:") {
        throw ConfigValueError("'tls_client_cert_path' has no effect: the endpoint is not https")
      }
    }

    func clientOptions(connections: Int) throws(ConfigValueError) -> HTTPClientOptions {
      var options = HTTPClientOptions()
      options.connectTimeout = .seconds((openTimeout ?? 60) &+ (sslTimeout ?? 0))
      options.readTimeout = .seconds(readTimeout ?? 60)
      options.reusesConnections = reuseConnections
      options.maxConnections = connections
      options.proxy = try proxyServer()
      var tls = TLSClientConfiguration()
      if let caPath {
        tls.caPaths = [caPath]
        tls.trustsSystem = false
      }
      tls.isInsecure = verifyMode == .none
      tls.certificatePath = certificatePath
      tls.privateKeyPath = privateKeyPath
      tls.privateKeyPassphrase = privateKeyPassphrase
      if let version = tlsVersion.flatMap({ TLSVersion(name: $0) }) {
        tls.minVersion = version
        tls.maxVersion = version
      }
      tls.ciphers = ciphers
      options.tls = tls
      return options
    }

    private func proxyServer() throws(ConfigValueError) -> HTTPClientOptions.Proxy? {
      guard let text = proxy ?? Self.environment("HTTP_PROXY") ?? Self.environment("http_proxy"), !text.isEmpty else { return nil }
      guard let url = HTTPEndpoint(text), url.scheme == "http" else {
        throw ConfigValueError("'proxy' must be a URL such as http://proxy.example.com:3128; got '\(HTTPEndpoint.masked(text))'")
      }
      var server = HTTPClientOptions.Proxy(host: url.host, port: url.port)
      server.credentials = url.credentials
      return server
    }
    private static func environment(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }
  }
}
