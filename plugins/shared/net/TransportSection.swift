import AggCore
import AggNet

/// What carries an input's records, as `<transport NAME>` says.
enum TransportProtocol: String, ConfigEnum {
  case tcp, udp, tls
}

/// `<transport>` of an input that listens: the protocol, its socket's options and the server's certificate.
///
/// A plugin declares it with `.section("transport", \.transport, …)`, calls `check` in its `init` and `apply` before it binds.
struct TransportSection: Configurable {
  /// Nil when the section does not say: the plugin's own default.
  var kind: TransportProtocol?
  var receiveBuffer: ByteSize?
  var linger: Int?
  var version: TransportTLSVersion?
  var minVersion: TransportTLSVersion?
  var maxVersion: TransportTLSVersion?
  var ciphers = Self.allCiphers
  var isInsecure = false
  var ensureFIPS = false
  var caPath: String?
  var certPath: String?
  var keyPath: String?
  var passphrase: String?
  var clientCertAuth = false
  var certVerifier: String?
  var caCertPath: String?
  var caKeyPath: String?
  var caPassphrase: String?
  init() {}

  /// Fluentd's default; the library's own default list has none of the excluded ones either.
  private static let allCiphers = "ALL:!aNULL:!eNULL:!SSLv2"

  static let parameters: [Parameter<Self>] = [
    .argument(\.kind, "tcp, udp or tls, as far as the plugin has them"),
    .optional("receive_buffer_size", \.receiveBuffer, "SO_RCVBUF of the socket"),
    .optional("linger_timeout", \.linger, "SO_LINGER in seconds; without it connections close in order"),
    .optional("version", \.version, "The one TLS version to speak; without it TLS 1.2 and newer"),
    .optional("min_version", \.minVersion, "Lowest TLS version, with max_version"),
    .optional("max_version", \.maxVersion, "Highest TLS version, with min_version"),
    .optional("ciphers", \.ciphers, "OpenSSL's cipher list, for TLS 1.2 and below"),
    .optional("insecure", \.isInsecure, "Not supported without cert_path: agg makes no certificates"),
    .optional("ensure_fips", \.ensureFIPS, "Not supported"),
    .optional("ca_path", \.caPath, "Authorities of client certificates, PEM"),
    .optional("cert_path", \.certPath, "The server's certificate and its intermediates, PEM"),
    .optional("private_key_path", \.keyPath, "The certificate's key, PEM"),
    .optional("private_key_passphrase", \.passphrase, "Passphrase of the key", secret: true),
    .optional("client_cert_auth", \.clientCertAuth, "Refuse clients without a certificate of ca_path"),
    .optional("cert_verifier", \.certVerifier, "Not supported: it is Ruby code"),
    .optional("ca_cert_path", \.caCertPath, "Not supported: agg makes no certificates"),
    .optional("ca_private_key_path", \.caKeyPath, "Not supported: agg makes no certificates"),
    .optional("ca_private_key_passphrase", \.caPassphrase, "Not supported: agg makes no certificates", secret: true),
    .ignored("generate_private_key_length", "agg makes no certificates"),
    .ignored("generate_cert_country", "agg makes no certificates"),
    .ignored("generate_cert_state", "agg makes no certificates"),
    .ignored("generate_cert_locality", "agg makes no certificates"),
    .ignored("generate_cert_common_name", "agg makes no certificates"),
    .ignored("generate_cert_expiration", "agg makes no certificates"),
    .ignored("generate_cert_digest", "agg makes no certificates"),
  ]

  mutating func validate(_ context: ConfigContext) throws { _ = try server() }

  /// The server's side of TLS, nil when the section does not ask for it. Files are read when the socket is bound.
  func server() throws(ConfigValueError) -> TLSServerConfiguration? {
    guard kind == .tls else { return nil }
    if certVerifier != nil { throw ConfigValueError("'cert_verifier' is Ruby code, which agg does not run; use client_cert_auth and ca_path") }
    if ensureFIPS { throw ConfigValueError("'ensure_fips' is not supported: agg's TLS library is not a validated one") }
    if (minVersion == nil) != (maxVersion == nil) { throw ConfigValueError("'min_version' and 'max_version' must be set together") }
    if let minVersion, let maxVersion, minVersion.version > maxVersion.version { throw ConfigValueError("'min_version' is above 'max_version'") }
    guard let certPath else {
      if caCertPath != nil || isInsecure {
        throw ConfigValueError("agg makes no certificates ('\(isInsecure ? "insecure" : "ca_cert_path")'); make one and name it in 'cert_path'")
      }
      throw ConfigValueError("'cert_path' is required for TLS")
    }
    guard let keyPath else { throw ConfigValueError("'private_key_path' is required when 'cert_path' is specified") }
    var configuration = TLSServerConfiguration(certificatePath: certPath, privateKeyPath: keyPath)
    configuration.privateKeyPassphrase = passphrase
    configuration.caPath = caPath
    configuration.requiresClientCertificate = clientCertAuth
    configuration.minVersion = (minVersion ?? version)?.version ?? .tls12
    configuration.maxVersion = (maxVersion ?? version)?.version
    if !isInsecure, ciphers != Self.allCiphers { configuration.ciphers = ciphers }
    return configuration
  }

  /// Refuses a protocol that the plugin does not have, at the section's line; for the plugin's `init`.
  func check(_ allowed: [TransportProtocol], _ context: PluginContext) throws(ConfigError) {
    guard let kind, !allowed.contains(kind) else { return }
    let at = context.element.child("transport")?.at ?? context.element.at
    throw ConfigError(at: at, "<transport \(kind.rawValue)> is unknown here; known: \(allowed.map(\.rawValue).joined(separator: ", "))")
  }

  /// Sets what the section says on a listener's options.
  func apply(to options: inout ListenOptions) throws(ConfigValueError) {
    options.tls = try server()
    if let receiveBuffer { options.receiveBuffer = receiveBuffer.bytes }
    if let linger { options.linger = linger }
  }
}

/// A TLS version by Fluentd's names.
struct TransportTLSVersion: ConfigReadable {
  var version: TLSVersion
  static var configType: String { "enum: TLSv1_1, TLSv1_2, TLSv1_3" }
  init(configText: String, strict: Bool) throws(ConfigValueError) {
    guard let version = TLSVersion(name: configText), version > .tls10 else {
      throw ConfigValueError("must be one of TLSv1_1, TLSv1_2, TLSv1_3, TLS1_1, TLS1_2, TLS1_3; got '\(configText)'")
    }
    self.version = version
  }
  var configText: String { "TLSv1_\(version.rawValue)" }
}
