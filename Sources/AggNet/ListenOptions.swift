public import AggCore

/// What becomes of a listener's connections, to be counted.
public enum ConnectionEvent: Sendable, Hashable {
  case accepted, ended
  /// Closed at once, beyond `maxConnections`.
  case refused
  /// Its peer took too long: for a handshake, a message, an answer, or by saying nothing.
  case timedOut
}

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
  /// A connection beyond so many is closed at once. At half of the process's descriptors further ones wait in the backlog instead.
  public var maxConnections = 16_384
  /// The socket file's mode, such as 0o660.
  public var unixPermissions: UInt32?
  /// SO_RCVBUF in bytes of each connection.
  public var receiveBuffer: Int?
  /// A read that brings nothing for this long throws `NetworkError.idle`.
  public var idleTimeout: Duration?
  /// A message that has begun may take so long, and a second more for each `MessagePatience.bytesPerSecond` of it; then `read` throws
  /// `NetworkError.timeout`. An answer that the peer does not take for so long ends its connection. Zero: no limit.
  public var messageTimeout: Duration = .zero
  /// A TLS handshake that takes longer ends the connection.
  public var handshakeTimeout: Duration = .seconds(10)
  /// Closes a connection whose task does not end this long after it was cancelled.
  public var closeDeadline: Duration = .seconds(5)
  /// Told of connections that failed: a handshake, or an error that the closure of `run` threw.
  public var onError: (@Sendable (PeerAddress, any Error) -> Void)?
  public var onEvent: (@Sendable (ConnectionEvent) -> Void)?
  /// Told once when connections are refused, or have to wait for want of descriptors, and once when that is over.
  public var log: Log?

  public init() {}

  var socket: SocketOptions {
    SocketOptions(
      backlog: CInt(clamping: max(1, backlog)), reusePort: reusePort, receiveBuffer: receiveBuffer,
      unixPermissions: unixPermissions)
  }
}
