public import AggCore
import AggNet
import Glibc

/// Serves what the daemon knows of itself over HTTP: Fluentd's plugin list, Prometheus metrics, health, the ledger.
public struct MonitorAgentInput: Input {
  public struct Config: Configurable, ConnectionLimited {
    var bind = "127.0.0.1"
    var port = Port(24220)
    var tag: String?
    var emitInterval = TimeSpan(seconds: 60)
    var includeConfig = true
    var includeRetry = true
    var maxFiles = OwnMetrics.defaultFiles
    var transport = TransportSection()
    var limits = ConnectionLimits.page
    public init() {}
    public static let parameters: [Parameter<Self>] = ownRows + connectionRows
    private static let ownRows: [Parameter<Self>] = [
      .optional("bind", \.bind, "Address to listen on"),
      .optional("port", \.port, "Port to listen on; a worker adds its number"),
      .optional("tag", \.tag, "Emit each plugin's figures as events with this tag"),
      .optional("emit_interval", \.emitInterval, "How often"),
      .optional("include_config", \.includeConfig, "Show each plugin's own lines of the configuration, secrets masked"),
      .optional("include_retry", \.includeRetry, "Show how a failing output is retried"),
      .optional("max_files", \.maxFiles, "Files of one tail input that /metrics tells one by one; the others are told together"),
      .section("transport", \.transport, "tcp, or tls with a certificate"),
      .ignored("include_debug_info", "Plugins have no variables to show"),
    ]
    public mutating func validate(_ context: ConfigContext) throws {
      try limits.validate()
      if emitInterval.nanoseconds <= 0 { throw ConfigValueError("'emit_interval' must be more than 0") }
      if maxFiles < 0 { throw ConfigValueError("'max_files' must be 0 or more") }
    }
  }
  public static let name = "monitor_agent"
  public static let summary = "The daemon's own figures over HTTP, and as events."

  private let config: Config
  private let context: PluginContext

  public init(_ config: Config, _ context: PluginContext) throws {
    try config.transport.check([.tcp, .tls], context)
    self.config = config
    self.context = context
  }

  public var tags: SourceTags { config.tag.map { .tag($0) } ?? .none }

  public func run(_ emitter: Emitter) async throws {
    guard let network = context.shared(Network.self), let monitor = context.shared(DaemonMonitor.self) else {
      throw ConfigValueError("there is nothing to monitor")
    }
    var options = HTTPServerOptions()
    options.bodyLimit = 64 << 10
    try config.transport.apply(to: &options.listen)
    config.limits.apply(to: &options.listen, context)
    options.refusal = { MonitorPages.json($0, .object([.init("message", .string("Bad request"))])) }
    let port = Int(config.port.number) == 0 ? 0 : Int(config.port.number) + context.system.workerID
    let server = try await HTTPServer.bind(.host(config.bind, port), options, on: network)
    context.log.info("listening monitoring http server bind=\"\(config.bind)\" port=\(port)")
    emitter.ready()
    let pages = MonitorPages(
      monitor: monitor, program: context.shared(ProgramFacts.self), context: context, files: config.maxFiles, system: context.system,
      includeConfig: config.includeConfig, includeRetry: config.includeRetry)
    await withTaskGroup(of: Void.self) { group in
      if let tag = config.tag, let timers = context.shared(TimerQueue.self) {
        group.addTask { await emit(Tag(tag), monitor, timers, emitter) }
      }
      await server.run { pages.answer($0) }
      group.cancelAll()
    }
    await server.close(keepingSocket: true)
  }

  private func emit(_ tag: Tag, _ monitor: DaemonMonitor, _ timers: TimerQueue, _ emitter: Emitter) async {
    let waker = Waker(timers)
    while !Task.isCancelled {
      await waker.wait(until: .now().adding(config.emitInterval.duration))
      if Task.isCancelled { return }
      var builder = BatchBuilder(capacity: 16_384)
      let now = EventTime.now()
      for plugin in monitor.snapshot().plugins where plugin.kind != "label" {
        builder.begin()
        PluginFigures.object(plugin, config: false, retry: false).encode(into: &builder.writer)
        builder.commit(time: now)
      }
      let batch = builder.finish(tag: tag)
      do throws(EmitError) { try await emitter.emit(batch) } catch {
        context.counters.add(.received, .lost, batch.count)
        context.log.error("\(batch.count) events were not taken: \(error)")
      }
    }
  }
}

extension ConfigJSON {
  /// As MessagePack.
  func encode(into out: inout ByteWriter) {
    switch self {
    case .null: out.putNil()
    case .bool(let value): out.putBool(value)
    case .int(let value): out.putInt(Int64(value))
    case .double(let value): out.putDouble(value)
    case .string(let text): out.putString(text)
    case .array(let items):
      out.putArrayHeader(items.count)
      for item in items { item.encode(into: &out) }
    case .object(let pairs):
      out.putMapHeader(pairs.count)
      for pair in pairs {
        out.putString(pair.key)
        pair.value.encode(into: &out)
      }
    }
  }
}
