public import AggCore
import AggNet

/// Records over TCP, cut by a delimiter.
public struct TCPInput: Input {
  public struct Config: Configurable, ConnectionLimited {
    var tag = ""
    var port = Port(5170)
    var bind = "0.0.0.0"
    var delimiter = "\n"
    var sourceHostKey: String?
    var sourceAddressKey: String?
    var keepalive = false
    var lineLimit = ByteSize(bytes: 8 << 20)
    var limits = ConnectionLimits()
    var transport = TransportSection()
    var security: ClientListSection?
    var parse: ConfigElement?
    var extract: ExtractSection?
    public init() {}
    public static let parameters: [Parameter<Self>] = ownRows + streamRows
    private static let ownRows: [Parameter<Self>] = [
      .required("tag", \.tag, "Tag of the events"),
      .optional("port", \.port, "Port to listen on"),
      .optional("bind", \.bind, "Address to listen on"),
      .optional("delimiter", \.delimiter, "What ends a record"),
      .optional("source_hostname_key", \.sourceHostKey, "Field that gets the peer's host name", alias: "source_host_key"),
      .optional("source_address_key", \.sourceAddressKey, "Field that gets the peer's address"),
      .optional("send_keepalive_packet", \.keepalive, "TCP keepalive"),
      .optional("message_length_limit", \.lineLimit, "Longer records are skipped and counted"),
      .section("transport", \.transport, "tcp, or tls with a certificate"),
      .section("security", \.security, "Who may connect; without it everybody"),
      .element("parse", \.parse, "How a record becomes an event", required: true),
      .section("extract", \.extract, "Tags from fields of the records"),
      .ignored("blocking_timeout", "agg waits for the socket itself"),
      .ignored("linger_timeout", "Connections close in order"),
      .ignored("resolve_hostname", "Use source_hostname_key"),
    ]
    public mutating func validate(_ context: ConfigContext) throws {
      try limits.validate()
      if delimiter.isEmpty { throw ConfigValueError("'delimiter' must not be empty") }
    }
  }
  public static let name = "tcp"
  public static let oldParameters = OldParameters(.parse)
  public static let summary = "Records over TCP, cut by a delimiter."

  private let config: Config
  private let context: PluginContext
  private let parser: any Parser
  private let extractor: Extractor?
  private let tag: Tag

  public init(_ config: Config, _ context: PluginContext) throws {
    try config.transport.check([.tcp, .tls], context)
    self.config = config
    self.context = context
    tag = Tag(config.tag)
    parser = try context.parser(config.parse)
    extractor = try Extractor(config.extract, context)
  }

  public var tags: SourceTags { config.extract?.tagKey == nil ? .tag(config.tag) : .any }

  public func run(_ emitter: Emitter) async throws {
    guard let network = context.shared(Network.self) else { throw ConfigValueError("there is no network") }
    let lane = InputLane(context, emitter, waits: true)
    var options = ListenOptions()
    options.keepalive = config.keepalive
    try config.transport.apply(to: &options)
    config.limits.apply(to: &options, context)
    options.onError = { peer, error in lane.quiet.warn("\(peer): \(error)") }
    var allowed: ClientList?
    if let security = config.security { allowed = try await ClientList(security, on: network) }
    let listener = try await Listener.bind(.host(config.bind, Int(config.port.number)), options, on: network)
    context.log.info("listening tcp socket bind=\"\(config.bind)\" port=\(config.port.number)")
    emitter.ready()
    await listener.run { [allowed] connection in
      if let allowed, !allowed.allows(connection.peer) {
        return lane.quiet.warn("anonymous client '\(connection.peer.ip)' denied")
      }
      try await serve(connection, lane, network)
    }
    await listener.close(keepingSocket: true)
  }

  private func serve(_ connection: Connection, _ lane: InputLane, _ network: Network) async throws {
    let peer = "\(connection.peer)"
    let source = SourceFields(addressKey: config.sourceAddressKey, hostKey: config.sourceHostKey)
    let extra = await source.fields(of: connection.peer, on: network)
    var buffer = ByteWriter(capacity: 4096)
    var cutter = RecordCutter(delimiter: config.delimiter, limit: config.lineLimit.bytes)
    while try await lane.read(connection, into: &buffer, isInside: cutter.isSkipping) > 0 {
      if parser.isStream {
        guard let batch = takeStream(&buffer, peer, lane) else { return }
        await lane.emit(extracted(batch).map { extra.applied(to: $0) }, from: peer)
        continue
      }
      let complete = cutter.completeLength(buffer.bytes)
      if complete > 0 {
        let batch = parse(UnsafeRawBufferPointer(rebasing: buffer.bytes[..<complete]), &cutter, peer, lane)
        await lane.emit(extracted(batch).map { extra.applied(to: $0) }, from: peer)
      }
      cutter.removeComplete(from: &buffer)
      lane.reject(cutter.takeSkipped(), from: peer, "a record is longer than \(config.lineLimit.bytes) bytes and is skipped")
    }
    if cutter.isPartial(buffer) {
      lane.reject(1, from: peer, "closed inside a record; its \(buffer.count) bytes without a delimiter are dropped")
    }
  }

  private func extracted(_ batch: EventBatch) -> [EventBatch] { extractor?.apply(batch) ?? [batch] }

  private func parse(_ text: UnsafeRawBufferPointer, _ cutter: inout RecordCutter, _ peer: String, _ lane: InputLane) -> EventBatch {
    var builder = BatchBuilder(capacity: text.count + text.count / 8 + 1024)
    let now = EventTime.now()
    cutter.forEach(text) { records, isLines in
      var parsed = ParseContext(now: now)
      if isLines {
        parser.parseLines(records, into: &builder, &parsed)
      } else if case .rejected(let reason) = parser.parseRecord(records, into: &builder, &parsed) {
        parsed.rejects.append((0..<records.count, reason))
      }
      lane.reject(parsed, of: records, from: peer)
    }
    return builder.finish(tag: tag)
  }

  /// The values that are whole of a parser that reads a byte stream; nil when the stream is broken.
  private func takeStream(_ buffer: inout ByteWriter, _ peer: String, _ lane: InputLane) -> EventBatch? {
    guard let complete = parser.completeLength(buffer.bytes), complete > 0 || buffer.count <= config.lineLimit.bytes else {
      lane.reject(1, from: peer, "the stream cannot be read further; the connection is closed")
      return nil
    }
    if complete == 0 { return .empty(tag) }
    var builder = BatchBuilder(capacity: complete + complete / 8 + 1024)
    var parsed = ParseContext()
    let text = UnsafeRawBufferPointer(rebasing: buffer.bytes[..<min(complete, buffer.count)])
    if case .rejected(let reason) = parser.parse(text, into: &builder, &parsed) { parsed.rejects.append((0..<text.count, reason)) }
    lane.reject(parsed, of: text, from: peer)
    buffer.removeFirst(complete)
    return builder.finish(tag: tag)
  }
}
