/// The versions that a peer may speak.
public enum TLSVersion: Int, Sendable, Hashable, Comparable, CaseIterable {
  case tls10, tls11, tls12, tls13

  /// Fluentd's names: `TLSv1_2`, `TLS1_2`, also `TLSv1.2`; nil for another word.
  public init?(name: String) {
    switch name {
    case "TLSv1", "TLS1", "TLSv1_0", "TLSv1.0": self = .tls10
    case "TLSv1_1", "TLS1_1", "TLSv1.1": self = .tls11
    case "TLSv1_2", "TLS1_2", "TLSv1.2": self = .tls12
    case "TLSv1_3", "TLS1_3", "TLSv1.3": self = .tls13
    default: return nil
    }
  }

  public static func < (a: TLSVersion, b: TLSVersion) -> Bool { a.rawValue < b.rawValue }
}

/// How a server proves itself and what it asks of clients. Paths are PEM files, read when the listener is bound and when they change.
public struct TLSServerConfiguration: Sendable, Hashable {
  /// The certificate, then its intermediates.
  public var certificatePath: String
  public var privateKeyPath: String
  public var privateKeyPassphrase: String?
  /// The authorities of client certificates; nil takes the system's.
  public var caPath: String?
  /// Refuse clients without a certificate of these authorities.
  public var requiresClientCertificate = false
  public var minVersion: TLSVersion = .tls12
  public var maxVersion: TLSVersion?
  /// OpenSSL's notation, for TLS 1.2 and below.
  public var ciphers: String?

  public init(certificatePath: String, privateKeyPath: String) {
    self.certificatePath = certificatePath
    self.privateKeyPath = privateKeyPath
  }
}

/// Whom a client trusts and how it proves itself.
public struct TLSClientConfiguration: Sendable, Hashable {
  /// PEM files of authorities, or of the server's own self-signed certificate.
  public var caPaths: [String] = []
  /// Trust the system's authorities too.
  public var trustsSystem = true
  /// Accept any certificate; who is on the other side is then unknown.
  public var isInsecure = false
  /// The certificate has to name the host.
  public var verifiesHostName = true
  /// Sent to the server and compared with its certificate; nil takes the host that is connected to.
  public var serverName: String?
  public var certificatePath: String?
  public var privateKeyPath: String?
  public var privateKeyPassphrase: String?
  public var minVersion: TLSVersion = .tls12
  public var maxVersion: TLSVersion?
  /// OpenSSL's notation, for TLS 1.2 and below.
  public var ciphers: String?

  public init() {}
}

/// What a finished handshake tells.
public struct TLSInfo: Sendable, Hashable {
  public let version: TLSVersion?
  /// The peer's certificate in DER, nil when it sent none.
  public let peerCertificate: [UInt8]?
  /// The common name of that certificate's subject; verified when the configuration verifies certificates.
  public let peerCommonName: String?
}
