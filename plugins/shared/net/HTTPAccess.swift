import AggCore
import AggNet

/// How a plugin that asks a server over HTTP identifies itself and checks who answers.
struct HTTPAccess: Sendable {
  var username: String?
  var password: String?
  var bearerToken: String?
  var headers = StringMap()
  var caPath: String?
  var certificatePath: String?
  var keyPath: String?
  var isInsecure = false

  /// A request with the configured headers; a header that `reserved` names (lower case) belongs to the protocol.
  func fields(reserved: Set<String> = []) -> HTTPFields {
    var fields = HTTPFields()
    for pair in headers.pairs where !reserved.contains(pair.key.lowercased()) { fields[pair.key] = pair.value }
    if fields["user-agent"] == nil { fields["User-Agent"] = "agg" }
    if let bearerToken {
      fields["Authorization"] = "Bearer \(bearerToken)"
    } else if let username {
      fields["Authorization"] = "Basic " + base64(Array("\(username):\(password ?? "")".utf8))
    }
    return fields
  }

  var tls: TLSClientConfiguration {
    var tls = TLSClientConfiguration()
    if let caPath {
      tls.caPaths = [caPath]
      tls.trustsSystem = false
    }
    tls.isInsecure = isInsecure
    tls.certificatePath = certificatePath
    tls.privateKeyPath = keyPath
    return tls
  }

  func validate(reserved: Set<String> = []) throws(ConfigValueError) {
    if bearerToken != nil, username != nil { throw ConfigValueError("'bearer_token' and 'username' exclude each other") }
    if password != nil, username == nil { throw ConfigValueError("'password' needs 'username'") }
    if certificatePath != nil, keyPath == nil { throw ConfigValueError("'tls_client_cert_path' needs 'tls_private_key_path'") }
    for (name, path) in [
      ("tls_ca_cert_path", caPath), ("tls_client_cert_path", certificatePath), ("tls_private_key_path", keyPath),
    ] {
      if let path, File.status(path)?.isRegular != true { throw ConfigValueError("'\(name)' is no file: \(path)") }
    }
    if let bad = headers.pairs.first(where: { reserved.contains($0.key.lowercased()) }) {
      throw ConfigValueError("'headers' cannot set \(bad.key): it is the protocol's")
    }
  }
}

/// A section with these parameters; its rows are `accessRows`.
protocol HTTPAccessConfigurable: Configurable {
  var access: HTTPAccess { get set }
}

extension HTTPAccessConfigurable {
  static var accessRows: [Parameter<Self>] {
    [
      .optional("username", \Self.access.username, "User of HTTP's basic authentication"),
      .optional("password", \Self.access.password, "Its password", secret: true),
      .optional("bearer_token", \Self.access.bearerToken, "Sent as `Authorization: Bearer …`", secret: true),
      .optional("headers", \Self.access.headers, "Further headers"),
      .optional("tls_ca_cert_path", \Self.access.caPath, "Authorities of the server's certificate (PEM)"),
      .optional("tls_client_cert_path", \Self.access.certificatePath, "Certificate shown to the server (PEM)"),
      .optional("tls_private_key_path", \Self.access.keyPath, "Key of that certificate (PEM)"),
      .optional("tls_insecure_mode", \Self.access.isInsecure, "Take any certificate"),
    ]
  }
}
