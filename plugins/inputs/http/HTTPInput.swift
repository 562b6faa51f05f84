public import AggCore
import AggNet

/// Records over HTTP; the path is the tag.
public struct HTTPInput: Input {
  public static let name = "http"
  public static let oldParameters = OldParameters(.parse)
  public static let summary = "Records over HTTP; the path is the tag."

  private static let emptyImage: [UInt8] = [
    0x47, 0x49, 0x46, 0x38, 0x39, 0x61, 1, 0, 1, 0, 0x80, 0xff, 0, 0xff, 0xff, 0xff, 0, 0, 0, 0x2c, 0, 0, 0, 0, 1, 0, 1, 0, 0, 2, 2, 0x44, 1, 0,
    0x3b,
  ]

  private let config: Config
  private let context: PluginContext
  private let records: HTTPRecords
  private let origins: HTTPOrigins

  public init(_ config: Config, _ context: PluginContext) throws {
    try config.transport.check([.tcp, .tls], context)
    self.config = config
    self.context = context
    origins = HTTPOrigins(config.origins, credentials: config.allowsCredentials)
    let type = config.parse?.type ?? "in_http"
    let isDefault = type == "in_http"
    records = HTTPRecords(
      parser: isDefault ? nil : try context.parser(config.parse), parserName: type,
      recordTime: try HTTPRecordTime(isDefault ? config.parse : nil, context.config))
  }

  public var tags: SourceTags { config.tagPrefix.map { .pattern(TagPattern.literal($0) + "\\.**") } ?? .any }

  public func run(_ emitter: Emitter) async throws {
    guard let network = context.shared(Network.self) else { throw ConfigValueError("there is no network") }
    let lane = InputLane(context, emitter)
    var options = HTTPServerOptions()
    try config.transport.apply(to: &options.listen)
    config.limits.apply(to: &options.listen, context)
    if let backlog = config.backlog { options.listen.backlog = backlog }
    options.listen.onError = { peer, error in lane.quiet.warn("\(peer): \(error)") }
    options.bodyLimit = config.bodyLimit.bytes
    options.needsMemory = true
    options.idleTimeout = config.keepaliveTimeout.duration
    options.announcesKeepAlive = true
    let limit = config.bodyLimit.bytes
    let usual = options.refusal
    options.refusal = { status in
      // The client keeps it and comes again.
      if status == 503 { return HTTPResponse(503, fields: ["Retry-After": "1"], body: Array("503 Service Unavailable\n".utf8)) }
      lane.reject(1, from: "a client", "request answered with \(status)\(status == 413 ? ": more than body_size_limit (\(limit) bytes)" : "")")
      guard status == 413 else { return usual(status) }
      var response = HTTPResponse(413, text: "Too large")
      response.reason = "Request Entity Too Large"
      return response
    }
    let server = try await HTTPServer.bind(.host(config.bind, Int(config.port.number)), options, on: network)
    context.log.info("listening http bind=\"\(config.bind)\" port=\(config.port.number)")
    emitter.ready()
    let stored = ForwardDuplicates()
    stored.restore(context)
    await server.run { request in await answer(request, lane, stored) }
    await server.close(keepingSocket: true)
  }

  private func answer(_ request: HTTPServerRequest, _ lane: InputLane, _ stored: ForwardDuplicates) async -> HTTPResponse {
    // Health checks.
    if request.method == "GET" { return HTTPResponse(200, text: "") }
    if request.method == "OPTIONS" { return origins.preflight(request) }
    let origin = request.fields["Origin"]
    guard origins.accepts(origin) else { return HTTPResponse(403, text: "") }
    var response = await accept(request, lane, stored)
    origins.setFields(of: &response, for: origin)
    return response
  }

  private func accept(_ request: HTTPServerRequest, _ lane: InputLane, _ stored: ForwardDuplicates) async -> HTTPResponse {
    let peer = "\(request.peer)"
    var batch: EventBatch
    do throws(HTTPBadRequest) { batch = try events(of: request, peer, lane) } catch {
      context.counters.add(.received, .rejected, 1)
      if config.dumpsErrors { lane.quiet.error("\(peer): failed to process request: \(error.reason)") }
      return HTTPResponse(400, text: "400 Bad Request\n\(error.reason)\n")
    }
    if !batch.isEmpty {
      // A client that got no answer sends again, with the key of the first attempt.
      let chunks = request.fields["Idempotency-Key"].map { [ForwardDuplicates.Chunk(key: $0, body: request.body.bytes)] } ?? []
      for chunk in chunks where await isStored(chunk, stored) {
        context.counters.add(.duplicates, 1)
        return accepted
      }
      let spans = stored.spans(chunks)
      do throws(EmitError) {
        try await lane.emitter.emit(batch, covering: spans)
        stored.finish(chunks, stored: true, spans)
        Faults.hit(.answer)
      } catch {
        stored.finish(chunks, stored: false)
        // The client is told and keeps them.
        context.counters.add(.received, .rejected, batch.count)
        if case .unavailable = error { return HTTPResponse(503, text: "503 Service Unavailable\n") }
        if config.dumpsErrors { lane.quiet.error("\(peer): failed to emit data: \(error)") }
        if case .closed = error { return HTTPResponse(503, text: "503 Service Unavailable\n\(error)\n") }
        return HTTPResponse(500, text: "500 Internal Server Error\n\(error)\n")
      }
    }
    return accepted
  }

  private var accepted: HTTPResponse {
    if config.answersImage { return HTTPResponse(200, fields: ["Content-Type": "image/gif; charset=utf-8"], body: Self.emptyImage) }
    return config.answers204 ? HTTPResponse(204) : HTTPResponse(200, text: "")
  }

  /// Whether a request with this key and body is stored; if another one is being stored, waits for how that ends.
  private func isStored(_ chunk: ForwardDuplicates.Chunk, _ stored: ForwardDuplicates) async -> Bool {
    while true {
      switch stored.reserve(chunk) {
      case .reserved: return false
      case .stored: return true
      case .busy: await stored.wait(for: chunk)
      }
    }
  }

  private func events(of request: HTTPServerRequest, _ peer: String, _ lane: InputLane) throws(HTTPBadRequest) -> EventBatch {
    let tag = try tag(of: request.path)
    let body = try decoded(request)
    var form = HTTPForm()
    if let query = request.query, !form.add(urlEncoded: query) { throw HTTPBadRequest("invalid %-encoding in the query") }
    var extra = ExtraFields()
    if config.addsHeaders { addHeaders(request, &extra) }
    if config.addsQuery {
      for pair in form.pairs { extra.set("QUERY_" + Self.variable(pair.name), String(decoding: pair.value, as: UTF8.self)) }
    }
    if config.addsRemoteAddress { extra.set("REMOTE_ADDR", remoteAddress(request)) }
    let (kind, content) = try content(request, body, &form)
    let now = EventTime.now()
    let time = form["time"].map { HTTPTimeParameter.time(String(decoding: $0, as: UTF8.self), now) }
    let (batch, invalid) = try records.events(kind, content, time: time, now: now, tag)
    if invalid > 0 { lane.reject(invalid, from: peer, "not JSON: \(QuietLog.excerpt(content.bytes))") }
    return extra.applied(to: batch)
  }

  /// `/a/b` is `a.b`; the root is the empty tag, as with Fluentd.
  private func tag(of path: Substring) throws(HTTPBadRequest) -> Tag {
    var path = path
    if path.hasPrefix("http://") || path.hasPrefix("https://") {
      let rest = path.drop { $0 != "/" }.dropFirst(2)
      path = rest[(rest.firstIndex(of: "/") ?? rest.endIndex)...]
    }
    guard path.utf8.first == 0x2f else { throw HTTPBadRequest("the path does not begin with '/'") }
    var bytes = Array(path.utf8.dropFirst())
    while bytes.last == 0x2f { bytes.removeLast() }
    for i in bytes.indices where bytes[i] == 0x2f { bytes[i] = 0x2e }
    if let prefix = config.tagPrefix { bytes = Array("\(prefix).".utf8) + bytes }
    if bytes.isEmpty { return Tag("") }
    guard let tag = bytes.withUnsafeBytes({ Tag(validating: $0) }) else { throw HTTPBadRequest("the path makes no tag") }
    return tag
  }

  private func decoded(_ request: HTTPServerRequest) throws(HTTPBadRequest) -> Block {
    guard let encoding = request.fields["Content-Encoding"] else { return request.body }
    var out = ByteWriter(capacity: max(1024, request.body.count * 3))
    let limit = DecompressionLimit(bytes: config.decompressedLimit.bytes)
    do throws(CompressionError) {
      switch encoding {
      case "gzip": try Gzip.decompress(request.body.bytes, into: &out, limit: limit)
      case "deflate":
        var inflater = Inflater()
        try inflater.decompress(request.body.bytes, .httpDeflate, into: &out, limit: limit)
      case "zstd": try Zstd.decompress(request.body.bytes, into: &out, limit: limit)
      default: return request.body
      }
    } catch { throw HTTPBadRequest("the body cannot be decoded: \(error)") }
    return Block(out)
  }

  /// What holds the records: the body by its type, or a parameter `msgpack`, `json` or `ndjson`.
  private func content(_ request: HTTPServerRequest, _ body: Block, _ form: inout HTTPForm) throws(HTTPBadRequest) -> (HTTPRecords.Kind, Block) {
    if records.parser != nil { return (.custom, body) }
    let type = request.fields["Content-Type"] ?? ""
    var kind: HTTPRecords.Kind?
    if type.hasPrefix("application/json") || type.hasPrefix("application/csp-report") {
      kind = .json
    } else if type.hasPrefix("application/msgpack") {
      kind = .msgpack
    } else if type.hasPrefix("application/x-ndjson") {
      kind = .ndjson
    } else if type.hasPrefix("application/x-www-form-urlencoded") {
      guard form.add(urlEncoded: body.bytes) else { throw HTTPBadRequest("invalid %-encoding in the form") }
    } else if type.hasPrefix("multipart/form-data") {
      guard let boundary = HTTPForm.parameter("boundary", of: type), !boundary.isEmpty else { throw HTTPBadRequest("multipart without a boundary") }
      form.add(multipart: body.bytes, boundary: boundary)
    }
    if let kind { return (kind, body) }
    for (name, kind) in [("msgpack", HTTPRecords.Kind.msgpack), ("json", .json), ("ndjson", .ndjson)] {
      if let value = form[name] { return (kind, value.withUnsafeBytes { Block(copying: $0) }) }
    }
    throw HTTPBadRequest("'json', 'ndjson' or 'msgpack' parameter is required")
  }

  /// A field that comes several times is an array.
  private func addHeaders(_ request: HTTPServerRequest, _ extra: inout ExtraFields) {
    var seen: Set<String> = []
    for (name, _) in request.fields where seen.insert(name.lowercased()).inserted {
      let values = request.fields.all(name)
      var out = ByteWriter(capacity: 256)
      if values.count != 1 { out.putArrayHeader(values.count) }
      for value in values { out.putString(value) }
      extra.set("HTTP_" + Self.variable(name), encoded: out.array)
    }
  }

  private func remoteAddress(_ request: HTTPServerRequest) -> String? {
    guard let forwarded = request.fields["X-Forwarded-For"] else { return request.peer.ip }
    return forwarded.split(separator: ",", omittingEmptySubsequences: false).first.flatMap { $0.isEmpty && forwarded.isEmpty ? nil : String($0) }
  }

  private static func variable(_ name: String) -> String { String(name.map { $0 == "-" ? "_" : $0 }).uppercased() }
}
