public import AggCore
import AggNet

/// Events from agg, Fluentd, Fluent Bit and fluent-logger over the forward protocol.
public struct ForwardInput: Input {
  public struct Config: Configurable {
    var port = Port(24224)
    var bind = "0.0.0.0"
    var tag: String?
    var addTagPrefix: String?
    var sourceAddressKey: String?
    var sourceHostnameKey: String?
    var chunkSizeLimit: ByteSize?
    var keepalive = false
    public init() {}
    public static let parameters: [Parameter<Self>] = [
      .optional("port", \.port, "Port to listen on"),
      .optional("bind", \.bind, "Address to listen on"),
      .optional("tag", \.tag, "Tag for all events, instead of the sender's"),
      .optional("add_tag_prefix", \.addTagPrefix, "Put before every tag, with a dot"),
      .optional("source_address_key", \.sourceAddressKey, "Field that gets the peer's address"),
      .optional("source_hostname_key", \.sourceHostnameKey, "Field that gets the peer's host name"),
      .optional("chunk_size_limit", \.chunkSizeLimit, "Largest message; the connection of a larger one is closed"),
      .optional("send_keepalive_packet", \.keepalive, "TCP keepalive"),
      .ignored("chunk_size_warn_limit", "Use chunk_size_limit"),
      .ignored("backlog", "1024"),
      .ignored("linger_timeout", "Connections close in order"),
      .ignored("resolve_hostname", "Use source_hostname_key"),
      .ignored("skip_invalid_event", "Invalid events are always left out alone, and counted"),
      .ignored("deny_keepalive", "The sender decides"),
    ]
  }
  public static let name = "forward"
  public static let summary = "Events over the forward protocol."

  /// A message larger than this is not read, whatever it declares.
  private static let longestMessage = 256 << 20
  private let config: Config
  private let context: PluginContext

  public init(_ config: Config, _ context: PluginContext) throws {
    for name in ["security", "transport"] {
      if let section = context.element.child(name) {
        throw ConfigError(at: section.at, "<\(name)> of in_forward is not supported yet; agg will not run it as if it were not there")
      }
    }
    self.config = config
    self.context = context
  }

  public func run(_ emitter: Emitter) async throws {
    guard let network = context.shared(Network.self) else { throw ConfigValueError("there is no network") }
    var options = ListenOptions()
    options.keepalive = config.keepalive
    let log = context.log
    options.onError = { peer, error in log.warn("\(peer): \(error)") }
    let listener = try await Listener.bind(.host(config.bind, Int(config.port.number)), options, on: network)
    log.info("listening port port=\(config.port.number) bind=\"\(config.bind)\"")
    emitter.ready()
    await listener.run { connection in
      do { try await serve(connection, emitter, network) } catch ForwardMessage.Failure.malformed(let what) {
        log.warn("\(connection.peer): \(what); the connection is closed")
      }
      await connection.close()
    }
    await listener.close(keepingSocket: true)
  }

  private func serve(_ connection: Connection, _ emitter: Emitter, _ network: Network) async throws {
    var extra: [(key: [UInt8], value: String)] = []
    if let key = config.sourceAddressKey { extra.append((Array(key.utf8), connection.peer.ip)) }
    if let key = config.sourceHostnameKey { extra.append((Array(key.utf8), await network.hostName(of: connection.peer) ?? connection.peer.ip)) }
    let limit = config.chunkSizeLimit?.bytes ?? Self.longestMessage
    var buffer = ByteWriter(capacity: 4096)
    var needed = 1
    while try await connection.read(into: &buffer) > 0 {
      if buffer.count < needed { continue }
      // Everything whole in the buffer becomes one block that the batches share.
      let (complete, next) = try messages(buffer.bytes, limit)
      needed = next
      if complete > 0 {
        let block = Block(copying: UnsafeRawBufferPointer(rebasing: buffer.bytes[..<complete]))
        buffer.removeFirst(complete)
        needed = max(1, next - complete)
        if buffer.isEmpty { buffer.trim(to: 4096) }
        try await take(block, connection, emitter, extra)
      }
    }
    if buffer.count > 0 { context.log.warn("\(connection.peer): closed inside a message; \(buffer.count) bytes of it are dropped") }
  }

  /// How many bytes are whole messages, and how many there must be for the next one.
  private func messages(_ bytes: UnsafeRawBufferPointer, _ limit: Int) throws -> (complete: Int, needed: Int) {
    if let first = bytes.first, first == 0x7b || first == 0x5b { throw ForwardMessage.Failure.malformed("JSON over forward is not supported yet") }
    var at = 0
    while at < bytes.count {
      switch MessagePackScanner.skip(bytes, at: at) {
      case .complete(let end): at = end
      case .needMore(let atLeast):
        if atLeast - at > limit { throw ForwardMessage.Failure.malformed("a message is larger than \(limit) bytes") }
        return (at, atLeast)
      case .invalid(let why):
        if at > 0 { return (at, at + 1) }  // what came before it is good; the next call meets it again
        throw ForwardMessage.Failure.malformed("not MessagePack: \(why)")
      }
    }
    return (at, at + 1)
  }

  private func take(_ block: Block, _ connection: Connection, _ emitter: Emitter, _ extra: [(key: [UInt8], value: String)]) async throws {
    var at = 0
    let now = EventTime.now()
    while at < block.count {
      guard let base = block.bytes.baseAddress else { return }
      let value = ValueView(unchecked: base + at)
      at = value.end - base
      guard let message = try ForwardMessage(value, in: block, now: now) else { continue }
      if message.rejected > 0 {
        context.counters.add(.received, .rejected, message.rejected)
        context.log.warn("\(connection.peer): \(message.rejected) invalid events left out: \(message.reason ?? "")")
      }
      if !message.batch.isEmpty {
        var batch = message.batch
        if let tag = config.tag { batch.tag = Tag(tag) }
        if let prefix = config.addTagPrefix { batch.tag = Tag(prefix + "." + batch.tag.description) }
        for field in extra { batch = batch.setting(field.key, field.value) }
        do throws(EmitError) { try await emitter.emit(batch) } catch {
          // Not acknowledged: the sender keeps it and tries again.
          context.log.warn("\(connection.peer): \(batch.count) events were not taken: \(error)")
          if message.chunk == nil { context.counters.add(.received, .lost, batch.count) }
          return
        }
      }
      if let chunk = message.chunk {
        var answer = ByteWriter(capacity: 64)
        answer.putMapHeader(1)
        answer.putString("ack" as StaticString)
        answer.putString(chunk)
        try await connection.write(answer)
      }
    }
    withExtendedLifetime(block) {}
  }
}
