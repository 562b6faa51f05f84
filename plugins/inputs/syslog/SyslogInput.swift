public import AggCore
import AggNet

/// Syslog messages over UDP, TCP or TLS.
public struct SyslogInput: Input {
  enum FrameType: String, ConfigEnum {
    case traditional
    case octetCount = "octet_count"
  }
  enum OldProtocol: String, ConfigEnum { case tcp, udp }

  public struct Config: Configurable, ConnectionLimited {
    var port = Port(5140)
    var bind = "0.0.0.0"
    var tag = ""
    var protocolType: OldProtocol?
    var frameType = FrameType.traditional
    var includesSourceHost = false
    var sourceHostKey = "source_host"
    var emitsUnmatched = false
    var sourceHostnameKey: String?
    var resolvesHostname: Bool?
    var keepalive = false
    var sourceAddressKey: String?
    var severityKey: String?
    var facilityKey: String?
    var lengthLimit = ByteSize(bytes: 2048)
    var delimiter = "\n"
    var limits = ConnectionLimits()
    var transport = TransportSection()
    var parse: ConfigElement?
    public init() {}
    public static let parameters: [Parameter<Self>] = ownRows + streamRows
    private static let ownRows: [Parameter<Self>] = [
      .optional("port", \.port, "Port to listen on"),
      .optional("bind", \.bind, "Address to listen on"),
      .required("tag", \.tag, "Put before facility and severity"),
      .optional("protocol_type", \.protocolType, "udp or tcp", deprecated: "use <transport>"),
      .optional("frame_type", \.frameType, "Over TCP: messages end with the delimiter, or begin with their length"),
      .optional("include_source_host", \.includesSourceHost, "Add the sender's address", deprecated: "use source_address_key"),
      .optional("source_host_key", \.sourceHostKey, "Field for include_source_host"),
      .optional("emit_unmatched_lines", \.emitsUnmatched, "What is no syslog message becomes an event `TAG.unmatched`"),
      .optional("source_hostname_key", \.sourceHostnameKey, "Field that gets the sender's host name"),
      .optional("resolve_hostname", \.resolvesHostname, "Must not be false with source_hostname_key"),
      .optional("send_keepalive_packet", \.keepalive, "TCP keepalive"),
      .optional("source_address_key", \.sourceAddressKey, "Field that gets the sender's address"),
      .optional("severity_key", \.severityKey, "Field that gets the severity's name", alias: "priority_key"),
      .optional("facility_key", \.facilityKey, "Field that gets the facility's name"),
      .optional("message_length_limit", \.lengthLimit, "Longer datagrams are cut"),
      .optional("delimiter", \.delimiter, "What ends a message over TCP"),
      .section("transport", \.transport, "udp, tcp, or tls with a certificate; udp without it"),
      .element("parse", \.parse, "How a message is read; `syslog` without it"),
      .ignored("blocking_timeout", "agg waits for the socket itself"),
    ]
    public mutating func validate(_ context: ConfigContext) throws {
      try limits.validate()
      if delimiter.isEmpty { throw ConfigValueError("'delimiter' must not be empty") }
      if includesSourceHost, sourceAddressKey != nil { throw ConfigValueError("specify either source_address_key or include_source_host") }
      if sourceHostnameKey != nil, resolvesHostname == false { throw ConfigValueError("resolve_hostname must be true with source_hostname_key") }
      if keepalive, kind == .udp { throw ConfigValueError("send_keepalive_packet is available for tcp/tls") }
    }
    var kind: TransportProtocol { protocolType.map { $0 == .udp ? .udp : .tcp } ?? transport.kind ?? .udp }
  }
  public static let name = "syslog"
  public static let oldParameters = OldParameters(.parse)
  public static let summary = "Syslog messages over UDP, TCP or TLS."

  /// Over TCP; Fluentd has no limit there.
  private static let longestMessage = 8 << 20

  private let config: Config
  private let context: PluginContext
  private let reader: SyslogReader

  public init(_ config: Config, _ context: PluginContext) throws {
    try config.transport.check([.udp, .tcp, .tls], context)
    self.config = config
    self.context = context
    let (section, readsPriority) = Self.parseSection(config.parse, at: context.element.at)
    reader = SyslogReader(
      parser: try context.parser(section), readsPriority: readsPriority, tag: config.tag, severityKey: config.severityKey,
      facilityKey: config.facilityKey,
      source: SourceFields(
        addressKey: config.includesSourceHost ? config.sourceHostKey : config.sourceAddressKey, hostKey: config.sourceHostnameKey),
      emitsUnmatched: config.emitsUnmatched)
  }

  /// The syslog parser reads the priority unless it is told not to; others never see it.
  private static func parseSection(_ section: ConfigElement?, at: SourceLocation) -> (ConfigElement, readsPriority: Bool) {
    var section = section ?? ConfigElement(name: "parse", at: at)
    if section.type == nil { section.entries.append(.init(name: "@type", text: "syslog", at: section.at)) }
    let value = section["with_priority"]
    if section.type != "syslog" {
      section.entries.removeAll { $0.name == "with_priority" }
      return (section, false)
    }
    if section.entry("with_priority") == nil { section.entries.append(.init(name: "with_priority", text: "true", at: section.at)) }
    return (section, value.map { $0 == "true" || $0 == "yes" || $0.isEmpty } ?? true)
  }

  public var tags: SourceTags {
    let tag = TagPattern.literal(config.tag)
    return .pattern(config.emitsUnmatched ? "{\(tag).*.*,\(tag).unmatched}" : "\(tag).*.*")
  }

  public func run(_ emitter: Emitter) async throws {
    guard let network = context.shared(Network.self) else { throw ConfigValueError("there is no network") }
    let lane = InputLane(context, emitter, waits: config.kind != .udp)
    if config.kind == .udp { try await receive(lane, network) } else { try await listen(lane, network) }
  }

  private func logListening() {
    context.log.info("listening syslog socket on \(config.bind):\(config.port.number) with \(config.kind.rawValue)")
  }

  // MARK: - UDP

  private func receive(_ lane: InputLane, _ network: Network) async throws {
    let loop = try await DatagramLoop.bind(
      config.bind, config.port, limit: config.lengthLimit.bytes, receiveBuffer: config.transport.receiveBuffer?.bytes, lane: lane, on: network)
    logListening()
    lane.emitter.ready()
    var names = PeerNames()
    try await loop.run { datagrams in
      let count = datagrams.count
      var batches: [EventBatch] = []
      var start = 0
      while start < count {
        let peer = datagrams.entries[start].peer
        var end = start + 1
        while end < count, reader.source.isEmpty || datagrams.entries[end].peer == peer { end += 1 }
        let host = reader.source.hostKey == nil ? nil : await names.name(of: peer, on: network)
        var messages: [UnsafeRawBufferPointer] = []
        for index in start..<end { messages.append(loop.text(datagrams, index).chomped) }
        batches += reader.batches(of: messages, SyslogReader.Origin(peer: peer, host: host, lane: lane))
        start = end
      }
      await lane.emit(batches, from: "\(datagrams.entries[0].peer)")
    }
  }

  // MARK: - TCP and TLS

  private func listen(_ lane: InputLane, _ network: Network) async throws {
    var options = ListenOptions()
    options.keepalive = config.keepalive
    try config.transport.apply(to: &options)
    config.limits.apply(to: &options, context)
    options.onError = { peer, error in lane.quiet.warn("\(peer): \(error)") }
    let listener = try await Listener.bind(.host(config.bind, Int(config.port.number)), options, on: network)
    logListening()
    lane.emitter.ready()
    await listener.run { connection in
      let host = reader.source.hostKey == nil ? nil : await network.hostName(of: connection.peer)
      let origin = SyslogReader.Origin(peer: connection.peer, host: host, lane: lane)
      if config.frameType == .octetCount { try await serveOctets(connection, origin) } else { try await serveLines(connection, origin) }
    }
    await listener.close(keepingSocket: true)
  }

  private func serveLines(_ connection: Connection, _ origin: SyslogReader.Origin) async throws {
    let peer = "\(connection.peer)"
    var buffer = ByteWriter(capacity: 4096)
    var cutter = RecordCutter(delimiter: config.delimiter, limit: Self.longestMessage)
    while try await origin.lane.read(connection, into: &buffer, isInside: cutter.isSkipping) > 0 {
      let complete = cutter.completeLength(buffer.bytes)
      if complete > 0 {
        var batches: [EventBatch] = []
        var messages: [UnsafeRawBufferPointer] = []
        cutter.forEach(UnsafeRawBufferPointer(rebasing: buffer.bytes[..<complete])) { records, isLines in
          if isLines { batches += reader.batches(ofLines: records, origin) } else { messages.append(records) }
        }
        if !messages.isEmpty { batches += reader.batches(of: messages, origin) }
        await origin.lane.emit(batches, from: peer)
      }
      cutter.removeComplete(from: &buffer)
      origin.lane.reject(cutter.takeSkipped(), from: peer, "a message is longer than \(Self.longestMessage) bytes and is skipped")
    }
    if cutter.isPartial(buffer) {
      origin.lane.reject(1, from: peer, "closed inside a message; its \(buffer.count) bytes without a delimiter are dropped")
    }
  }

  private func serveOctets(_ connection: Connection, _ origin: SyslogReader.Origin) async throws {
    let peer = "\(connection.peer)"
    let frames = OctetFrames(limit: Self.longestMessage)
    var buffer = ByteWriter(capacity: 4096)
    while try await origin.lane.read(connection, into: &buffer) > 0 {
      switch frames.messages(buffer.bytes) {
      case .messages(let messages, let taken):
        if taken == 0 { continue }
        let batches = reader.batches(of: messages, origin)
        await origin.lane.emit(batches, from: peer)
        buffer.removeFirst(taken)
        if buffer.isEmpty { buffer.trim(to: 4096) }
      case .broken(let messages, let reason):
        await origin.lane.emit(reader.batches(of: messages, origin), from: peer)
        return origin.lane.reject(1, from: peer, "\(reason); the connection is closed")
      }
    }
    if buffer.count > 0 { origin.lane.reject(1, from: peer, "closed inside a message; its \(buffer.count) bytes are dropped") }
  }
}
