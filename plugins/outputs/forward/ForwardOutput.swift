public import AggCore
import AggNet
import Synchronization

/// Sends chunks to agg, Fluentd or Fluent Bit over the forward protocol.
public struct ForwardOutput: Output {
  public static let name = "forward"
  public static let oldParameters = OldParameters(.buffer, chunkKey: "tag")
  public static let summary = "Sends chunks to other daemons over the forward protocol."
  public static let buffering = BufferDefaults(chunkKeys: ["tag"])

  /// How often a service discovery is asked, and idle connections are looked after, in nanoseconds.
  private static let housekeeping: Int64 = 3_000_000_000

  private let config: Config
  private let context: PluginContext
  private let cluster: ForwardCluster
  private let timesAsIntegers: Bool
  private let progress = Progress()

  /// How many messages of a chunk with several tags are sent, so that a retry does not send them again.
  private final class Progress: Sendable {
    let sent = Mutex<[ChunkID: Int]>([:])
  }

  public init(_ config: Config, _ context: PluginContext) throws {
    for (name, what) in [("host", "<server>"), ("port", "<server>")] {
      if let entry = context.element.entry(name) { throw ConfigError(at: entry.at, "'\(name)' parameter is already removed: use \(what) section instead") }
    }
    // A secondary takes what the primary's keys are: batches have their tags.
    if let keys = context.chunkKeys, !keys.tag, context.element.name != "secondary" {
      throw ConfigValueError("buffer chunk key must include 'tag' for forward output")
    }
    self.config = config
    self.context = context
    cluster = try ForwardCluster(config, context)
    timesAsIntegers = try context.element["time_as_integer"].map { try Bool(configText: $0, strict: context.config.strict) } ?? false
    if config.transport == .tls, config.tlsInsecure { context.log.warn("TLS transport is configured in insecure way") }
    if !config.keepalive, config.keepaliveTimeout != nil {
      context.log.warn("The value of keepalive_timeout is ignored. if you want to use keepalive, please add `keepalive true` to your conf.")
    }
  }

  public func prepare() async throws {
    try cluster.discover(isFirst: true)
    if cluster.nodes.isEmpty { throw ConfigValueError("forward output plugin requires at least one node is required. Add <server> or <service_discovery>") }
    let network = try network()
    if config.heartbeatType != .none { try await cluster.resolve(network) }
    if config.verifiesAtStartup {
      do { try await cluster.verify(network) } catch {
        context.log.fatal("forward's connection setting error: \(error)")
        throw error
      }
    }
  }

  private func network() throws -> Network {
    guard let network = context.shared(Network.self) else { throw ConfigValueError("there is no network") }
    return network
  }

  public func write(_ chunk: ChunkView) async throws(WriteError) {
    try await WriteError.mapping {
      let network = try network()
      let groups = Self.byTag(chunk.batches)
      let sent = groups.count > 1 ? progress.sent.withLock { $0[chunk.id] ?? 0 } : 0
      for (index, batches) in groups.enumerated().dropFirst(sent) {
        // The parts of a chunk have ids of their own that come out the same in each attempt.
        let id = ChunkID(high: chunk.id.high, low: chunk.id.low &+ UInt64(index) &* 0x9e37_79b9_7f4a_7c15)
        let ack = config.requiresAck ? ForwardChunkID.text(id) : nil
        guard let packet = ForwardPacket(batches, chunk: ack, compress: config.compress, timesAsIntegers: timesAsIntegers) else {
          throw WriteError.discard("too_large", "a chunk of \(chunk.byteCount) bytes is more than a message can hold")
        }
        try await cluster.send(packet, network)
        if groups.count > 1 { progress.sent.withLock { $0.count < 1024 ? $0[chunk.id] = index + 1 : () } }
      }
      if groups.count > 1 { progress.sent.withLock { _ = $0.removeValue(forKey: chunk.id) } }
    }
  }

  /// One message a tag, in the order in which the tags come first.
  private static func byTag(_ batches: [EventBatch]) -> [[EventBatch]] {
    var order: [Tag: Int] = [:]
    var groups: [[EventBatch]] = []
    for batch in batches where !batch.isEmpty {
      if let index = order[batch.tag] { groups[index].append(batch) } else {
        order[batch.tag] = groups.count
        groups.append([batch])
      }
    }
    return groups
  }

  public func run() async {
    guard let network = context.shared(Network.self) else { return }
    let socket = await heartbeatSocket(network)
    await withTaskGroup(of: Void.self) { group in
      if config.heartbeatType != .none { group.addTask { await heartbeats(socket, network) } }
      if let socket {
        group.addTask {
          var batch = DatagramBatch()
          while let count = try? await socket.receive(into: &batch), count > 0 {
            for entry in batch.entries { cluster.beat(from: entry.peer) }
          }
        }
      }
      if config.keepalive || cluster.isDynamic { group.addTask { await housekeeping() } }
    }
    await socket?.close()
  }

  private func heartbeatSocket(_ network: Network) async -> DatagramSocket? {
    guard config.heartbeatType == .udp else { return nil }
    do {
      let isIPv6 = try await cluster.nodes.first?.addresses(network).first?.ip.contains(":") ?? false
      return try await DatagramSocket.bind(.host(isIPv6 ? "::" : "0.0.0.0", 0), DatagramOptions(), on: network)
    } catch {
      context.log.error("no socket for heartbeats: \(error)")
      return nil
    }
  }

  private func heartbeats(_ socket: DatagramSocket?, _ network: Network) async {
    await withDiscardingTaskGroup { group in
      while !Task.isCancelled {
        var isChanged = false
        for node in cluster.nodes {
          if node.beginBeat() {
            group.addTask {
              await beat(node, socket, network)
              node.endBeat()
            }
          }
          if node.tick() { isChanged = true }
        }
        if isChanged { cluster.rebalance() }
        try? await Task.sleep(for: config.heartbeatInterval.duration)
      }
    }
  }

  private func beat(_ node: ForwardNode, _ socket: DatagramSocket?, _ network: Network) async {
    guard let socket else {
      if config.heartbeatType == .transport { await cluster.beat(node, network) }
      return
    }
    do {
      guard let address = try await node.addresses(network).first else { return }
      var zero = ByteWriter(capacity: 1)
      zero.append(0 as UInt8)
      try await socket.send(zero.bytes, to: address)
    } catch { context.log.debug("failed to send heartbeat: \(node.service.label): \(error)") }
  }

  private func housekeeping() async {
    while !Task.isCancelled {
      try? await Task.sleep(for: .nanoseconds(Self.housekeeping))
      await cluster.purge()
      if cluster.isDynamic { try? cluster.discover(isFirst: false) }
    }
  }

  public func close() async { await cluster.close() }
}
