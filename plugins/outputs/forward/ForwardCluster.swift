import AggCore
import AggNet
import Synchronization

/// The servers of one out_forward: which of them takes the next chunk, and which are left out.
final class ForwardCluster: Sendable {
  private struct State {
    var nodes: [ForwardNode] = []
    var balancer = LoadBalancer([], seed: 0)
  }
  struct NoNodes: Error, CustomStringConvertible { var description: String { "no nodes are available" } }

  private let config: ForwardOutput.Config
  private let discoveries: [ForwardDiscovery]
  private let context: PluginContext
  private let seed = UInt64.random(in: 0 ... .max)
  private let state = Mutex(State())
  private let cache: ForwardLinkCache?

  init(_ config: ForwardOutput.Config, _ context: PluginContext) throws {
    self.config = config
    self.context = context
    discoveries = [ForwardDiscovery(config.servers.map(\.service))] + (try config.discoveries.map { try ForwardDiscovery($0, context.config) })
    cache = config.keepalive ? ForwardLinkCache(timeout: config.keepaliveTimeout) : nil
  }

  var nodes: [ForwardNode] { state.withLock { $0.nodes } }

  /// Takes the servers that there are now; those that stay keep what is known of them. May wait for a file or a name server.
  func discover(isFirst: Bool) throws {
    var wanted: [ForwardService] = []
    for service in try discoveries.flatMap({ try $0.services(context.log) }) where !wanted.contains(service) { wanted.append(service) }
    let old = nodes
    if old.map(\.service) == wanted { return }
    let now = wanted.map { service in old.first { $0.service == service } ?? ForwardNode(service, config, context.log) }
    for node in now where !old.contains(where: { $0 === node }) {
      let service = node.service
      context.log.info(
        "\(isFirst ? "adding forwarding server" : "service in:") '\(service.label)' host=\(service.host) port=\(service.port) weight=\(service.weight) plugin_id=\(context.id)")
    }
    for node in old where !now.contains(where: { $0 === node }) { context.log.info("service out: '\(node.service.label)'") }
    state.withLock { $0.nodes = now }
    rebalance()
  }

  func rebalance() {
    let (standbys, isEmpty) = state.withLock { state in
      state.balancer = LoadBalancer(state.nodes.map(\.candidate), seed: seed)
      return (state.balancer.standbys.map { state.nodes[$0].service }, state.balancer.turns.isEmpty)
    }
    for service in standbys { context.log.warn("using standby node \(service.host):\(service.port) weight=\(service.weight)") }
    if isEmpty { context.log.warn("No nodes are available") }
  }

  /// Sends to the next server whose turn it is, and to others when that fails, each once. Throws the last one's error.
  ///
  /// Servers that failed just now are passed over; they are tried all the same when there is no other, or no other takes it.
  func send(_ packet: ForwardPacket, _ network: Network) async throws {
    let turns = state.withLock { $0.balancer.turns.count }
    var tried: [ForwardService] = []
    var rested: [ForwardNode] = []
    var failure: any Error = NoNodes()
    for _ in 0..<turns {
      let node = state.withLock { state in state.balancer.take().flatMap { state.nodes.indices.contains($0) ? state.nodes[$0] : nil } }
      guard let node, node.isAvailable, !tried.contains(node.service), !rested.contains(where: { $0 === node }) else { continue }
      guard let permit = node.admits() else {
        rested.append(node)
        continue
      }
      tried.append(node.service)
      guard let error = try await attempt(packet, at: node, permit, network) else { return }
      failure = error
    }
    for node in rested {
      guard let error = try await attempt(packet, at: node, nil, network) else { return }
      failure = error
    }
    throw failure
  }

  /// Nil when the server has it. Throws only when the task was cancelled.
  private func attempt(_ packet: ForwardPacket, at node: ForwardNode, _ permit: Breaker.Permit?, _ network: Network) async throws -> (any Error)? {
    do {
      try await send(packet, to: node, network)
      node.succeeded()
      _ = node.beat(isHeartbeat: false)
      return nil
    } catch let error as CancellationError {
      node.gaveBack(permit)
      throw error
    } catch {
      if Task.isCancelled {
        node.gaveBack(permit)
        throw CancellationError()
      }
      let isNews = node.failed(error, permit)
      if let failure = error as? ForwardLink.Failure {
        // The server may have stored it: the next one then has it too.
        if failure.kind == .noAck { context.counters.add(.duplicates, 1) }
        if failure.kind != .wrongAck, isNews {
          node.disable()
          rebalance()
        }
      }
      return error
    }
  }

  private func send(_ packet: ForwardPacket, to node: ForwardNode, _ network: Network) async throws {
    let link = try await self.link(to: node, network)
    do {
      try await packet.send(over: link.connection, timeout: config.sendTimeout.duration)
      Faults.hit(.sent)
      if let chunk = packet.chunk { try await link.acknowledgement(of: chunk, timeout: config.ackTimeout) }
      Faults.hit(.taken)
    } catch {
      await link.connection.close()
      throw error
    }
    if let cache { cache.give(link, node.service) } else { await link.connection.close() }
  }

  private func link(to node: ForwardNode, _ network: Network) async throws -> ForwardLink {
    if let cache, let link = await cache.take(node.service) { return link }
    return try await .open(node, config, network)
  }

  /// Connects to every server. Throws the first failure.
  func verify(_ network: Network) async throws {
    for node in nodes { await (try ForwardLink.open(node, config, network)).connection.close() }
  }

  /// Names must have addresses, unless that is not asked for.
  func resolve(_ network: Network) async throws {
    for node in nodes {
      do { _ = try await node.addresses(network) } catch {
        guard config.ignoresErrorsAtStartup else { throw error }
        context.log.warn("failed to resolve node name when configured: server=\(node.service.label) error=\(error)")
        node.disable()
      }
    }
    rebalance()
  }

  /// One heartbeat by connecting.
  func beat(_ node: ForwardNode, _ network: Network) async {
    do {
      let link = try await self.link(to: node, network)
      if let cache { cache.give(link, node.service) } else { await link.connection.close() }
      if node.beat(isHeartbeat: true) { rebalance() }
    } catch {
      if (error as? ForwardLink.Failure)?.kind == .handshake { node.disable() }
      context.log.debug("failed to send heartbeat: \(node.service.label): \(error)")
    }
  }

  /// A datagram from there came.
  func beat(from peer: PeerAddress) {
    guard let node = nodes.first(where: { $0.has(peer) }) else { return context.log.debug("heartbeat response from unknown \(peer)") }
    if node.beat(isHeartbeat: true) { rebalance() }
  }

  func purge() async { await cache?.purge() }
  func close() async { await cache?.clear() }
  var isDynamic: Bool { discoveries.contains { $0.isDynamic } }
}
