public import AggCore
import AggNet
import CAgg
import Glibc

/// Records over TCP, cut by a delimiter.
public struct TCPInput: Input {
  public struct Config: Configurable {
    var tag = ""
    var port = Port(5170)
    var bind = "0.0.0.0"
    var delimiter = "\n"
    var sourceHostKey: String?
    var sourceAddressKey: String?
    var keepalive = false
    var lineLimit = ByteSize(bytes: 8 << 20)
    var parse: ConfigElement?
    public init() {}
    public static let parameters: [Parameter<Self>] = [
      .required("tag", \.tag, "Tag of the events"),
      .optional("port", \.port, "Port to listen on"),
      .optional("bind", \.bind, "Address to listen on"),
      .optional("delimiter", \.delimiter, "What ends a record"),
      .optional("source_hostname_key", \.sourceHostKey, "Field that gets the peer's host name", alias: "source_host_key"),
      .optional("source_address_key", \.sourceAddressKey, "Field that gets the peer's address"),
      .optional("send_keepalive_packet", \.keepalive, "TCP keepalive"),
      .optional("message_length_limit", \.lineLimit, "Longer records are skipped and counted"),
      .element("parse", \.parse, "How a record becomes an event", required: true),
      .ignored("linger_timeout", "Connections close in order"),
      .ignored("resolve_hostname", "Use source_hostname_key"),
    ]
    public mutating func validate(_ context: ConfigContext) throws {
      if delimiter.isEmpty { throw ConfigValueError("'delimiter' must not be empty") }
    }
  }
  public static let name = "tcp"
  public static let summary = "Records over TCP, cut by a delimiter."

  private let config: Config
  private let context: PluginContext
  private let parser: any Parser

  public init(_ config: Config, _ context: PluginContext) throws {
    self.config = config
    self.context = context
    parser = try context.parser(config.parse)
  }

  public func run(_ emitter: Emitter) async throws {
    guard let network = context.shared(Network.self) else { throw ConfigValueError("there is no network") }
    var options = ListenOptions()
    options.keepalive = config.keepalive
    let log = context.log
    options.onError = { peer, error in log.warn("\(peer): \(error)") }
    let listener = try await Listener.bind(.host(config.bind, Int(config.port.number)), options, on: network)
    log.info("listening tcp socket bind=\"\(config.bind)\" port=\(config.port.number)")
    emitter.ready()
    await listener.run { connection in try await serve(connection, emitter, network) }
    await listener.close(keepingSocket: true)
  }

  private func serve(_ connection: Connection, _ emitter: Emitter, _ network: Network) async throws {
    var extra: [(key: [UInt8], value: String)] = []
    if let key = config.sourceAddressKey { extra.append((Array(key.utf8), connection.peer.ip)) }
    if let key = config.sourceHostKey { extra.append((Array(key.utf8), await network.hostName(of: connection.peer) ?? connection.peer.ip)) }
    var buffer = ByteWriter(capacity: 4096)
    var isSkipping = false
    while true {
      let count = try await connection.read(into: &buffer)
      let complete = count == 0 ? buffer.count : lastDelimiter(buffer.bytes)
      if complete > 0 {
        let batch = parse(buffer.bytes, complete, connection.peer, skippingFirst: isSkipping)
        isSkipping = false
        if !batch.isEmpty {
          do throws(EmitError) { try await emitter.emit(extra.reduce(batch) { $0.setting($1.key, $1.value) }) } catch {
            context.counters.add(.received, .lost, batch.count)
            context.log.error("\(connection.peer): \(batch.count) events were not taken: \(error)")
          }
        }
        buffer.removeFirst(complete)
      }
      if count == 0 { break }
      if buffer.count > config.lineLimit.bytes {
        if !isSkipping {
          context.log.warn("\(connection.peer): a record is longer than \(config.lineLimit.bytes) bytes and is skipped")
          context.counters.add(.received, .rejected, 1)
        }
        isSkipping = true
        buffer.removeAll()
      }
      if buffer.isEmpty { buffer.trim(to: 4096) }
    }
    await connection.close()
  }

  /// Just behind the last delimiter, 0 where there is none.
  private func lastDelimiter(_ bytes: UnsafeRawBufferPointer) -> Int {
    let end = Array(config.delimiter.utf8)
    guard let base = bytes.baseAddress, bytes.count >= end.count else { return 0 }
    if end.count == 1 {
      guard let found = memrchr(base, Int32(end[0]), bytes.count) else { return 0 }
      return UnsafeRawPointer(found) - base + 1
    }
    var at = bytes.count - end.count
    while at >= 0 {
      if bytes[at..<at + end.count].elementsEqual(end) { return at + end.count }
      at -= 1
    }
    return 0
  }

  private func parse(_ bytes: UnsafeRawBufferPointer, _ complete: Int, _ peer: PeerAddress, skippingFirst: Bool) -> EventBatch {
    var text = UnsafeRawBufferPointer(rebasing: bytes[..<complete])
    let end = Array(config.delimiter.utf8)
    if skippingFirst { text = UnsafeRawBufferPointer(rebasing: text[min(text.count, firstEnd(text, end))...]) }
    var builder = BatchBuilder(capacity: text.count + text.count / 8 + 1024)
    var context = ParseContext()
    if end == [0x0a] { parser.parseLines(text, into: &builder, &context) } else {
      var at = 0
      while at < text.count {
        let rest = UnsafeRawBufferPointer(rebasing: text[at...])
        let next = firstEnd(rest, end)
        let isEnded = next > 0
        let record = UnsafeRawBufferPointer(rebasing: rest[..<(isEnded ? next - end.count : rest.count)])
        if !record.isEmpty, case .rejected(let reason) = parser.parse(record, into: &builder, &context) {
          context.rejects.append((at..<at + record.count, reason))
        }
        at += isEnded ? next : rest.count
      }
    }
    if let first = context.rejects.first {
      self.context.counters.add(.received, .rejected, context.rejects.count)
      self.context.log.warn("\(peer): pattern not matched (\(context.rejects.count)): \(String(decoding: text[first.range].prefix(200), as: UTF8.self))")
    }
    return builder.finish(tag: Tag(config.tag))
  }

  /// Just behind the first delimiter, 0 where there is none.
  private func firstEnd(_ bytes: UnsafeRawBufferPointer, _ end: [UInt8]) -> Int {
    var at = 0
    while at + end.count <= bytes.count {
      if bytes[at] == end[0], bytes[at..<at + end.count].elementsEqual(end) { return at + end.count }
      at += 1
    }
    return 0
  }
}
