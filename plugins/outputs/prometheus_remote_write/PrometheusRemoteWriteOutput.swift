public import AggCore
import AggNet
import Synchronization

/// Sends metric events to Prometheus, VictoriaMetrics, Mimir … over remote write 1.0 or 2.0.
public struct PrometheusRemoteWriteOutput: Output {
  public struct Config: HTTPAccessConfigurable {
    var endpoint = ""
    var version = RemoteWriteRequest.Version.one
    var samples = 2000
    var timeout = TimeSpan(seconds: 30)
    var labels: ConfigElement?
    var access = HTTPAccess()
    public init() {}
    public static let parameters: [Parameter<Self>] =
      [
        .required("endpoint", \.endpoint, "URL of the receiver, such as http://127.0.0.1:9090/api/v1/write"),
        .optional("protocol_version", \.version, "1.0, or 2.0 with a way back to 1.0 for a receiver that does not know it"),
        .optional("max_samples_per_send", \.samples, "A chunk with more samples leaves in several requests, one after the other"),
        .optional("timeout", \.timeout, "For one request"),
        .element("labels", \.labels, "Labels that every series gets where it does not have them"),
      ] + accessRows
    public mutating func validate(_ context: ConfigContext) throws {
      guard let url = HTTPEndpoint(endpoint), ["http", "https"].contains(url.scheme) else {
        throw ConfigValueError(
          "'endpoint' is no URL such as http://127.0.0.1:9090/api/v1/write: \(HTTPEndpoint.masked(endpoint))")
      }
      if url.credentials != nil { throw ConfigValueError("'endpoint' holds a user; write it as 'username' and 'password'") }
      if samples < 1 { throw ConfigValueError("'max_samples_per_send' must be 1 or more") }
      if timeout.nanoseconds <= 0 { throw ConfigValueError("'timeout' must be more than 0") }
      try access.validate(reserved: PrometheusRemoteWriteOutput.reservedHeaders)
    }
  }
  public static let name = "prometheus_remote_write"
  public static let summary = "Sends metric events over Prometheus' remote write."
  public static let buffering = BufferDefaults(flushInterval: 5)

  /// The specification's own: they cannot be configured.
  static let reservedHeaders: Set<String> = [
    "content-encoding", "content-type", "x-prometheus-remote-write-version", "user-agent", "authorization",
  ]

  private let config: Config
  private let context: PluginContext
  private let labels: [(String, String)]
  private let state = RemoteWriteState()

  public init(_ config: Config, _ context: PluginContext) throws {
    self.config = config
    self.context = context
    labels = try MonitorLabels(config.labels, context).pairs
    if let text = context.element.child("buffer")?["flush_thread_count"], let threads = Int(text), threads > 1 {
      let at = context.element.child("buffer")?.entry("flush_thread_count")?.at ?? context.element.at
      throw ConfigError(at: at, "'flush_thread_count' must be 1: the samples of a series have to leave in their order")
    }
  }

  public func write(_ chunk: ChunkView) async throws(WriteError) {
    guard let network = context.shared(Network.self) else { throw .retry("there is no network") }
    var groups = SeriesGroups(common: labels)
    for batch in chunk.batches { groups.add(batch) }
    groups.sort()
    var rejected = groups.rejections
    var requests = Self.requests(groups.series, config.samples)[...]
    // A chunk that failed in its midst goes on where it failed: what was sent before would be out of order now.
    let (done, earlier) = state.progress(of: chunk.id)
    rejected += earlier
    requests = requests.dropFirst(done)
    var sent = done
    for request in requests {
      do throws(WriteError) { rejected += try await send(request, network) } catch {
        state.keep(chunk.id, sent, rejected.dropFirst(groups.rejections.count))
        throw error
      }
      sent += 1
    }
    state.forget(chunk.id)
    if !rejected.isEmpty {
      throw WriteError(.partial(rejected: rejected), "\(rejected.count) of \(chunk.count) metrics were refused")
    }
  }

  /// Runs of series with `limit` samples at most; one with more is cut.
  static func requests(_ series: [SeriesGroups.Series], _ limit: Int) -> [[SeriesGroups.Series]] {
    var requests: [[SeriesGroups.Series]] = []
    var current: [SeriesGroups.Series] = []
    var room = limit
    for one in series {
      var rest = one.samples[...]
      while !rest.isEmpty {
        var part = SeriesGroups.Series(labels: one.labels, kind: one.kind)
        part.samples = Array(rest.prefix(room))
        rest = rest.dropFirst(room)
        room -= part.samples.count
        current.append(part)
        if room == 0 {
          requests.append(current)
          current = []
          room = limit
        }
      }
    }
    if !current.isEmpty { requests.append(current) }
    return requests
  }

  /// Sends one request; returns what the receiver will never take. Source of the rules: both specifications, "Retries & Backoff".
  private func send(_ series: [SeriesGroups.Series], _ network: Network) async throws(WriteError) -> [Rejection] {
    let version = state.version(config.version)
    var request = HTTPRequest(
      "POST", config.endpoint, fields: config.access.fields(reserved: Self.reservedHeaders),
      body: RemoteWriteRequest(series, version).body)
    request.fields["Content-Encoding"] = "snappy"
    request.fields["Content-Type"] = version.contentType
    request.fields["X-Prometheus-Remote-Write-Version"] = version.header
    request.fields["User-Agent"] = "agg"
    request.timeout = config.timeout.duration
    let reply: HTTPReply
    do { reply = try await state.client(config.access, network).send(request) } catch is CancellationError {
      throw WriteError(.cancelled, "cancelled")
    } catch {
      throw .retry("\(error)")
    }
    let text = String(decoding: reply.body.prefix(500), as: UTF8.self)
    let message = "\(HTTPEndpoint.masked(config.endpoint)) was answered \(reply.status)\(text.isEmpty ? "" : ": " + text)"
    switch reply.status {
    case 200..<300:
      // A 1.0 receiver that does not look at the type takes a 2.0 message for an empty one and says 2xx.
      let confirms = reply.fields.contains { $0.name.lowercased().hasPrefix("x-prometheus-remote-write-") }
      if version == .two, !confirms { return try await fallBack(series, network, "it did not say what it wrote") }
      return []
    case 415 where version == .two: return try await fallBack(series, network, "it was answered 415")
    case 500..., 429:
      throw .retry(message, after: reply.fields["retry-after"].flatMap { HTTPOutput.retryAfter($0, now: .now()) }, status: reply.status)
    default:
      let reason = "http_\(reply.status)"
      context.log.warn("\(message); not sent again")
      return series.flatMap { $0.samples.map { Rejection(index: $0.event, reason: reason, status: reply.status) } }
    }
  }

  private func fallBack(_ series: [SeriesGroups.Series], _ network: Network, _ why: String) async throws(WriteError)
    -> [Rejection]
  {
    context.log.warn("\(HTTPEndpoint.masked(config.endpoint)) does not know remote write 2.0 (\(why)); using 1.0 from now on")
    state.fallBack()
    return try await send(series, network)
  }

  public func close() async { await state.close() }
}

/// What an output remembers between chunks.
private final class RemoteWriteState: Sendable {
  private struct State {
    var client: HTTPClient?
    var isOld = false
    /// Of the chunk that failed last: requests that were answered for good, and what they refused.
    var failed: (chunk: ChunkID, done: Int, rejected: [Rejection])?
  }
  private let state = Mutex(State())

  func version(_ wanted: RemoteWriteRequest.Version) -> RemoteWriteRequest.Version { state.withLock { $0.isOld ? .one : wanted } }
  func fallBack() { state.withLock { $0.isOld = true } }

  func progress(of chunk: ChunkID) -> (done: Int, rejected: [Rejection]) {
    state.withLock { state in
      guard let failed = state.failed, failed.chunk == chunk else { return (0, []) }
      return (failed.done, failed.rejected)
    }
  }
  func keep(_ chunk: ChunkID, _ done: Int, _ rejected: some Sequence<Rejection>) {
    state.withLock { $0.failed = (chunk, done, Array(rejected)) }
  }
  func forget(_ chunk: ChunkID) { state.withLock { if $0.failed?.chunk == chunk { $0.failed = nil } } }

  func client(_ access: HTTPAccess, _ network: Network) -> HTTPClient {
    state.withLock { state in
      if let client = state.client { return client }
      var options = HTTPClientOptions()
      options.tls = access.tls
      options.maxConnections = 1
      let made = HTTPClient(options, on: network)
      state.client = made
      return made
    }
  }
  func close() async {
    let client = state.withLock { state in
      defer { state.client = nil }
      return state.client
    }
    await client?.close()
  }
}
