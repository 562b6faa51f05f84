public import AggCore
import AggNet

/// Shows what was counted, and agg's own figures, to Prometheus.
public struct PrometheusInput: Input {
  enum Encoding: String, ConfigEnum { case identity, gzip }

  /// fluent-plugin-prometheus' older way to say `<transport tls>`.
  public struct SSL: Configurable {
    var isEnabled = false
    var certificate: String?
    var key: String?
    var ca: String?
    public init() {}
    public static let parameters: [Parameter<Self>] = [
      .optional("enable", \.isEnabled, "Serve HTTPS", deprecated: "use <transport tls>"),
      .optional(
        "certificate_path", \.certificate, "The server's certificate, PEM", deprecated: "use cert_path in <transport tls>"),
      .optional("private_key_path", \.key, "The certificate's key, PEM", deprecated: "use private_key_path in <transport tls>"),
      .optional("ca_path", \.ca, "Authorities of client certificates, PEM", deprecated: "use ca_path in <transport tls>"),
      .ignored("extra_conf", "Settings of Ruby's server"),
    ]
    public mutating func validate(_ context: ConfigContext) throws {
      if isEnabled, certificate == nil || key == nil {
        throw ConfigValueError("needs 'certificate_path' and 'private_key_path': agg makes no certificates")
      }
    }
  }
  public struct Config: Configurable, ConnectionLimited {
    var bind = "127.0.0.1"
    var port = Port(24231)
    var metricsPath = "/metrics"
    var aggregatedPath = "/aggregated_metrics"
    var encoding = Encoding.identity
    var ownMetrics = true
    var maxFiles = OwnMetrics.defaultFiles
    var ssl = SSL()
    var transport = TransportSection()
    var limits = ConnectionLimits.page
    public init() {}
    public static let parameters: [Parameter<Self>] = ownRows + connectionRows
    private static let ownRows: [Parameter<Self>] = [
      .optional("bind", \.bind, "Address to listen on"),
      .optional("port", \.port, "Port to listen on; a worker adds its number"),
      .optional("metrics_path", \.metricsPath, "Path of the page"),
      .optional("aggregated_metrics_path", \.aggregatedPath, "Path of the page of all workers"),
      .optional("content_encoding", \.encoding, "gzip: compress pages for clients that take it"),
      .optional("agg_metrics", \.ownMetrics, "Show agg's own figures too, as monitor_agent does"),
      .optional("max_files", \.maxFiles, "With agg_metrics: files of one tail input that are told one by one; the others are told together"),
      .section("ssl", \.ssl, "HTTPS, as older configurations write it"),
      .section("transport", \.transport, "tcp, or tls with a certificate"),
      .ignored("ignore_error_log_interval", "Making a page cannot fail"),
    ]
    public mutating func validate(_ context: ConfigContext) throws {
      try limits.validate()
      if maxFiles < 0 { throw ConfigValueError("'max_files' must be 0 or more") }
      for path in [metricsPath, aggregatedPath] where !path.hasPrefix("/") {
        throw ConfigValueError("a path begins with '/'; got '\(path)'")
      }
    }
  }
  public static let name = "prometheus"
  public static let summary = "Shows what was counted, and agg's own figures, to Prometheus."

  private let config: Config
  private let context: PluginContext

  public init(_ config: Config, _ context: PluginContext) throws {
    try config.transport.check([.tcp, .tls], context)
    self.config = config
    self.context = context
    context.bindToConfiguration()
  }

  public func run(_ emitter: Emitter) async throws {
    guard let network = context.shared(Network.self) else { throw ConfigValueError("there is no network") }
    var options = HTTPServerOptions()
    options.bodyLimit = 64 << 10
    try config.transport.apply(to: &options.listen)
    config.limits.apply(to: &options.listen, context)
    if config.ssl.isEnabled, let certificate = config.ssl.certificate, let key = config.ssl.key {
      options.listen.tls = TLSServerConfiguration(certificatePath: certificate, privateKeyPath: key)
      options.listen.tls?.caPath = config.ssl.ca
    }
    // Written in a URL's brackets by some; a socket knows no brackets.
    let host = config.bind.hasPrefix("[") && config.bind.hasSuffix("]") ? String(config.bind.dropFirst().dropLast()) : config.bind
    let port = Int(config.port.number) == 0 ? 0 : Int(config.port.number) + context.system.workerID
    let server = try await HTTPServer.bind(.host(host, port), options, on: network)
    context.log.info("listening prometheus http server bind=\"\(host)\" port=\(port)")
    emitter.ready()
    // Other workers are this machine's own: who they are need not be proved.
    var clientOptions = HTTPClientOptions()
    clientOptions.tls = TLSClientConfiguration()
    clientOptions.tls?.isInsecure = true
    let client = HTTPClient(clientOptions, on: network)
    let workers = WorkerPages(
      client: client, host: host, port: Int(config.port.number), path: config.metricsPath, isTLS: options.listen.tls != nil,
      system: context.system)
    await server.run { await answer($0, workers) }
    await server.close(keepingSocket: true)
    await client.close()
  }

  private func answer(_ request: HTTPServerRequest, _ workers: WorkerPages) async -> HTTPResponse {
    let isAggregated = request.path == config.aggregatedPath
    guard isAggregated || request.path == config.metricsPath else { return HTTPResponse(404, text: "Not found\n") }
    guard request.method == "GET" || request.method == "HEAD" else { return HTTPResponse(405, text: "Method not allowed\n") }
    let gzip = config.encoding == .gzip && (request.fields["Accept-Encoding"]?.contains("gzip") ?? false)
    guard isAggregated, context.system.workers > 1 else {
      let format = ExpositionPage.Format(accept: request.fields["Accept"])
      return Self.response(page(format), format, gzip: gzip)
    }
    // Pages are put together as text.
    do { return Self.response(try await workers.merged(own: page(.text)), .text, gzip: gzip) } catch {
      context.log.warn("the page of all workers cannot be made: \(error)")
      return HTTPResponse(500, text: "a worker does not answer\n")
    }
  }

  private func page(_ format: ExpositionPage.Format) -> [UInt8] {
    var page = ExpositionPage(format, of: context.system)
    context.shared(MetricRegistry.self)?.write(into: &page)
    if config.ownMetrics, let monitor = context.shared(DaemonMonitor.self) {
      page.add(OwnMetrics(context, monitor, files: config.maxFiles))
    }
    return page.finish()
  }

  static func response(_ body: [UInt8], _ format: ExpositionPage.Format, gzip: Bool) -> HTTPResponse {
    var response = HTTPResponse(200, fields: ["Content-Type": format.contentType], body: body)
    if gzip {
      var out = ByteWriter(capacity: body.count / 4 + 256)
      body.withUnsafeBytes { Gzip.compress($0, into: &out) }
      response.body = out.array
      response.fields["Content-Encoding"] = "gzip"
    }
    return response
  }
}
