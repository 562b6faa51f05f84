import AggCore
import Glibc
import NIOCore
import NIOSSL
import Synchronization

extension TLSServerConfiguration {
  /// Reads the files. Blocks; throws `NetworkError.configuration` naming the file.
  func context() throws -> NIOSSLContext {
    let chain = try certificates(certificatePath)
    let key = try privateKey(privateKeyPath, privateKeyPassphrase)
    var configuration = TLSConfiguration.makeServerConfiguration(
      certificateChain: chain.map { .certificate($0) }, privateKey: .privateKey(key))
    configuration.minimumTLSVersion = minVersion.version
    configuration.maximumTLSVersion = maxVersion?.version
    if let caPath { configuration.trustRoots = .certificates(try certificates(caPath)) }
    configuration.certificateVerification = requiresClientCertificate ? .noHostnameVerification : .none
    configuration.sendCANameList = requiresClientCertificate && caPath != nil
    if let ciphers { configuration.cipherSuites = ciphers }
    return try make(configuration)
  }
}

extension TLSClientConfiguration {
  func configuration() throws -> TLSConfiguration {
    var configuration = TLSConfiguration.makeClientConfiguration()
    configuration.minimumTLSVersion = minVersion.version
    configuration.maximumTLSVersion = maxVersion?.version
    let roots = try caPaths.flatMap { try certificates($0) }
    if isInsecure {
      configuration.certificateVerification = .none
      configuration.trustRoots = .certificates([])
    } else {
      configuration.certificateVerification = verifiesHostName ? .fullVerification : .noHostnameVerification
      if trustsSystem {
        configuration.additionalTrustRoots = roots.isEmpty ? [] : [.certificates(roots)]
      } else {
        configuration.trustRoots = .certificates(roots)
      }
    }
    if let certificatePath {
      configuration.certificateChain = try certificates(certificatePath).map { .certificate($0) }
      configuration.privateKey = .privateKey(try privateKey(privateKeyPath ?? certificatePath, privateKeyPassphrase))
    }
    if let ciphers { configuration.cipherSuites = ciphers }
    return configuration
  }
}

/// The contexts of outgoing connections, made once while their files stay the same: reading the system's authorities
/// takes milliseconds and megabytes.
final class TLSClientContexts: Sendable {
  private struct Key: Hashable {
    let configuration: TLSClientConfiguration
    let stamps: [Int]
  }

  private let contexts = Mutex<[Key: NIOSSLContext]>([:])

  /// Blocks when a file has to be read.
  func context(_ configuration: TLSClientConfiguration) throws -> NIOSSLContext {
    let paths = configuration.caPaths + [configuration.certificatePath, configuration.privateKeyPath].compactMap { $0 }
    let key = Key(configuration: configuration, stamps: paths.flatMap(stamps))
    if let context = contexts.withLock({ $0[key] }) { return context }
    let context = try make(try configuration.configuration())
    contexts.withLock { contexts in
      // Few configurations exist; renewed certificates replace their old context.
      if contexts.count >= 32 { contexts.removeAll() }
      contexts = contexts.filter { $0.key.configuration != configuration }
      contexts[key] = context
    }
    return context
  }

}

/// What changes when a file is written anew or exchanged.
func stamps(of path: String) -> [Int] {
  var info = stat()
  guard stat(path, &info) == 0 else { return [0] }
  return [info.st_mtim.tv_sec, info.st_mtim.tv_nsec, Int(info.st_size), Int(truncatingIfNeeded: info.st_ino)]
}

extension TLSInfo {
  /// Nil when the channel has no TLS; on the channel's loop.
  init?(_ channel: any Channel) {
    guard let handler = try? channel.pipeline.syncOperations.handler(type: NIOSSLHandler.self) else { return nil }
    switch handler.tlsVersion {
    case .tlsv1?: version = .tls10
    case .tlsv11?: version = .tls11
    case .tlsv12?: version = .tls12
    case .tlsv13?: version = .tls13
    default: version = nil
    }
    let bytes = handler.peerCertificate.flatMap { try? $0.toDERBytes() }
    peerCertificate = bytes
    peerCommonName = bytes.flatMap { commonName(ofCertificate: $0) }
  }
}

extension TLSVersion {
  fileprivate var version: NIOSSL.TLSVersion {
    switch self {
    case .tls10: .tlsv1
    case .tls11: .tlsv11
    case .tls12: .tlsv12
    case .tls13: .tlsv13
    }
  }
}

private func make(_ configuration: TLSConfiguration) throws -> NIOSSLContext {
  do { return try NIOSSLContext(configuration: configuration) } catch {
    throw NetworkError(.configuration, "TLS: certificate, key or ciphers do not fit: \(error)")
  }
}

private func certificates(_ path: String) throws -> [NIOSSLCertificate] {
  try checkReadable(path)
  guard let list = try? NIOSSLCertificate.fromPEMFile(path), !list.isEmpty else {
    throw NetworkError(.configuration, "TLS: no PEM certificate in \(path)")
  }
  return list
}

private func privateKey(_ path: String, _ passphrase: String?) throws -> NIOSSLPrivateKey {
  try checkReadable(path)
  do {
    guard let passphrase else { return try NIOSSLPrivateKey(file: path, format: .pem) }
    return try NIOSSLPrivateKey(file: path, format: .pem) { $0(passphrase.utf8) }
  } catch {
    throw NetworkError(
      .configuration, "TLS: no usable private key in \(path)\(passphrase == nil ? "" : ", or a wrong passphrase")")
  }
}

private func checkReadable(_ path: String) throws {
  let descriptor = open(path, O_RDONLY | O_CLOEXEC)
  guard descriptor >= 0 else { throw NetworkError.system(errno, path, default: .configuration) }
  close(descriptor)
}
