import Glibc
import NIOCore
import NIOSSL

/// What went wrong on a socket, as the operator reads it.
public struct NetworkError: Error, Sendable, Hashable, CustomStringConvertible {
  /// What callers act on; a struct, so that a new code breaks nobody.
  public struct Code: Sendable, Hashable, CustomStringConvertible {
    public let description: String

    /// Another process listens there.
    public static let addressInUse = Code(description: "address in use")
    /// The address is not this machine's, the path is no socket, a port below 1024 without the right to it.
    public static let cannotBind = Code(description: "cannot bind")
    /// Nobody listens there.
    public static let refused = Code(description: "refused")
    /// The name has no address.
    public static let unknownHost = Code(description: "unknown host")
    public static let unreachable = Code(description: "unreachable")
    /// The time given for connecting, reading, writing or the whole request is over.
    public static let timeout = Code(description: "timeout")
    /// A peer that has begun nothing said nothing for the listener's `idleTimeout`.
    public static let idle = Code(description: "idle")
    /// The peer closed or reset the connection, or this side closed it meanwhile.
    public static let closed = Code(description: "closed")
    /// The handshake failed or the certificate is not trusted.
    public static let tls = Code(description: "tls")
    /// A certificate, key, cipher list, URL or proxy that cannot be used as configured.
    public static let configuration = Code(description: "configuration")
    /// The answer is larger than the caller allowed.
    public static let tooLarge = Code(description: "too large")
    /// The peer does not speak the protocol.
    public static let malformed = Code(description: "malformed")
    public static let other = Code(description: "other")
  }

  public let code: Code
  public let description: String

  public init(_ code: Code, _ description: String) {
    self.code = code
    self.description = description
  }
}

extension NetworkError {
  /// An error of the system's, with what was tried and where: `address already in use (127.0.0.1:5170)`.
  static func system(_ number: CInt, _ place: String, default code: Code = .other) -> NetworkError {
    switch number {
    case EADDRINUSE: NetworkError(.addressInUse, "address already in use (\(place))")
    case EADDRNOTAVAIL: NetworkError(.cannotBind, "address not available on this machine (\(place))")
    case EACCES, EPERM: NetworkError(code == .other ? .cannotBind : code, "permission denied (\(place))")
    case ECONNREFUSED: NetworkError(.refused, "connection refused (\(place))")
    case ENOENT: NetworkError(code == .other ? .refused : code, "no such file or directory (\(place))")
    case ETIMEDOUT: NetworkError(.timeout, "connection timed out (\(place))")
    case EHOSTUNREACH, ENETUNREACH, ENETDOWN: NetworkError(.unreachable, "\(text(of: number)) (\(place))")
    case ECONNRESET: NetworkError(.closed, "connection reset by peer (\(place))")
    case EPIPE: NetworkError(.closed, "connection closed by peer (\(place))")
    case ECONNABORTED, ENOTCONN, EBADF: NetworkError(.closed, "\(text(of: number)) (\(place))")
    default: NetworkError(code, "\(text(of: number)) (\(place))")
    }
  }

  /// Any error of the layers below, told as ours; ours and cancellation stay what they are.
  static func wrap(_ error: any Error, _ place: String) -> any Error {
    switch error {
    case is NetworkError, is CancellationError: return error
    case let error as IOError: return system(error.errnoCode, place)
    case let error as ChannelError:
      if case .connectTimeout = error { return NetworkError(.timeout, "connection timed out (\(place))") }
      return NetworkError(.closed, "connection closed (\(place))")
    case is NIOSSLError, is BoringSSLError: return NetworkError(.tls, "TLS: \(tlsReason("\(error)")) (\(place))")
    case let error as NIOSSLExtraError: return NetworkError(.tls, "TLS: \(error.description) (\(place))")
    default: return NetworkError(.other, "\(error) (\(place))")
    }
  }

  /// The reason in BoringSSL's text, `…routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED at FILE:LINE`, in plain words.
  static func tlsReason(_ text: String) -> String {
    var reasons: [String] = []
    var current = ""
    // Reasons are the only words of capitals and underscores of this length in it.
    for character in text + " " {
      if character.isUppercase || character == "_" || (character.isNumber && !current.isEmpty) {
        current.append(character)
      } else {
        if current.count > 8, current.contains("_") {
          reasons.append(current.lowercased().split(separator: "_").joined(separator: " "))
        }
        current = ""
      }
    }
    return reasons.isEmpty ? text : reasons.joined(separator: ", ")
  }

  private static func text(of number: CInt) -> String {
    var buffer = [CChar](repeating: 0, count: 256)
    guard strerror_r(number, &buffer, buffer.count) == 0 else { return "error \(number)" }
    let text = buffer.withUnsafeBufferPointer { $0.baseAddress.map { String(cString: $0) } ?? "" }
    return text.prefix(1).lowercased() + text.dropFirst()
  }
}
