public import AggCore

extension ForwardInput {
  public struct Config: Configurable, ConnectionLimited {
    var port = Port(24224)
    var bind = "0.0.0.0"
    var backlog: Int?
    var lingerTimeout: Int?
    var resolveHostname: Bool?
    var denyKeepalive = false
    var keepalive = false
    var chunkSizeWarnLimit: ByteSize?
    var chunkSizeLimit: ByteSize?
    var decompressionSizeLimit = ByteSize(bytes: 256 << 20)
    var skipInvalidEvent: Bool?
    var sourceAddressKey: String?
    var sourceHostnameKey: String?
    var tag: String?
    var addTagPrefix: String?
    var limits = ConnectionLimits()
    var security: Security?
    var transport = TransportSection()
    public init() {}
    public static let parameters: [Parameter<Self>] = ownRows + streamRows
    private static let ownRows: [Parameter<Self>] = [
      .optional("port", \.port, "Port to listen on, TCP for events and UDP for heartbeats"),
      .optional("bind", \.bind, "Address to listen on"),
      .optional("backlog", \.backlog, "Connections that wait to be accepted (default 1024)"),
      .optional("linger_timeout", \.lingerTimeout, "SO_LINGER in seconds; 0 resets connections on close"),
      .optional("resolve_hostname", \.resolveHostname, "Look up the names of peers; must not be false with source_hostname_key"),
      .optional("deny_keepalive", \.denyKeepalive, "Close each connection after its first message"),
      .optional("send_keepalive_packet", \.keepalive, "TCP keepalive"),
      .optional("chunk_size_warn_limit", \.chunkSizeWarnLimit, "Warn of larger messages"),
      .optional("chunk_size_limit", \.chunkSizeLimit, "Drop larger messages, without an acknowledgement"),
      .optional("decompression_size_limit", \.decompressionSizeLimit, "Most bytes that one compressed message may hold"),
      .optional("skip_invalid_event", \.skipInvalidEvent, "true: packed events of the time 0 get the time of arrival; invalid events are left out either way"),
      .optional("source_address_key", \.sourceAddressKey, "Field that gets the peer's address"),
      .optional("source_hostname_key", \.sourceHostnameKey, "Field that gets the peer's host name"),
      .optional("tag", \.tag, "Tag for all events, instead of the sender's"),
      .optional("add_tag_prefix", \.addTagPrefix, "Put before every tag, with a dot"),
      .section("security", \.security, "Only peers that know a shared key (and a password) may send"),
      .section("transport", \.transport, "`<transport tls>`: the certificate, and whom to ask for one"),
      .ignored("blocking_timeout", "Nothing waits in a loop"),
    ]

    public mutating func validate(_ context: ConfigContext) throws {
      try limits.validate()
      if sourceHostnameKey != nil, resolveHostname == false { throw ConfigValueError("resolve_hostname must be true with source_hostname_key") }
      if tag?.isEmpty == true { throw ConfigValueError("'tag' parameter must not be empty") }
      if addTagPrefix?.isEmpty == true { throw ConfigValueError("'add_tag_prefix' parameter must not be empty") }
      if keepalive, denyKeepalive { throw ConfigValueError("both 'send_keepalive_packet' and 'deny_keepalive' cannot be set to true") }
    }
  }

  public struct Security: Configurable {
    var selfHostname = ""
    var sharedKey = ""
    var userAuth = false
    var allowAnonymousSource = true
    var users: [User] = []
    var clients: [Client] = []
    public init() {}
    public static let parameters: [Parameter<Self>] = [
      .required("self_hostname", \.selfHostname, "Name of this host in the handshake; peers must have another"),
      .required("shared_key", \.sharedKey, "Key that peers have to know", secret: true),
      .optional("user_auth", \.userAuth, "Ask for a user and a password too"),
      .optional("allow_anonymous_source", \.allowAnonymousSource, "Take peers that no <client> names"),
      .sections("user", \.users, "Who may send, with user_auth"),
      .sections("client", \.clients, "A host or network, with a key or users of its own"),
    ]
    public mutating func validate(_ context: ConfigContext) throws {
      if userAuth, users.isEmpty { throw ConfigValueError("<user> sections required if user_auth enabled") }
      if !allowAnonymousSource, clients.isEmpty { throw ConfigValueError("<client> sections required if allow_anonymous_source disabled") }
    }
  }

  public struct User: Configurable {
    var username = ""
    var password = ""
    public init() {}
    public static let parameters: [Parameter<Self>] = [
      .required("username", \.username, "Name of the user"), .required("password", \.password, "Password of the user", secret: true),
    ]
  }

  public struct Client: Configurable {
    var host: String?
    var network: String?
    var sharedKey: String?
    var users: [String] = []
    public init() {}
    public static let parameters: [Parameter<Self>] = [
      .optional("host", \.host, "Name or address of the peer"),
      .optional("network", \.network, "Addresses of the peers, such as 192.168.0.0/16"),
      .optional("shared_key", \.sharedKey, "Key of these peers, instead of the common one", secret: true),
      .optional("users", \.users, "Users that may send from there; none given: all"),
    ]
    public mutating func validate(_ context: ConfigContext) throws {
      if host != nil, network != nil { throw ConfigValueError("both of 'host' and 'network' are specified for client") }
      guard host != nil || network != nil else { throw ConfigValueError("Either of 'host' and 'network' must be specified for client") }
      if let network, AddressRange(network) == nil { throw ConfigValueError("network '\(network)' address format is invalid") }
    }
  }
}
