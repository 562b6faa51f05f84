import AggCore
import AggEngine
import AggNet
import AggPlugins
import AggTesting
import Foundation
import Synchronization
import Testing

@Suite struct HTTPOutputTests {
  /// A server that answers from a list, the last answer repeating, and keeps what came.
  final class Stub: Sendable {
    let requests = Mutex<[HTTPServerRequest]>([])
    let answers: [HTTPResponse]
    /// Decides first; nil leaves it to the list.
    let decide: (@Sendable (HTTPServerRequest) -> HTTPResponse?)?
    init(_ answers: [HTTPResponse], _ decide: (@Sendable (HTTPServerRequest) -> HTTPResponse?)? = nil) {
      self.answers = answers
      self.decide = decide
    }
    func answer(_ request: HTTPServerRequest) -> HTTPResponse {
      let n = requests.withLock { all in
        all.append(request)
        return all.count
      }
      return decide?(request) ?? answers[min(n, answers.count) - 1]
    }
    var all: [HTTPServerRequest] { requests.withLock { $0 } }
  }

  func run(
    _ parameters: String, buffer: String = "<buffer tag>\nflush_mode immediate\nretry_wait 0.01\nretry_type periodic\n</buffer>",
    answers: [HTTPResponse] = [HTTPResponse(200)], decide: (@Sendable (HTTPServerRequest) -> HTTPResponse?)? = nil,
    _ body: (RunningEngine, Stub) async throws -> Void
  ) async throws {
    let network = Network()
    let stub = Stub(answers, decide)
    let server = try await HTTPServer.bind(.host("127.0.0.1", 0), on: network)
    guard case .host(_, let port) = server.endpoint else { return }
    let task = Task { await server.run { stub.answer($0) } }
    let text = """
      <source>
        @type feed
      </source>
      <match **>
        @type http
        @id out
        \(parameters.replacingOccurrences(of: "PORT", with: "\(port)"))
        \(buffer)
      </match>
      """
    do { try await RunningEngine.with(text) { try await body($0, stub) } } catch {
      task.cancel()
      await task.value
      await network.shutdown()
      throw error
    }
    task.cancel()
    await task.value
    await network.shutdown()
  }

  func text(_ request: HTTPServerRequest) -> String { String(decoding: request.body.bytes, as: UTF8.self) }

  @Test func `a chunk is one request of JSON lines with its id`() async throws {
    try await run("endpoint http://127.0.0.1:PORT/in/${tag}?x=1\nheaders {\"X-One\":\"1\"}\nheaders_from_placeholders {\"X-Tag\":\"${tag[1]}\"}") { agg, stub in
      try await agg.feed.send([#"{"a":1}"#, #"{"a":"é"}"#], tag: "a.b?c")
      try await soon("one request") { stub.all.count == 1 }
      let request = stub.all[0]
      #expect(request.method == "POST")
      #expect(request.target == "/in/a.b%3Fc?x=1")
      #expect(text(request) == "{\"a\":1}\n{\"a\":\"é\"}\n")
      #expect(request.fields["content-type"] == "application/x-ndjson")
      #expect(request.fields["x-one"] == "1")
      #expect(request.fields["x-tag"] == "b?c")
      #expect(request.fields["idempotency-key"]?.utf8.count == 32)
      try await soon("delivered") { try agg.counters("out")[.delivered] == 2 }
    }
  }

  @Test func `an array, put, basic authentication and gzip`() async throws {
    let parameters = """
      endpoint http://127.0.0.1:PORT/in
      http_method put
      json_array true
      compress gzip
      reuse_connections true
      <auth>
        username u
        password p:w
      </auth>
      """
    try await run(parameters) { agg, stub in
      try await agg.feed.send([#"{"a":1}"#, #"{"a":2}"#], tag: "t")
      try await soon("one request") { stub.all.count == 1 }
      let request = stub.all[0]
      #expect(request.method == "PUT")
      #expect(request.fields["content-encoding"] == "gzip")
      #expect(request.fields["content-type"] == "application/json")
      #expect(request.fields["authorization"] == "Basic dTpwOnc=")
      var plain = ByteWriter()
      try Gzip.decompress(request.body.bytes, into: &plain, limit: DecompressionLimit(bytes: 1 << 20))
      #expect(plain.string == "[{\"a\":1}\n,{\"a\":2}\n]")
    }
  }

  @Test func `a retryable status sends the chunk again under the same id`() async throws {
    try await run("endpoint http://127.0.0.1:PORT/", answers: [HTTPResponse(503), HTTPResponse(503, fields: ["Retry-After": "1"]), HTTPResponse(200)]) { agg, stub in
      try await agg.feed.send([#"{"a":1}"#], tag: "t")
      try await soon("three requests") { stub.all.count == 3 }
      #expect(Set(stub.all.map { $0.fields["idempotency-key"] }).count == 1)
      try await soon("delivered") { try agg.counters("out")[.delivered] == 1 }
      #expect(try agg.counters("out")[.retries] == 2)
    }
  }

  @Test func `429 with Retry-After is retried`() async throws {
    try await run("endpoint http://127.0.0.1:PORT/", answers: [HTTPResponse(429, fields: ["Retry-After": "0"]), HTTPResponse(204)]) { agg, stub in
      try await agg.feed.send([#"{"a":1}"#], tag: "t")
      try await soon("delivered") { try agg.counters("out")[.delivered] == 1 }
      #expect(stub.all.count == 2)
    }
  }

  @Test(arguments: [(400, "http_400"), (429, "http_429"), (302, "http_302")])
  func `a refusal is a discard with its reason`(status: Int, reason: String) async throws {
    try await run("endpoint http://127.0.0.1:PORT/", answers: [HTTPResponse(status, text: "no")]) { agg, stub in
      try await agg.feed.send([#"{"a":1}"#, #"{"a":2}"#], tag: "t")
      try await soon("dropped") { try agg.counters("out").dropped[reason] == 2 }
      #expect(stub.all.count == 1)
      #expect(agg.log.lines.contains { $0.contains("answered \(status): no") })
    }
  }

  @Test func `a single event that is too large is a discard`() async throws {
    try await run("endpoint http://127.0.0.1:PORT/", answers: [HTTPResponse(413, text: "no")]) { agg, stub in
      try await agg.feed.send([#"{"a":1}"#], tag: "t")
      try await soon("dropped") { try agg.counters("out").dropped["too_large"] == 1 }
      #expect(stub.all.count == 1)
    }
  }

  @Test func `a chunk that is too large is halved, and only what is too large by itself is refused`() async throws {
    let records = (0..<9).map { $0 == 4 ? #"{"n":4,"pad":"\#(String(repeating: "x", count: 200))"}"# : #"{"n":\#($0)}"# }
    try await run("endpoint http://127.0.0.1:PORT/", decide: { $0.body.count > 30 ? HTTPResponse(413) : nil }) { agg, stub in
      try await agg.feed.send(records, tag: "t")
      try await soon("all but one delivered") { try agg.counters("out")[.delivered] == 8 }
      #expect(try agg.counters("out").droppedTotal + agg.counters("out")[.deadLettered] == 1)
      let taken = stub.all.filter { $0.body.count <= 30 }
      #expect(taken.flatMap { text($0).split(separator: "\n") }.map(String.init) == records.enumerated().filter { $0.offset != 4 }.map(\.element))
      #expect(Set(stub.all.map { $0.fields["idempotency-key"] ?? "" }).count == stub.all.count)
      #expect(agg.log.lines.contains { $0.contains("too_large") })
    }
  }

  @Test func `the parts of a chunk keep their ids, and those that were taken are not sent again`() async throws {
    let records = (0..<8).map { #"{"n":\#($0)}"# }
    let failing = Mutex<Set<String>>([])
    try await run(
      "endpoint http://127.0.0.1:PORT/",
      decide: { request in
        if request.body.count > 20 { return HTTPResponse(413) }
        // Each part fails once.
        let isNew = failing.withLock { $0.insert(request.fields["idempotency-key"] ?? "").inserted }
        return isNew ? HTTPResponse(503) : nil
      }
    ) { agg, stub in
      try await agg.feed.send(records, tag: "t")
      try await soon("delivered") { try agg.counters("out")[.delivered] == 8 }
      let parts = stub.all.filter { $0.body.count <= 20 }
      #expect(parts.count == 8)
      #expect(Dictionary(grouping: parts) { $0.fields["idempotency-key"] }.values.allSatisfy { Set($0.map { text($0) }).count == 1 && $0.count == 2 })
      // The chunk and its first half; the second is as large.
      #expect(stub.all.count == 10)
    }
  }

  @Test func `a server that finds everything too large is not asked once an event`() async throws {
    let records = (0..<1000).map { #"{"n":\#(1000 + $0)}"# }
    try await run("endpoint http://127.0.0.1:PORT/", answers: [HTTPResponse(413)]) { agg, stub in
      try await agg.feed.send(records, tag: "t")
      try await soon("given up") { try agg.counters("out")[.buffered] == 0 && agg.counters("out")[.offered] == 1000 }
      #expect(stub.all.count <= 12)
      #expect(try agg.counters("out").droppedTotal + agg.counters("out")[.deadLettered] == 1000)
    }
  }

  @Test func `error_response_as_unrecoverable off drops and counts`() async throws {
    try await run("endpoint http://127.0.0.1:PORT/\nerror_response_as_unrecoverable false", answers: [HTTPResponse(500)]) { agg, stub in
      try await agg.feed.send([#"{"a":1}"#], tag: "t")
      try await soon("dropped") { try agg.counters("out").droppedTotal == 1 }
      #expect(try agg.counters("out")[.buffered] == 0)
    }
  }

  @Test func `a host that a placeholder gives has to be allowed`() async throws {
    try await run("endpoint http://${tag}:PORT/\nallowed_hosts 127.0.0.1") { agg, stub in
      try await agg.feed.send([#"{"a":1}"#], tag: "localhost")
      try await soon("refused") { try agg.counters("out").dropped["host_not_allowed"] == 1 }
      try await agg.feed.send([#"{"a":2}"#], tag: "127.0.0.1")
      try await soon("delivered") { try agg.counters("out")[.delivered] == 1 }
      #expect(stub.all.count == 1)
    }
  }

  @Test(arguments: [
    ("endpoint nowhere", "Invalid endpoint URI"), ("endpoint http://h/\njson_array true\n<format>\n@type stdout\n</format>", "json_array"),
    ("endpoint http://h/\n<auth>\nmethod aws_sigv4\n</auth>", "aws_sigv4"), ("endpoint http://h/\ntls_ca_cert_path /nowhere", "tls_ca_cert_path"),
    ("endpoint http://h/\ncompress bzip", "compress"), ("endpoint http://h/\nheaders {\"a b\":\"c\"}", "header"),
  ])
  func `a mistake is told at the start`(parameters: String, word: String) async throws {
    let error = await #expect(throws: ConfigErrors.self) { try await run(parameters) { _, _ in } }
    #expect(error.map { "\($0)".contains(word) } == true)
  }
}
