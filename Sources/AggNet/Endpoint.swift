import Glibc
import NIOCore

/// Where to listen or connect: a host with a port, or a unix socket's path.
public enum Endpoint: Sendable, Hashable, CustomStringConvertible {
  /// A name or an address, and a port of 0...65535; port 0 lets the system choose when binding.
  case host(String, Int)
  case unix(String)

  public var description: String {
    switch self {
    case .host(let host, let port): host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
    case .unix(let path): "unix:\(path)"
    }
  }
}

/// Who is on the other side.
public struct PeerAddress: Sendable, Hashable, CustomStringConvertible {
  /// The address as text, an IPv4 address inside IPv6 as IPv4; empty for a unix socket.
  public let ip: String
  /// 0 for a unix socket.
  public let port: Int
  /// What `DatagramSocket.send` needs.
  let address: SocketAddress?

  public var description: String { ip.isEmpty ? "unix" : "\(Endpoint.host(ip, port))" }

  init(_ address: SocketAddress?) {
    self.address = address
    var text = address?.ipAddress ?? ""
    if text.hasPrefix("::ffff:"), text.contains(".") { text.removeFirst(7) }
    ip = text
    port = address?.port ?? 0
  }
}
