public import AggCore
import AggNet

/// Records over UDP, one a datagram.
public struct UDPInput: Input {
  public struct Config: Configurable {
    var tag = ""
    var port = Port(5160)
    var bind = "0.0.0.0"
    var sourceHostKey: String?
    var sourceAddressKey: String?
    var lengthLimit = ByteSize(bytes: 4096)
    var bodyLimit: ByteSize?
    var removesNewline = true
    var receiveBuffer: ByteSize?
    var transport = TransportSection()
    var parse: ConfigElement?
    var extract: ExtractSection?
    public init() {}
    public static let parameters: [Parameter<Self>] = [
      .required("tag", \.tag, "Tag of the events"),
      .optional("port", \.port, "Port to listen on"),
      .optional("bind", \.bind, "Address to listen on"),
      .optional("source_hostname_key", \.sourceHostKey, "Field that gets the sender's host name", alias: "source_host_key"),
      .optional("source_address_key", \.sourceAddressKey, "Field that gets the sender's address"),
      .optional("message_length_limit", \.lengthLimit, "Longer datagrams are cut"),
      .optional("body_size_limit", \.bodyLimit, "Wins over message_length_limit", deprecated: "use message_length_limit"),
      .optional("remove_newline", \.removesNewline, "Take one line end off the end of a datagram"),
      .optional("receive_buffer_size", \.receiveBuffer, "SO_RCVBUF", deprecated: "use receive_buffer_size in <transport>"),
      .section("transport", \.transport, "udp, and its receive_buffer_size"),
      .element("parse", \.parse, "How a datagram becomes an event", required: true),
      .section("extract", \.extract, "Tags from fields of the records"),
      .ignored("blocking_timeout", "agg waits for the socket itself"),
    ]
  }
  public static let name = "udp"
  public static let oldParameters = OldParameters(.parse)
  public static let summary = "Records over UDP, one a datagram."

  private let config: Config
  private let context: PluginContext
  private let parser: any Parser
  private let source: SourceFields
  private let tag: Tag
  private let extractor: Extractor?

  public init(_ config: Config, _ context: PluginContext) throws {
    try config.transport.check([.udp], context)
    self.config = config
    self.context = context
    tag = Tag(config.tag)
    source = SourceFields(addressKey: config.sourceAddressKey, hostKey: config.sourceHostKey)
    parser = try context.parser(config.parse)
    extractor = try Extractor(config.extract, context)
  }

  public var tags: SourceTags { config.extract?.tagKey == nil ? .tag(config.tag) : .any }

  public func run(_ emitter: Emitter) async throws {
    guard let network = context.shared(Network.self) else { throw ConfigValueError("there is no network") }
    let loop = try await DatagramLoop.bind(
      config.bind, config.port, limit: (config.bodyLimit ?? config.lengthLimit).bytes,
      receiveBuffer: (config.receiveBuffer ?? config.transport.receiveBuffer)?.bytes, lane: InputLane(context, emitter), on: network)
    context.log.info("listening udp socket bind=\"\(config.bind)\" port=\(config.port.number)")
    emitter.ready()
    var names = PeerNames()
    try await loop.run { datagrams in
      let count = datagrams.count
      var batches: [EventBatch] = []
      var start = 0
      while start < count {
        let peer = datagrams.entries[start].peer
        var end = start + 1
        // Without source fields it does not matter who sent what.
        while end < count, source.isEmpty || datagrams.entries[end].peer == peer { end += 1 }
        let batch = parse(datagrams, start..<end, loop)
        let parts = extractor?.apply(batch) ?? [batch]
        if source.isEmpty { batches += parts } else {
          let host = source.hostKey == nil ? nil : await names.name(of: peer, on: network)
          batches += parts.map { source.fields(of: peer, host: host).applied(to: $0) }
        }
        start = end
      }
      await loop.lane.emit(batches, from: "\(datagrams.entries[0].peer)")
    }
  }

  private func parse(_ datagrams: borrowing DatagramBatch, _ range: Range<Int>, _ loop: DatagramLoop) -> EventBatch {
    var builder = BatchBuilder(capacity: datagrams.bytes.count + datagrams.bytes.count / 4 + 1024)
    // Datagrams without a line break within go to the parser as one block of lines.
    var lines = ByteWriter(capacity: datagrams.bytes.count + range.count + 64)
    let now = EventTime.now()
    let first = "\(datagrams.entries[range.lowerBound].peer)"
    for index in range {
      var text = loop.text(datagrams, index)
      if config.removesNewline { text = text.chomped }
      if !parser.isStream, !text.contains(0x0a) {
        lines.append(text)
        lines.append(0x0a as UInt8)
        continue
      }
      parseLines(&lines, into: &builder, now, first, loop.lane)
      var parsed = ParseContext(now: now)
      if case .rejected(let reason) = parser.parseRecord(text, into: &builder, &parsed) { parsed.rejects.append((0..<text.count, reason)) }
      loop.lane.reject(parsed, of: text, from: "\(datagrams.entries[index].peer)")
    }
    parseLines(&lines, into: &builder, now, first, loop.lane)
    return builder.finish(tag: tag)
  }

  private func parseLines(_ lines: inout ByteWriter, into builder: inout BatchBuilder, _ now: EventTime, _ peer: String, _ lane: InputLane) {
    if lines.isEmpty { return }
    var parsed = ParseContext(now: now)
    parser.parseLines(lines.bytes, into: &builder, &parsed)
    lane.reject(parsed, of: lines.bytes, from: peer)
    lines.removeAll()
  }
}
