import AggCore
import AggNet

/// One reading of one page, with what Prometheus itself adds: up, scrape_duration_seconds, scrape_samples_scraped.
struct Scrape: Sendable {
  struct Target: Sendable {
    let url: String
    /// Nanoseconds.
    let interval: Int64
    let timeout: Duration
    let labels: [(String, String)]
    /// With stale_markers.
    let memory: ScrapeMemory?

    /// `instance` is host and port, as in Prometheus.
    var allLabels: [(String, String)] {
      if labels.contains(where: { $0.0 == "instance" }) { return labels }
      let url = HTTPEndpoint(self.url)
      let host = url.map { $0.host.contains(":") ? "[\($0.host)]" : $0.host } ?? ""
      return [("instance", "\(host):\(url?.port ?? 0)")] + labels
    }
  }
  static let reservedHeaders: Set<String> = ["accept", "accept-encoding", "host", "authorization"]
  private static let accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"

  let client: HTTPClient
  let access: HTTPAccess
  let honorsLabels: Bool
  let honorsTimestamps: Bool
  let sampleLimit: Int
  let pageLimit: Int
  let tag: Tag
  let lane: InputLane

  private struct Failure: Error { let why: String }

  func read(_ target: Target) async {
    let begun = MonotonicTime.now()
    let now = EventTime.now()
    let labels = target.allLabels
    var batch: EventBatch?
    var samples = 0
    do {
      let reply = try await fetch(target)
      let isOpen = reply.fields["content-type"]?.contains("application/openmetrics-text") ?? false
      var parser = ExpositionParser(
        isOpenMetrics: isOpen, common: labels, honorsLabels: honorsLabels, honorsTimestamps: honorsTimestamps, now: now)
      let page = try decoded(reply)
      var writer = MetricWriter(capacity: page.count * 2)
      guard parser.parse(page.bytes, limit: sampleLimit, into: &writer) else {
        throw Failure(why: "more than \(sampleLimit) samples (sample_limit)")
      }
      lane.reject(
        parser.rejected, from: HTTPEndpoint.masked(target.url),
        "\(parser.rejected) lines cannot be read: \(parser.firstProblem ?? "")")
      samples = parser.samples
      batch = writer.finish(tag: tag)
    } catch is CancellationError { return } catch {
      lane.quiet.warn("\(HTTPEndpoint.masked(target.url)): \((error as? Failure)?.why ?? "\(error)")")
    }
    let encoded = MetricLabels(labels.map { (name: $0.0, value: $0.1) })
    var own = MetricWriter(capacity: 1024)
    own.add("up", Int64(batch == nil ? 0 : 1), .gauge, encoded, at: now)
    own.add("scrape_duration_seconds", Double(MonotonicTime.now().since(begun)) / 1e9, .gauge, encoded, at: now)
    own.add("scrape_samples_scraped", Int64(samples), .gauge, encoded, at: now)
    let ended = target.memory?.ended(batch, at: now, tag: tag)
    await lane.emit([batch, ended, own.finish(tag: tag)].compactMap { $0 }, from: HTTPEndpoint.masked(target.url))
  }

  private func fetch(_ target: Target) async throws -> HTTPReply {
    var request = HTTPRequest("GET", target.url, fields: access.fields(reserved: Self.reservedHeaders))
    request.fields["Accept"] = Self.accept
    request.fields["Accept-Encoding"] = "gzip"
    let seconds = Double(target.timeout.components.seconds) + Double(target.timeout.components.attoseconds) / 1e18
    request.fields["X-Prometheus-Scrape-Timeout-Seconds"] = ExpositionText.number(seconds)
    request.timeout = target.timeout
    request.replyLimit = pageLimit
    let reply = try await client.send(request)
    guard reply.status == 200 else { throw Failure(why: "was answered \(reply.status)") }
    return reply
  }

  private func decoded(_ reply: HTTPReply) throws -> ByteWriter {
    var page = ByteWriter(capacity: max(reply.body.count * 2, 64))
    switch reply.fields["content-encoding"]?.lowercased() {
    case "gzip":
      try reply.body.withUnsafeBytes { try Gzip.decompress($0, into: &page, limit: DecompressionLimit(bytes: pageLimit)) }
    case nil, "", "identity": page.append(reply.body)
    case let other?: throw Failure(why: "is encoded as '\(other)', which was not asked for")
    }
    return page
  }
}
