public import AggCore
import AggNet

/// Events from agg, Fluentd, Fluent Bit and fluent-logger over the forward protocol.
public struct ForwardInput: Input {
  public static let name = "forward"
  public static let summary = "Events over the forward protocol."

  /// A message larger than this is dropped, whatever the configuration.
  private static let longestMessage = 256 << 20

  private let config: Config
  private let context: PluginContext

  public init(_ config: Config, _ context: PluginContext) throws {
    self.config = config
    self.context = context
    try config.transport.check([.tcp, .tls], context)
  }

  public var tags: SourceTags {
    if let tag = config.tag { return .tag((config.addTagPrefix.map { $0 + "." } ?? "") + tag) }
    return config.addTagPrefix.map { .pattern(TagPattern.literal($0) + "\\.**") } ?? .any
  }

  public func run(_ emitter: Emitter) async throws {
    guard let network = context.shared(Network.self) else { throw ConfigValueError("there is no network") }
    var options = ListenOptions()
    options.backlog = config.backlog ?? options.backlog
    options.linger = config.lingerTimeout
    options.keepalive = config.keepalive
    try config.transport.apply(to: &options)
    config.limits.apply(to: &options, context)
    let log = context.log
    let quiet = QuietLog(log)
    options.onError = { peer, error in quiet.warn("\(peer): \(error)") }
    let intake = ForwardIntake(
      context: context, emitter: emitter, duplicates: ForwardDuplicates(), quiet: quiet,
      options: .init(
        tag: config.tag.map { Tag($0) }, prefix: config.addTagPrefix, decompressionLimit: config.decompressionSizeLimit.bytes,
        replacesPackedZeroTime: config.skipInvalidEvent == true),
      warnLimit: config.chunkSizeWarnLimit?.bytes ?? .max, limit: min(config.chunkSizeLimit?.bytes ?? .max, Self.longestMessage),
      deniesKeepalive: config.denyKeepalive)
    intake.duplicates.restore(context)
    let source = SourceFields(addressKey: config.sourceAddressKey, hostKey: config.sourceHostnameKey)
    let authenticator: ForwardAuthenticator? =
      if let security = config.security { try await ForwardAuthenticator(security, network) } else { nil }

    let given = config.limits.messageTimeout.nanoseconds
    let handshakeTimeout = given > 0 ? min(given, ForwardSession.longestHandshake) : ForwardSession.longestHandshake
    let listener = try await Listener.bind(.host(config.bind, Int(config.port.number)), options, on: network)
    var port = Int(config.port.number)
    if case .host(_, let bound) = listener.endpoint { port = bound }
    let heartbeats: DatagramSocket
    do { heartbeats = try await DatagramSocket.bind(.host(config.bind, port), DatagramOptions(), on: network) } catch {
      await listener.close()
      throw error
    }
    log.info("listening port port=\(port) bind=\"\(config.bind)\"")
    emitter.ready()
    await withTaskGroup(of: Void.self) { group in
      group.addTask(executorPreference: heartbeats.executor) { await Self.answer(heartbeats) }
      await listener.run { connection in
        let extra = await source.fields(of: connection.peer, on: network)
        try await ForwardSession(
          connection: connection, intake: intake, authenticator: authenticator, extra: extra, handshakeTimeout: handshakeTimeout
        ).run()
      }
      group.cancelAll()
    }
    await listener.close(keepingSocket: true)
    await heartbeats.close(keepingSocket: true)
  }

  /// Any datagram is a heartbeat; the answer is one zero byte.
  private static func answer(_ socket: DatagramSocket) async {
    var batch = DatagramBatch()
    var zero = ByteWriter(capacity: 1)
    zero.append(0 as UInt8)
    while let count = try? await socket.receive(into: &batch), count > 0 {
      for index in 0..<count {
        let peer = batch.entries[index].peer
        guard peer.port > 0 else { continue }
        // A peer that is gone needs no answer.
        try? await socket.send(zero.bytes, to: peer)
      }
    }
  }
}
