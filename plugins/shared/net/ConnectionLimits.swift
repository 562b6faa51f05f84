import AggCore
import AggNet

/// What a plugin that listens allows its peers: how many connections, and how long a message and a silence may be.
///
/// Its rows are `connectionRows`; `apply` sets them on a listener's options, with the counting.
struct ConnectionLimits: Sendable {
  var connections = 16_384
  var messageTimeout = TimeSpan(seconds: 60)
  /// Nil, or 0, is no limit: a quiet sender is as good as any.
  var idleTimeout: TimeSpan?

  /// A page for operators and collectors: few read it.
  static let page = ConnectionLimits(connections: 256)

  func validate() throws(ConfigValueError) {
    if connections < 1 { throw ConfigValueError("'connection_limit' must be 1 or more; got \(connections)") }
    if messageTimeout.nanoseconds < 0 { throw ConfigValueError("'message_timeout' must be 0, for no limit, or more") }
    if let idleTimeout, idleTimeout.nanoseconds < 0 { throw ConfigValueError("'idle_timeout' must be 0, for no limit, or more") }
  }

  func apply(to options: inout ListenOptions, _ context: PluginContext) {
    options.maxConnections = connections
    options.messageTimeout = messageTimeout.duration
    if messageTimeout.nanoseconds > 0 { options.handshakeTimeout = min(options.handshakeTimeout, messageTimeout.duration) }
    if let idleTimeout, idleTimeout.nanoseconds > 0 { options.idleTimeout = idleTimeout.duration }
    options.log = context.log
    let counters = context.counters
    options.onEvent = { event in
      switch event {
      case .accepted: counters.add(.connections, .openConnections, 1)
      case .ended: counters.add(.openConnections, -1)
      case .refused: counters.add(.refusedConnections, 1)
      case .timedOut: counters.add(.timedOutConnections, 1)
      }
    }
  }
}

/// A section with these parameters.
protocol ConnectionLimited: Configurable {
  var limits: ConnectionLimits { get set }
}

extension ConnectionLimited {
  /// Where a silent peer has another time limit, or none.
  static var connectionRows: [Parameter<Self>] {
    [
      .optional("connection_limit", \Self.limits.connections, "Connections at a time; one more is closed at once and counted"),
      .optional(
        "message_timeout", \Self.limits.messageTimeout,
        "Time for a message that has begun, and a second more for each 4 KiB of it; 0 is no limit"),
    ]
  }
  /// Of streams, whose senders may be quiet.
  static var streamRows: [Parameter<Self>] {
    connectionRows + [
      .optional(
        "idle_timeout", \Self.limits.idleTimeout, "A connection that brings nothing for so long is closed; without it never")
    ]
  }
}
