/// How a listener treats its socket and its connections.
public struct ListenOptions: Sendable {
  /// Connections that the kernel queues before they are accepted.
  public var backlog = 1024
  public var tls: TLSServerConfiguration?
  /// Several processes listen on the port, and the kernel spreads the connections (SO_REUSEPORT).
  public var reusePort = false
  /// Probes silent peers, and so notices those that vanished (SO_KEEPALIVE).
  public var keepalive = false
  /// SO_LINGER in seconds; 0 resets the connection on close. Nil leaves the system's way.
  public var linger: Int?
  /// At this many open connections the listener stops accepting; further ones wait in the backlog.
  public var maxConnections = 65_536
  /// The socket file's mode, such as 0o660.
  public var unixPermissions: UInt32?
  /// SO_RCVBUF in bytes of each connection.
  public var receiveBuffer: Int?
  /// A read that brings nothing for this long throws `NetworkError.timeout`.
  public var idleTimeout: Duration?
  /// A TLS handshake that takes longer ends the connection.
  public var handshakeTimeout: Duration = .seconds(10)
  /// Closes a connection whose task does not end this long after it was cancelled.
  public var closeDeadline: Duration = .seconds(5)
  /// Told of connections that failed: a handshake, or an error that the closure of `run` threw.
  public var onError: (@Sendable (PeerAddress, any Error) -> Void)?

  public init() {}

  var socket: SocketOptions {
    SocketOptions(
      backlog: CInt(clamping: max(1, backlog)), reusePort: reusePort, receiveBuffer: receiveBuffer,
      unixPermissions: unixPermissions)
  }
}
