public import AggCore
import AggNet

extension ForwardOutput {
  enum HeartbeatType: String, ConfigEnum { case transport, tcp, udp, none }
  enum Compression: String, ConfigEnum { case text, gzip, zstd }
  enum Transport: String, ConfigEnum { case tcp, tls }

  public struct Config: Configurable {
    var servers: [Server] = []
    var discoveries: [ConfigElement] = []
    var security: Security?
    var requiresAck = false
    var ackTimeout = TimeSpan(seconds: 190)
    var compress = Compression.text
    var sendTimeout = TimeSpan(seconds: 60)
    var connectTimeout: TimeSpan?
    var heartbeatType = HeartbeatType.transport
    var heartbeatInterval = TimeSpan(seconds: 1)
    var recoverWait = TimeSpan(seconds: 10)
    var hardTimeout = TimeSpan(seconds: 60)
    var phiThreshold = 16
    var phiDetector = true
    var keepalive = false
    var keepaliveTimeout: TimeSpan?
    var sendsKeepalivePacket = false
    var expireDNSCache: TimeSpan?
    var dnsRoundRobin = false
    var ignoresErrorsAtStartup = false
    var verifiesAtStartup = false
    var transport = Transport.tcp
    var tlsVersion: TransportTLSVersion?
    var tlsCiphers: String?
    var tlsInsecure = false
    var tlsAllowsSelfSigned = false
    var tlsVerifiesHostname = true
    var tlsCAPaths: [String]?
    var tlsCertPaths: [String]?
    var tlsClientCertPath: String?
    var tlsClientKeyPath: String?
    var tlsClientPassphrase: String?
    public init() {}
    public static let parameters: [Parameter<Self>] = [
      .sections("server", \.servers, "Where chunks go; one of the servers takes each"),
      .elements("service_discovery", \.discoveries, "More servers: `@type static` with <service> sections, `@type file` with `path`, `@type srv` with `service` and `hostname`"),
      .section("security", \.security, "The handshake that in_forward's <security> asks for"),
      .optional("require_ack_response", \.requiresAck, "A chunk is done when the server has acknowledged it, not when it is written"),
      .optional("ack_response_timeout", \.ackTimeout, "How long an acknowledgement may take"),
      .optional("compress", \.compress, "Compression of a chunk on its way"),
      .optional("send_timeout", \.sendTimeout, "How long the kernel may refuse bytes"),
      .optional("connect_timeout", \.connectTimeout, "How long connecting may take (default 10s)"),
      .optional("heartbeat_type", \.heartbeatType, "transport connects, udp sends a datagram; tcp is transport"),
      .optional("heartbeat_interval", \.heartbeatInterval, "Time between heartbeats"),
      .optional("recover_wait", \.recoverWait, "How long a failed server's heartbeats must come before it gets chunks again"),
      .optional("hard_timeout", \.hardTimeout, "A server without a heartbeat for this long is left out; also the handshake's limit"),
      .optional("phi_threshold", \.phiThreshold, "Suspicion at which the phi detector leaves a server out"),
      .optional("phi_failure_detector", \.phiDetector, "Judge a missing heartbeat by the intervals of those before"),
      .optional("keepalive", \.keepalive, "Use a connection for several chunks"),
      .optional("keepalive_timeout", \.keepaliveTimeout, "How long an idle connection is kept; without it as long as it lasts"),
      .optional("send_keepalive_packet", \.sendsKeepalivePacket, "TCP keepalive; needs keepalive"),
      .optional("expire_dns_cache", \.expireDNSCache, "How long addresses are kept, 0 not at all; without it until the server fails"),
      .optional("dns_round_robin", \.dnsRoundRobin, "Take any address of a name, not the first"),
      .optional("ignore_network_errors_at_startup", \.ignoresErrorsAtStartup, "Start although a server's name has no address"),
      .optional("verify_connection_at_startup", \.verifiesAtStartup, "Do not start unless every server can be connected to"),
      .optional("transport", \.transport, "tcp or tls"),
      .optional("tls_version", \.tlsVersion, "Lowest TLS version (default TLSv1_2)"),
      .optional("tls_ciphers", \.tlsCiphers, "OpenSSL's cipher list, for TLS 1.2 and below"),
      .optional("tls_insecure_mode", \.tlsInsecure, "Accept any certificate"),
      .optional("tls_allow_self_signed_cert", \.tlsAllowsSelfSigned, "No effect: a self-signed certificate is trusted when tls_cert_path has it"),
      .optional("tls_verify_hostname", \.tlsVerifiesHostname, "The certificate must name the host (or `name` where the host is an address)"),
      .optional("tls_ca_cert_path", \.tlsCAPaths, "Further authorities, PEM"),
      .optional("tls_cert_path", \.tlsCertPaths, "As tls_ca_cert_path, and stronger"),
      .optional("tls_client_cert_path", \.tlsClientCertPath, "Certificate to show to the server, PEM"),
      .optional("tls_client_private_key_path", \.tlsClientKeyPath, "Its key, PEM"),
      .optional("tls_client_private_key_passphrase", \.tlsClientPassphrase, "Passphrase of the key", secret: true),
      .ignored("read_interval_msec", "Nothing polls"),
      .ignored("<transport>", "It says nothing to an output: `transport` and tls_… do"),
      .unsupported("host", "write a <server> section"),
      .unsupported("port", "write a <server> section"),
      .ignored("read_length", "Reads take what is there"),
      .ignored("tls_cert_thumbprint", "Windows only"),
      .ignored("tls_cert_logical_store_name", "Windows only"),
      .ignored("tls_cert_use_enterprise_store", "Windows only"),
    ]

    public mutating func validate(_ context: ConfigContext) throws {
      if heartbeatType == .tcp { heartbeatType = .transport }
      if dnsRoundRobin, heartbeatType == .udp {
        throw ConfigValueError("forward output heartbeat type must be 'transport' or 'none' to use dns_round_robin option")
      }
      if servers.isEmpty, discoveries.isEmpty {
        throw ConfigValueError("forward output plugin requires at least one node is required. Add <server> or <service_discovery>")
      }
      if sendsKeepalivePacket, !keepalive {
        throw ConfigValueError("'send_keepalive_packet' is enabled but 'keepalive' is not. Enable 'keepalive' to use TCP keepalive.")
      }
      if ackTimeout < TimeSpan(seconds: 1) { throw ConfigValueError("ack_response_timeout must be a positive integer") }
      if heartbeatInterval.nanoseconds <= 0 { throw ConfigValueError("'heartbeat_interval' must be more than 0") }
      if transport == .tls {
        for path in tlsCertPaths ?? tlsCAPaths ?? [] where File.status(path) == nil {
          throw ConfigValueError("specified cert path does not exist:\(path)")
        }
      }
    }

    /// How connections to `server` are encrypted; nil for none.
    func tls(for service: ForwardService) -> TLSClientConfiguration? {
      guard transport == .tls else { return nil }
      var tls = TLSClientConfiguration()
      let certs = tlsCertPaths ?? []
      tls.caPaths = certs.isEmpty ? tlsCAPaths ?? [] : certs
      tls.isInsecure = tlsInsecure
      // Without a name there is nothing to compare the certificate with.
      tls.serverName = service.certificateName
      tls.verifiesHostName = tlsVerifiesHostname && tls.serverName != nil
      tls.minVersion = tlsVersion?.version ?? .tls12
      tls.ciphers = tlsCiphers
      tls.certificatePath = tlsClientCertPath
      tls.privateKeyPath = tlsClientKeyPath
      tls.privateKeyPassphrase = tlsClientPassphrase
      return tls
    }
  }

  struct Security: Configurable {
    var selfHostname = ""
    var sharedKey = ""
    init() {}
    static let parameters: [Parameter<Self>] = [
      .required("self_hostname", \.selfHostname, "Name of this host in the handshake; the server must have another"),
      .required("shared_key", \.sharedKey, "Key that the servers know", secret: true),
    ]
  }

  /// `<server>`, and `<service>` of a static service discovery.
  struct Server: Configurable {
    var host = ""
    var port = Port(24224)
    var serverName: String?
    var sharedKey: String?
    var username = ""
    var password = ""
    var standby = false
    var weight = 60
    init() {}
    static let parameters: [Parameter<Self>] = [
      .required("host", \.host, "Name or address"),
      .optional("port", \.port, "Port"),
      .optional("name", \.serverName, "Name in the log; what the certificate must name where the host is an address"),
      .optional("shared_key", \.sharedKey, "Key of this server, instead of the common one", secret: true),
      .optional("username", \.username, "User, where the server asks for one"),
      .optional("password", \.password, "Password of the user", secret: true),
      .optional("standby", \.standby, "Gets chunks only while another server is left out"),
      .optional("weight", \.weight, "Share of the chunks; 0 gets none"),
    ]
    mutating func validate(_ context: ConfigContext) throws {
      // The order of turns has an entry for each unit of weight.
      if !(0...100_000).contains(weight) { throw ConfigValueError("'weight' must be from 0 to 100000; got \(weight)") }
    }
    var service: ForwardService {
      ForwardService(
        host: host, port: Int(port.number), name: serverName, weight: weight, isStandby: standby, username: username, password: password,
        sharedKey: sharedKey)
    }
  }
}
