public import AggCore

extension HTTPInput {
  public struct Config: Configurable, ConnectionLimited {
    var port = Port(9880)
    var bind = "0.0.0.0"
    var bodyLimit = ByteSize(bytes: 32 << 20)
    var decompressedLimit = ByteSize(bytes: 256 << 20)
    var keepaliveTimeout = TimeSpan(nanoseconds: 10_000_000_000)
    var backlog: Int?
    var limits = ConnectionLimits()
    var addsHeaders = false
    var addsRemoteAddress = false
    var addsQuery = false
    var origins: StringList?
    var allowsCredentials = false
    var answersImage = false
    var answers204 = false
    var dumpsErrors = true
    var tagPrefix: String?
    var transport = TransportSection()
    var parse: ConfigElement?
    public init() {}
    public static let parameters: [Parameter<Self>] = ownRows + connectionRows
    private static let ownRows: [Parameter<Self>] = [
      .optional("port", \.port, "Port to listen on"),
      .optional("bind", \.bind, "Address to listen on"),
      .optional("body_size_limit", \.bodyLimit, "A larger body is answered with 413"),
      .optional("decompression_size_limit", \.decompressedLimit, "Most that a compressed body may hold"),
      .optional("keepalive_timeout", \.keepaliveTimeout, "A connection that is idle for longer is closed"),
      .optional("backlog", \.backlog, "Connections that may wait to be accepted; 1024 where it is not given"),
      .optional("add_http_headers", \.addsHeaders, "Add the request's header fields to each record, as HTTP_NAME"),
      .optional("add_remote_addr", \.addsRemoteAddress, "Add REMOTE_ADDR: the first of X-Forwarded-For, else the peer"),
      .optional("add_query_params", \.addsQuery, "Add the query's parameters to each record, as QUERY_NAME"),
      .optional("cors_allow_origins", \.origins, "Origins that may send, `*` stands for anything; nil asks nobody"),
      .optional("cors_allow_credentials", \.allowsCredentials, "Tell browsers that credentials are fine"),
      .optional("respond_with_empty_img", \.answersImage, "Answer with a GIF of one pixel"),
      .optional("use_204_response", \.answers204, "Answer 204 in place of 200"),
      .optional("dump_error_log", \.dumpsErrors, "Log requests that are refused"),
      .optional("add_tag_prefix", \.tagPrefix, "Put before every tag, with a dot"),
      .section("transport", \.transport, "tcp, or tls with a certificate"),
      .element("parse", \.parse, "How a body becomes events; by its Content-Type where it is not given"),
      .ignored("blocking_timeout", "agg waits for the socket itself"),
    ]
    public mutating func validate(_ context: ConfigContext) throws {
      try limits.validate()
      if allowsCredentials, origins?.contains("*") ?? true {
        throw ConfigValueError("Cannot enable cors_allow_credentials without specific origins")
      }
      if tagPrefix?.isEmpty ?? false { throw ConfigValueError("'add_tag_prefix' parameter must not be empty") }
    }
  }
}
