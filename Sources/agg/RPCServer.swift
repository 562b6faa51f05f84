import AggCore
import AggEngine
import AggNet
import Glibc
import Synchronization

/// `<system> rpc_endpoint`: Fluentd's control interface over HTTP. What it is asked for it does by signals to its own process.
///
/// Whoever reaches it may stop agg, as with Fluentd; so it listens where the configuration says, on loopback where that names only a
/// port, and refuses what a web page of a browser on this machine sends.
final class RPCServer: Sendable {
  private struct State {
    var endpoint: RPCEndpoint?
    var server: HTTPServer?
    var task: Task<Void, Never>?
    /// The configuration as text, secrets masked.
    var dump: @Sendable () -> String = { "" }
    var enablesGetDump = false
  }
  private let network: Network
  private let log: @Sendable () -> Log
  /// Delivers what is buffered, before the process is asked to stop.
  private let flush: @Sendable () -> Void
  private let state = Mutex(State())

  init(on network: Network, log: @escaping @Sendable () -> Log, flush: @escaping @Sendable () -> Void) {
    self.network = network
    self.log = log
    self.flush = flush
  }

  /// Listens where `system` says, anew only where that changed. Throws when it cannot.
  func follow(_ system: SystemConfig, dump: @escaping @Sendable () -> String) async throws {
    let (old, server, task) = state.withLock { s in
      s.dump = dump
      s.enablesGetDump = system.enableGetDump
      return (s.endpoint, s.server, s.task)
    }
    guard old != system.rpcEndpoint else { return }
    task?.cancel()
    await server?.close()
    state.withLock {
      $0.endpoint = nil
      $0.server = nil
    }
    guard let endpoint = system.rpcEndpoint else { return }
    var options = HTTPServerOptions()
    options.bodyLimit = 16 << 10
    options.listen.maxConnections = 64
    options.listen.log = log()
    let next = try await HTTPServer.bind(.host(endpoint.host, Int(endpoint.port)), options, on: network)
    log().info("listening RPC http server on http://\(endpoint.configText)/")
    let running = Task { await next.run { [weak self] in self?.answer($0, endpoint) ?? HTTPResponse(503, text: "") } }
    state.withLock {
      $0.endpoint = endpoint
      $0.server = next
      $0.task = running
    }
  }

  /// Gives the port up; `follow` takes it again.
  func close() async {
    let (server, task) = state.withLock { s in
      defer { (s.endpoint, s.server, s.task) = (nil, nil, nil) }
      return (s.server, s.task)
    }
    task?.cancel()
    await server?.close(keepingSocket: true)
  }

  private func answer(_ request: HTTPServerRequest, _ endpoint: RPCEndpoint) -> HTTPResponse {
    // A page in a browser can send a request anywhere; it cannot leave its origin out or choose the host it was loaded from.
    guard request.fields["Origin"] == nil, endpoint.accepts(host: request.fields["Host"]) else {
      return Self.json(403, .object([.init("message", .string("Forbidden")), .init("ok", .bool(false))]))
    }
    let path = String(request.path)
    log().debug("RPC got \(path) request")
    switch path {
    case "/api/processes.interruptWorkers": kill(getpid(), SIGINT)
    case "/api/processes.killWorkers": kill(getpid(), SIGTERM)
    case "/api/processes.flushBuffersAndKillWorkers":
      flush()
      kill(getpid(), SIGTERM)
    case "/api/processes.zeroDowntimeRestart", "/api/config.gracefulReload": kill(getpid(), SIGUSR2)
    case "/api/plugins.flushBuffers": kill(getpid(), SIGUSR1)
    case "/api/config.reload": kill(getpid(), SIGHUP)
    case "/api/config.dump":
      let dump = state.withLock { $0.dump }()
      for line in dump.split(separator: "\n") { log().info("\(line)") }
    case "/api/config.getDump":
      let (dump, enabled) = state.withLock { ($0.dump, $0.enablesGetDump) }
      guard enabled else { return Self.notFound }
      return Self.json(200, .object([.init("conf", .string(dump())), .init("ok", .bool(true))]))
    default: return Self.notFound
    }
    return Self.json(200, .object([.init("ok", .bool(true))]))
  }

  private static let notFound = json(404, .object([.init("message", .string("Not found")), .init("ok", .bool(false))]))
  private static func json(_ status: Int, _ value: ConfigJSON) -> HTTPResponse {
    HTTPResponse(status, fields: ["Content-Type": "application/json"], body: Array(value.json.utf8))
  }
}
