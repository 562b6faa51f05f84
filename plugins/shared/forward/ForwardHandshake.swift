package import AggCore
import Crypto

/// The messages by which two ends of the forward protocol prove that they know the shared key: HELO, PING, PONG.
///
/// Source: Forward Protocol Specification v1, "Handshake". Digests are SHA-512 in lowercase hexadecimal.
package enum ForwardHandshake {
  /// Longest message that is read from a peer that has not proved anything yet.
  static let messageLimit = 64 << 10

  /// `["HELO", {nonce, auth, keepalive}]`, from the server.
  package struct Helo {
    var nonce: [UInt8]
    /// Salt of the password's digest; empty when no user is asked for.
    var auth: [UInt8]
    var keepalive: Bool

    init(nonce: [UInt8], auth: [UInt8], keepalive: Bool) {
      self.nonce = nonce
      self.auth = auth
      self.keepalive = keepalive
    }
    /// Nil for anything else.
    package init?(_ message: ValueView) {
      guard message.count == 2, message.element(0)?.equals("HELO") == true, let options = message.element(1) else { return nil }
      nonce = options.map?.find("nonce")?.textBytes.map { Array($0) } ?? []
      auth = options.map?.find("auth")?.textBytes.map { Array($0) } ?? []
      keepalive = options.map?.find("keepalive")?.bool ?? true
    }
    package func encode(into out: inout ByteWriter) {
      out.putArrayHeader(2)
      out.putString("HELO" as StaticString)
      out.putMapHeader(3)
      out.putString("nonce" as StaticString)
      nonce.withUnsafeBytes { out.putBinary($0) }
      out.putString("auth" as StaticString)
      auth.withUnsafeBytes { out.putBinary($0) }
      out.putString("keepalive" as StaticString)
      out.putBool(keepalive)
    }
  }

  /// `["PING", host, salt, digest, user, password digest]`, from the client.
  package struct Ping {
    var hostname: [UInt8]
    var salt: [UInt8]
    var digest: [UInt8]
    var username: [UInt8]
    var passwordDigest: [UInt8]

    init(hostname: [UInt8], salt: [UInt8], digest: [UInt8], username: [UInt8], passwordDigest: [UInt8]) {
      self.hostname = hostname
      self.salt = salt
      self.digest = digest
      self.username = username
      self.passwordDigest = passwordDigest
    }
    package init?(_ message: ValueView) {
      guard message.count == 6, message.element(0)?.equals("PING") == true else { return nil }
      var texts: [[UInt8]] = []
      for index in 1..<6 {
        guard let bytes = message.element(index)?.textBytes else { return nil }
        texts.append(Array(bytes))
      }
      self.init(hostname: texts[0], salt: texts[1], digest: texts[2], username: texts[3], passwordDigest: texts[4])
    }
    package func encode(into out: inout ByteWriter) {
      out.putArrayHeader(6)
      out.putString("PING" as StaticString)
      for text in [hostname, salt, digest, username, passwordDigest] { out.putString(text) }
    }
  }

  /// `["PONG", accepted, reason, host, digest]`, from the server.
  package struct Pong {
    var isAccepted: Bool
    var reason: String
    var hostname: [UInt8]
    var digest: [UInt8]

    static func refusal(_ reason: String) -> Pong { Pong(isAccepted: false, reason: reason, hostname: [], digest: []) }

    init(isAccepted: Bool, reason: String, hostname: [UInt8], digest: [UInt8]) {
      self.isAccepted = isAccepted
      self.reason = reason
      self.hostname = hostname
      self.digest = digest
    }
    package init?(_ message: ValueView) {
      guard message.count == 5, message.element(0)?.equals("PONG") == true else { return nil }
      isAccepted = message.element(1)?.bool ?? false
      reason = message.element(2)?.string ?? ""
      hostname = message.element(3)?.textBytes.map { Array($0) } ?? []
      digest = message.element(4)?.textBytes.map { Array($0) } ?? []
    }
    package func encode(into out: inout ByteWriter) {
      out.putArrayHeader(5)
      out.putString("PONG" as StaticString)
      out.putBool(isAccepted)
      out.putString(reason)
      out.putString(hostname)
      out.putString(digest)
    }
  }

  /// Proves the shared key, for the end whose name `hostname` is.
  static func keyDigest(salt: [UInt8], hostname: [UInt8], nonce: [UInt8], key: [UInt8]) -> [UInt8] { digest([salt, hostname, nonce, key]) }
  static func passwordDigest(auth: [UInt8], username: [UInt8], password: [UInt8]) -> [UInt8] { digest([auth, username, password]) }

  private static func digest(_ parts: [[UInt8]]) -> [UInt8] {
    var hash = SHA512()
    for part in parts { hash.update(data: part) }
    return hex(Array(hash.finalize()))
  }

  static func hex(_ bytes: [UInt8]) -> [UInt8] {
    let digits: [UInt8] = Array("0123456789abcdef".utf8)
    return bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }
  }

  static func randomBytes(_ count: Int) -> [UInt8] {
    var random = SystemRandomNumberGenerator()
    return (0..<count).map { _ in UInt8.random(in: 0...255, using: &random) }
  }

  /// In a time that does not tell where they differ.
  static func isEqual(_ a: [UInt8], _ b: [UInt8]) -> Bool {
    guard a.count == b.count else { return false }
    return zip(a, b).reduce(0 as UInt8) { $0 | ($1.0 ^ $1.1) } == 0
  }
}
