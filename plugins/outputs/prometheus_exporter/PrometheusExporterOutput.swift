public import AggCore
import AggNet
import Synchronization

/// Shows what metric events said last to Prometheus.
public struct PrometheusExporterOutput: Output {
  public struct Config: Configurable, ConnectionLimited {
    var bind = "127.0.0.1"
    var port = Port(24232)
    var path = "/metrics"
    var expiry = TimeSpan(seconds: 300)
    var limit = 100_000
    var timestamps = false
    var transport = TransportSection()
    var limits = ConnectionLimits.page
    public init() {}
    public static let parameters: [Parameter<Self>] = ownRows + connectionRows
    private static let ownRows: [Parameter<Self>] = [
      .optional("bind", \.bind, "Address to listen on"),
      .optional("port", \.port, "Port to listen on; a worker adds its number"),
      .optional("metrics_path", \.path, "Path of the page"),
      .optional("expire", \.expiry, "A series that no event tells of for so long leaves the page"),
      .optional("max_series", \.limit, "Series kept; events of further ones are refused and counted"),
      .optional("timestamps", \.timestamps, "Show the events' times; without them Prometheus takes the time of its scrape"),
      .section("transport", \.transport, "tcp, or tls with a certificate"),
    ]
    public mutating func validate(_ context: ConfigContext) throws {
      try limits.validate()
      if !path.hasPrefix("/") { throw ConfigValueError("'metrics_path' begins with '/'; got '\(path)'") }
      if limit < 1 { throw ConfigValueError("'max_series' must be 1 or more") }
      if expiry.nanoseconds <= 0 { throw ConfigValueError("'expire' must be more than 0") }
    }
  }
  public static let name = "prometheus_exporter"
  public static let summary = "Shows what metric events said last to Prometheus."
  public static let buffering = BufferDefaults(flushInterval: 1)

  private let config: Config
  private let context: PluginContext
  private let series: ExportedSeries
  private let server = ServerBox()

  private final class ServerBox: Sendable {
    let server = Mutex<HTTPServer?>(nil)
  }

  public init(_ config: Config, _ context: PluginContext) throws {
    try config.transport.check([.tcp, .tls], context)
    self.config = config
    self.context = context
    series = ExportedSeries(limit: config.limit, expiry: Int64(config.expiry.nanoseconds))
  }

  public func prepare() async throws {
    guard let network = context.shared(Network.self) else { throw ConfigValueError("there is no network") }
    var options = HTTPServerOptions()
    options.bodyLimit = 64 << 10
    try config.transport.apply(to: &options.listen)
    config.limits.apply(to: &options.listen, context)
    let port = Int(config.port.number) == 0 ? 0 : Int(config.port.number) + context.system.workerID
    let made = try await HTTPServer.bind(.host(config.bind, port), options, on: network)
    context.log.info("listening prometheus http server bind=\"\(config.bind)\" port=\(port)")
    server.server.withLock { $0 = made }
  }

  public func run() async {
    guard let server = server.server.withLock({ $0 }) else { return }
    await server.run { answer($0) }
    await server.close(keepingSocket: true)
  }

  private func answer(_ request: HTTPServerRequest) -> HTTPResponse {
    guard request.path == config.path else { return HTTPResponse(404, text: "Not found\n") }
    guard request.method == "GET" || request.method == "HEAD" else { return HTTPResponse(405, text: "Method not allowed\n") }
    let format = ExpositionPage.Format(accept: request.fields["Accept"])
    var page = ExpositionPage(format, of: context.system)
    series.write(into: &page, timestamps: config.timestamps)
    return PrometheusInput.response(page.finish(), format, gzip: request.fields["Accept-Encoding"]?.contains("gzip") ?? false)
  }

  public func write(_ chunk: ChunkView) async throws(WriteError) {
    let rejections = series.take(chunk.batches)
    if !rejections.isEmpty {
      throw WriteError(.partial(rejected: rejections), "\(rejections.count) of \(chunk.count) events were refused")
    }
  }
}
