public import AggCore
import AggNet
import Glibc
import Synchronization

/// Sends each chunk as the body of one HTTP request.
public struct HTTPOutput: Output {
  public static let name = "http"
  public static let summary = "Sends chunks as HTTP requests."

  private let config: Config
  private let context: PluginContext
  private let formatter: any Formatter
  private let endpoint: ChunkTemplate
  private let endpointHost: String
  private let contentType: String
  private let headers: [(name: String, value: ChunkTemplate)]
  private let authorization: String?
  private let retryable: Set<Int>
  /// What follows each event in a JSON array.
  private let arrayNewline: [UInt8]
  private let client: SharedClient
  private let parts = HTTPParts()
  /// A server that tells a longer time than this is asked again after it.
  private static let longestRetryAfter: Int64 = 3600
  /// On top of the timeouts, for a large body on a slow line.
  private static let transferSeconds = 600

  public init(_ config: Config, _ context: PluginContext) throws {
    self.config = config
    self.context = context
    formatter = try context.formatter(config.format, default: "json")
    let keys = context.chunkKeys ?? ChunkKeys()
    endpoint = try ChunkTemplate(config.endpoint, parameter: "endpoint", keys: keys)
    guard let url = HTTPEndpoint(Self.withoutPlaceholders(config.endpoint)), ["http", "https"].contains(url.scheme) else {
      throw ConfigValueError("Invalid endpoint URI: \(HTTPEndpoint.masked(config.endpoint)); write http://host/path or https://host/path")
    }
    endpointHost = url.host
    let type = config.format?.type ?? "json"
    if config.jsonArray, type != "json" { throw ConfigValueError("json_array option could be used with json formatter only") }
    contentType = try config.contentType ?? Self.contentType(type, jsonArray: config.jsonArray)
    headers = try config.placeholderHeaders.pairs.map {
      ($0.key, try ChunkTemplate($0.value, parameter: "headers_from_placeholders", keys: keys))
    }
    for name in config.headers.pairs.map(\.key) + headers.map(\.name) where !Self.isToken(name) {
      throw ConfigValueError("'\(name)' cannot be the name of a header")
    }
    let threads = context.element.child("buffer")?["flush_thread_count"].flatMap { Int($0) } ?? 1
    client = SharedClient(try config.clientOptions(connections: min(max(threads, 1), 1024)))
    authorization = config.auth.map { "Basic " + base64(Array("\($0.username ?? ""):\($0.password ?? "")".utf8)) }
    retryable = Set(config.retryableCodes ?? [503])
    let section = config.format
    let hasNewline = section?["add_newline"].map { $0 == "true" || $0 == "yes" || $0.isEmpty } ?? true
    arrayNewline = hasNewline ? (section?["newline"] == "crlf" ? [0x0d, 0x0a] : [0x0a]) : []
  }

  public var chunkFormatter: (any Formatter)? { formatter }
  public static var takesFormatted: Bool { true }

  private static func contentType(_ format: String, jsonArray: Bool) throws(ConfigValueError) -> String {
    switch format {
    case "json": return jsonArray ? "application/json" : "application/x-ndjson"
    case "csv": return "text/csv"
    case "tsv", "ltsv": return "text/tab-separated-values"
    case "msgpack": return "application/x-msgpack"
    case "out_file", "single_value", "stdout", "hash": return "text/plain"
    default: throw ConfigValueError("can't determine Content-Type from formatter type. Set content_type parameter explicitly")
    }
  }
  private static func isToken(_ name: String) -> Bool {
    !name.isEmpty
      && name.utf8.allSatisfy { ($0 | 0x20 >= 0x61 && $0 | 0x20 <= 0x7a) || ($0 >= 0x30 && $0 <= 0x39) || "!#$%&'*+-.^_`|~".utf8.contains($0) }
  }
  /// A host that a placeholder gives compares with nothing configured.
  private static func withoutPlaceholders(_ text: String) -> String {
    var out = ""
    var rest = text[...]
    while let start = rest.firstIndex(where: { $0 == "$" || $0 == "%" }) {
      out += rest[..<start]
      let after = rest.index(after: start)
      if after < rest.endIndex, rest[after] == "{", let close = rest[after...].firstIndex(of: "}") {
        out += "placeholder.invalid"
        rest = rest[rest.index(after: close)...]
      } else {
        out.append(rest[start])
        rest = rest[after...]
      }
    }
    return out + rest
  }

  public func write(_ chunk: ChunkView) async throws(WriteError) {
    let url = endpoint.render(ChunkView(id: chunk.id, metadata: chunk.metadata.encodedForURL, batches: [], timekeySeconds: chunk.timekeySeconds))
    guard let target = HTTPEndpoint(url) else { throw .discard("bad_endpoint", "not a URL: \(HTTPEndpoint.masked(url))") }
    if target.host != endpointHost, !config.allowedHosts.contains(where: { $0.lowercased() == target.host }) {
      throw .discard("host_not_allowed", "host \(target.host) came from a placeholder and is not among allowed_hosts")
    }
    if chunk.formatted != nil { return try judge(await send(body(chunk), url, chunk, id: chunk.id), url, chunk.count) }
    var progress = parts.progress(chunk.id)
    do throws(WriteError) {
      while let part = progress.next(of: chunk.count) { try await send(part, of: chunk, url, &progress) }
    } catch {
      parts.keep(progress, of: chunk.id)
      throw error
    }
    parts.forget(chunk.id)
    if !progress.rejected.isEmpty {
      throw WriteError(.partial(rejected: progress.rejected), progress.firstRefusal ?? "\(progress.rejected.count) events could not be formatted")
    }
  }

  /// Sends one part, usually the whole chunk; what comes of it is in `progress`. Throws what concerns the chunk as a whole.
  private func send(_ part: HTTPParts.Part, of chunk: ChunkView, _ url: String, _ progress: inout HTTPParts.Progress) async throws(WriteError) {
    let isWhole = part.number == 1
    let batches = isWhole ? chunk.batches : HTTPParts.slice(chunk.batches, part.events)
    var rejects: [Rejection] = []
    let body = self.body(batches, first: part.events.lowerBound, &rejects)
    if rejects.count == part.events.count {
      progress.rejected += rejects
      return progress.finish(part)
    }
    // A server that refuses everything is asked some dozen times, not once an event.
    if body.count < progress.refusedSize {
      let id = part.id(in: chunk.id)
      let reply = try await send(body, url, chunk, id: id)
      if reply.status != 413 || retryable.contains(413) || isWhole && part.halves == nil {
        do throws(WriteError) { try judge(reply, url, part.events.count) } catch {
          guard progress.isHalved, let reason = error.refusal else { throw error }
          progress.refuse(part, reason, error.description, status: error.status)
          return
        }
        progress.rejected += rejects
        return progress.finish(part)
      }
      progress.refusedSize = body.count
    }
    if part.halves != nil { progress.halve(part) } else {
      progress.refuse(part, "too_large", "\(HTTPEndpoint.masked(url)) finds an event of \(body.count) bytes too large (413)", status: 413)
    }
  }

  private func send(_ body: [UInt8], _ url: String, _ chunk: ChunkView, id: ChunkID) async throws(WriteError) -> HTTPReply {
    var request = HTTPRequest(config.method == .post ? "POST" : "PUT", url, fields: fields(chunk, id), body: body)
    let seconds = (config.openTimeout ?? 60) &+ (config.sslTimeout ?? 0) &+ (config.readTimeout ?? 60) &+ Self.transferSeconds
    request.timeout = .seconds(seconds)
    guard let network = context.shared(Network.self) else { throw .retry("there is no network") }
    do {
      let reply = try await client.on(network).send(request)
      Faults.hit(.answered)
      return reply
    } catch is CancellationError { throw WriteError(.cancelled, "cancelled") } catch { throw .retry("\(error)") }
  }

  public func close() async { await client.close() }

  private func fields(_ chunk: ChunkView, _ id: ChunkID) -> HTTPFields {
    var fields = HTTPFields()
    for pair in config.headers.pairs { fields[pair.key] = pair.value }
    for header in headers { fields[header.name] = Self.plain(header.value.render(chunk)) }
    if fields["user-agent"] == nil { fields["User-Agent"] = "agg" }
    // A chunk, or its part, keeps its id through every attempt: a receiver that knows the header takes it once.
    if fields["idempotency-key"] == nil { fields["Idempotency-Key"] = id.description }
    switch config.compress {
    case .text: break
    case .gzip: fields["Content-Encoding"] = "gzip"
    case .zstd: fields["Content-Encoding"] = "zstd"
    }
    fields["Content-Type"] = contentType
    if let authorization { fields["Authorization"] = authorization }
    return fields
  }
  /// Control characters would begin another header.
  private static func plain(_ value: String) -> String {
    String(decoding: value.utf8.map { $0 < 0x20 || $0 == 0x7f ? 0x20 : $0 }, as: UTF8.self)
  }

  /// What Fluentd formatted, as it stands; in its chunk each element of an array ends with a comma.
  private func body(_ chunk: ChunkView) -> [UInt8] {
    var out = ByteWriter(capacity: chunk.byteCount + 2)
    if config.jsonArray { out.append(0x5b as UInt8) }
    if let formatted = chunk.formatted { formatted.withBytes { out.append(UnsafeRawBufferPointer(rebasing: config.jsonArray ? $0.dropLast() : $0[...])) } }
    if config.jsonArray { out.append(0x5d as UInt8) }
    return compressed(out)
  }

  /// `first` is the number of the first event in its chunk.
  private func body(_ batches: [EventBatch], first: Int, _ rejects: inout [Rejection]) -> [UInt8] {
    let size = batches.reduce(0) { $0 + $1.byteCount }
    var out = ByteWriter(capacity: size + size / 2 + 256)
    var first = first
    if config.jsonArray { out.append(0x5b as UInt8) }
    for batch in batches {
      if config.jsonArray { formatArray(batch, first, &out, &rejects) } else {
        var own: [Rejection] = []
        formatter.format(batch, into: &out, &own)
        for reject in own { rejects.append(Rejection(index: first &+ reject.index, reason: reject.reason)) }
      }
      first += batch.count
    }
    if config.jsonArray { out.append(0x5d as UInt8) }
    return compressed(out)
  }

  private func compressed(_ out: borrowing ByteWriter) -> [UInt8] {
    switch config.compress {
    case .text: return out.array
    case .gzip:
      var packed = ByteWriter(capacity: out.count / 4 + 256)
      Gzip.compress(out.bytes, into: &packed)
      return packed.array
    case .zstd:
      var packed = ByteWriter(capacity: out.count / 4 + 256)
      Zstd.compress(out.bytes, into: &packed)
      return packed.array
    }
  }

  /// Fluentd's form: each event as a line, commas at the beginnings of lines.
  private func formatArray(_ batch: EventBatch, _ first: Int, _ out: inout ByteWriter, _ rejects: inout [Rejection]) {
    var index = first
    batch.forEachEvent { _, record in
      let before = out.count
      if before > 1 { out.append(0x2c as UInt8) }
      if JSONFormatter.writeRecord(record, into: &out) { out.append(arrayNewline) } else {
        out.count = before
        rejects.append(Rejection(index: index, reason: "holds a value that JSON cannot"))
      }
      index += 1
    }
  }

  /// Throws for everything but 2xx; the first part of the answer's text is shown.
  private func judge(_ reply: HTTPReply, _ url: String, _ count: Int) throws(WriteError) {
    if (200..<300).contains(reply.status) { return }
    let text = String(decoding: reply.body.prefix(500), as: UTF8.self)
    let message = "\(config.method.rawValue.uppercased()) \(HTTPEndpoint.masked(url)) was answered \(reply.status)\(text.isEmpty ? "" : ": " + text)"
    let after = reply.fields["retry-after"].flatMap { Self.retryAfter($0, now: .now()) }
    if retryable.contains(reply.status) { throw .retry(message, after: after, status: reply.status) }
    // Told when to come again, agg does; Fluentd would give the chunk up.
    if reply.status == 429, let after { throw .retry(message, after: after, status: reply.status) }
    let reason = reply.status == 413 ? "too_large" : "http_\(reply.status)"
    if config.unrecoverable { throw .discard(reason, message, status: reply.status) }
    throw WriteError(
      .partial(rejected: (0..<count).map { Rejection(index: $0, reason: reason, status: reply.status) }), message, status: reply.status)
  }

  /// Retry-After's seconds or HTTP date, at most an hour; nil for anything else.
  static func retryAfter(_ text: String, now: EventTime) -> Duration? {
    if let seconds = Int64(text) { return seconds < 0 ? nil : .seconds(min(seconds, longestRetryAfter)) }
    guard let parser = try? TimeParser(format: "%a, %d %b %Y %H:%M:%S %Z", zone: .utc), let at = parser.parse(text) else { return nil }
    return .seconds(min(max(at.seconds &- now.seconds, 0), longestRetryAfter))
  }
}

/// The one client of an output, made at its first request.
private final class SharedClient: Sendable {
  private let options: HTTPClientOptions
  private let client = Mutex<HTTPClient?>(nil)
  init(_ options: HTTPClientOptions) { self.options = options }

  func on(_ network: Network) -> HTTPClient {
    client.withLock { kept in
      if let kept { return kept }
      let made = HTTPClient(options, on: network)
      kept = made
      return made
    }
  }
  func close() async {
    let client = client.withLock { $0.take() }
    await client?.close()
  }
}
