import AggCore
import AggNet
import AggTesting
import Foundation
import Synchronization
import Testing

/// An HTTP server that answers what it is told and keeps what it was asked.
final class ScriptedServer: Sendable {
  let port: Int
  private let server: HTTPServer
  private let network = Network()
  private let kept = Mutex<[HTTPServerRequest]>([])
  private let answers: Mutex<[HTTPResponse]>

  /// The last answer goes on being given.
  init(_ answers: [HTTPResponse]) async throws {
    self.answers = Mutex(answers)
    server = try await HTTPServer.bind(.host("127.0.0.1", 0), on: network)
    guard case .host(_, let port) = server.endpoint else { throw NetworkError(.other, "no port") }
    self.port = port
    Task { [self] in await server.run { self.answer($0) } }
  }
  var requests: [HTTPServerRequest] { kept.withLock { $0 } }
  private func answer(_ request: HTTPServerRequest) -> HTTPResponse {
    kept.withLock { $0.append(request) }
    return answers.withLock { $0.count > 1 ? $0.removeFirst() : $0[0] }
  }
  func stop() async {
    await server.close()
    await network.shutdown()
  }
}

@Suite struct PrometheusScrapeTests {
  static func scrape(_ page: String, type: String = "text/plain; version=0.0.4", _ extra: String = "", status: Int = 200)
    async throws -> [String]
  {
    let server = try await ScriptedServer([HTTPResponse(status, fields: ["Content-Type": type], body: Array(page.utf8))])
    let text = """
      <source>
        @type prometheus_scrape
        @id scrape
        tag m
        urls http://127.0.0.1:\(server.port)/metrics
        \(extra)
      </source>
      <source>
        @type feed
      </source>
      <match m>
        @type collect
      </match>
      """
    let lines = try await RunningEngine.with(text) { agg in
      try await soon("a page") { agg.collected.lines.contains { $0.contains("scrape_samples_scraped") } }
      return agg.collected.lines.map { $0.replacing("127.0.0.1:\(server.port)", with: "HOST") }
    }
    await server.stop()
    return lines
  }
  static func samples(_ lines: [String]) -> [String] { lines.filter { !$0.contains("scrape_") && !$0.contains("\"up\"") && $0 != "m " } }

  @Test func `samples become metric events with their kinds and labels`() async throws {
    let page = """
      # HELP http_requests_total Requests.
      # TYPE http_requests_total counter
      http_requests_total{method="post",code="200"} 1027 1395066363000
      http_requests_total { method = "get" , code = "4\\"0\\\\\\n0", } 3

      # TYPE t histogram
      t_bucket{le="+Inf"} 4\r
      t_sum +Inf
      t_count 4
      # TYPE s summary
      s{quantile="0.5"} NaN
      other 1e-3
      """
    let lines = try await Self.scrape(page, "<labels>\njob x\ncode own\n</labels>")
    let common = #""instance":"HOST","job":"x","code":"own""#
    #expect(
      Self.samples(lines).filter { !$0.contains("NaN") && !$0.contains("t_sum") && !$0.contains(#""name":"s""#) } == [
        #"m {"name":"http_requests_total","value":1027.0,"kind":"counter","labels":{"method":"post","exported_code":"200",\#(common)}}"#,
        #"m {"name":"http_requests_total","value":3.0,"kind":"counter","labels":{"method":"get","exported_code":"4\"0\\\n0",\#(common)}}"#,
        #"m {"name":"t_bucket","value":4.0,"kind":"histogram","labels":{"le":"+Inf",\#(common)}}"#,
        #"m {"name":"t_count","value":4.0,"kind":"histogram","labels":{\#(common)}}"#,
        #"m {"name":"other","value":0.001,"kind":"untyped","labels":{\#(common)}}"#,
      ])
    #expect(lines.contains { $0.contains(#""name":"up","value":1,"#) })
    #expect(lines.contains { $0.contains(#""name":"scrape_samples_scraped","value":7,"#) })
  }

  @Test func `series that vanish are told as ended`() async throws {
    let plain: HTTPFields = ["Content-Type": "text/plain"]
    let pages = ["a{x=\"1\"} 1\na{x=\"2\"} 2\nb 3\nold 4 1395066363000\n", "a{x=\"2\"} 2\n"].map { HTTPResponse(200, fields: plain, body: Array($0.utf8)) }
    let server = try await ScriptedServer(pages + [HTTPResponse(500)])
    let text = """
      <source>
        @type prometheus_scrape
        tag m
        urls http://127.0.0.1:\(server.port)/metrics
        # A page may take no longer than this, and each page counts here.
        interval 5
        stale_markers true
      </source>
      <source>
        @type feed
      </source>
      <match m>
        @type collect
      </match>
      """
    try await RunningEngine.with(text) { agg in
      func ended() -> [String] {
        var names: [String] = []
        for batch in agg.collected.batches {
          _ = batch.forEachMetric { _, metric in
            if metric.number.bitPattern == 0x7ff0_0000_0000_0002 { names.append(metric.nameText + (metric.labelTexts.first { $0.name == "x" }?.value ?? "")) }
          }
        }
        return names
      }
      try await soon("all have ended") { ended().count >= 3 }
      #expect(ended() == ["a1", "b", "a2"])
    }
    await server.stop()
  }

  @Test func `OpenMetrics has exemplars, seconds and created times`() async throws {
    let page = """
      # TYPE foo counter
      # UNIT foo seconds
      foo_total{a="b"} 17.0 1520879607.789 # {trace_id="x"} 0.5 1520879607.7
      foo_created{a="b"} 1520430000.123
      # TYPE i info
      i_info{v="1"} 1
      {"http.q","l.x"="y"} 5
      # EOF
      """
    let lines = Self.samples(
      try await Self.scrape(page, type: "application/openmetrics-text; version=1.0.0; charset=utf-8", "honor_labels true"))
    #expect(lines.map { String($0.prefix { $0 != "{" }) + $0.split(separator: ",\"labels\"")[0].dropFirst(2) }.count == 4)
    #expect(lines[0] == #"m {"name":"foo_total","value":17.0,"kind":"counter","labels":{"a":"b","instance":"HOST"}}"#)
    #expect(lines[1].contains(#""name":"foo_created","value":1520430000.123,"kind":"gauge""#))
    #expect(lines[2].contains(#""name":"i_info","value":1.0,"kind":"gauge""#))
    #expect(lines[3] == #"m {"name":"http.q","value":5.0,"kind":"untyped","labels":{"l.x":"y","instance":"HOST"}}"#)
  }

  @Test func `wrong lines are rejected alone, wrong pages whole`() async throws {
    let page = "a 1\nb{ 2\nc{x=1} 2\nd x\ne 1 2 3\n{} 4\nf{x=\"1\"}5\ng{x=\"1\" y=\"2\"} 1\n9x 1\nh 7\n"
    let lines = try await Self.scrape(page)
    #expect(
      Self.samples(lines).map {
        $0.contains(#""name":"a""#) ? "a" : $0.contains(#""name":"f""#) ? "f" : $0.contains(#""name":"h""#) ? "h" : $0
      } == ["a", "f", "h"])
    for lines in [
      try await Self.scrape("a 1\nb 2\n", "sample_limit 1"), try await Self.scrape(page, status: 500),
      try await Self.scrape(page, "body_size_limit 20"),
    ] {
      #expect(Self.samples(lines).isEmpty)
      #expect(lines.contains { $0.contains(#""name":"up","value":0,"#) })
    }
  }
}

@Suite struct PrometheusRemoteWriteTests {
  static func with(
    _ answers: [HTTPResponse], _ extra: String = "", _ body: (RunningEngine, ScriptedServer) async throws -> Void
  ) async throws {
    let server = try await ScriptedServer(answers)
    let text = """
      <source>
        @type feed
      </source>
      <match **>
        @type prometheus_remote_write
        @id rw
        endpoint http://127.0.0.1:\(server.port)/api/v1/write
        \(extra)
        <buffer>
          flush_mode immediate
          retry_wait 0.05
          retry_max_interval 0.05
        </buffer>
      </match>
      """
    do { try await RunningEngine.with(text) { try await body($0, server) } } catch {
      await server.stop()
      throw error
    }
    await server.stop()
  }
  static let metric = #"{"name":"a","value":1,"kind":"gauge","labels":{}}"#

  @Test func `the request is what the specification says`() async throws {
    try await Self.with([HTTPResponse(204)], "<labels>\nzone z\n</labels>") { agg, server in
      try await agg.feed.send(
        [#"{"name":"cpu.user","value":0.5,"kind":"gauge","labels":{"b":"2","a":"1"},"host":"h"}"#, #"{"no":"metric"}"#], tag: "m")
      try await soon("sent") { try agg.counters("rw")[.delivered] == 1 }
      let request = try #require(server.requests.first)
      #expect(request.method == "POST")
      #expect(request.fields["content-encoding"] == "snappy")
      #expect(request.fields["content-type"] == "application/x-protobuf")
      #expect(request.fields["x-prometheus-remote-write-version"] == "0.1.0")
      #expect(request.fields["user-agent"] == "agg")
      // One literal of 86 bytes: nothing in it repeats for four bytes.
      var message: [UInt8] = []
      for (name, value) in [("__name__", "cpu_user"), ("a", "1"), ("b", "2"), ("host", "h"), ("zone", "z")] {
        let label = [0x0a, UInt8(name.utf8.count)] + Array(name.utf8) + [0x12, UInt8(value.utf8.count)] + Array(value.utf8)
        message += [0x0a, UInt8(label.count)] + label
      }
      // 1700000000000 ms.
      let sample: [UInt8] = [0x09, 0, 0, 0, 0, 0, 0, 0xe0, 0x3f, 0x10, 0x80, 0xd0, 0x95, 0xff, 0xbc, 0x31]
      message += [0x12, UInt8(sample.count)] + sample
      message = [0x0a, UInt8(message.count)] + message
      #expect(try Snappy.decompress(Array(request.body.bytes)) == message)
      #expect(try agg.counters("rw").dropped["refused"] == 1)
    }
  }

  @Test func `5xx and 429 come again, other answers are final`() async throws {
    let answers = [HTTPResponse(503), HTTPResponse(429, fields: ["Retry-After": "0"]), HTTPResponse(500), HTTPResponse(200)]
    try await Self.with(answers) { agg, server in
      try await agg.feed.send([Self.metric], tag: "m")
      try await soon("delivered") { try agg.counters("rw")[.delivered] == 1 }
      #expect(server.requests.count == 4)
      #expect(Set(server.requests.map { Array($0.body.bytes) }).count == 1)
    }
    for status in [400, 401, 404, 413, 415, 301] {
      try await Self.with([HTTPResponse(status)]) { agg, server in
        try await agg.feed.send([Self.metric], tag: "m")
        try await soon("dropped") { try agg.counters("rw").dropped["refused"] == 1 }
        #expect(server.requests.count == 1)
      }
    }
  }

  @Test func `a chunk that needs several requests goes on with the one that failed`() async throws {
    try await Self.with([HTTPResponse(200), HTTPResponse(400), HTTPResponse(500), HTTPResponse(200)], "max_samples_per_send 2") {
      agg, server in
      try await agg.feed.send((0..<6).map { #"{"name":"a","value":\#($0),"labels":{"i":"\#($0)"}}"# }, tag: "m")
      try await soon("delivered") { try agg.counters("rw")[.delivered] == 4 }
      #expect(try agg.counters("rw").dropped["refused"] == 2)
      let bodies = server.requests.map { Array($0.body.bytes) }
      #expect(bodies.count == 4 && bodies[2] == bodies[3] && bodies[0] != bodies[1])
    }
  }

  @Test func `a receiver that does not know 2_0 gets 1_0`() async throws {
    for first in [HTTPResponse(415), HTTPResponse(204)] {
      try await Self.with([first, HTTPResponse(204)], "protocol_version 2.0") { agg, server in
        try await agg.feed.send([Self.metric], tag: "m")
        try await soon("delivered") { try agg.counters("rw")[.delivered] == 1 }
        #expect(server.requests.map { $0.fields["x-prometheus-remote-write-version"] } == ["2.0.0", "0.1.0"])
        #expect(server.requests[0].fields["content-type"] == "application/x-protobuf;proto=io.prometheus.write.v2.Request")
      }
    }
    try await Self.with([HTTPResponse(204, fields: ["X-Prometheus-Remote-Write-Samples-Written": "1"])], "protocol_version 2.0") {
      agg, server in
      try await agg.feed.send([Self.metric], tag: "m")
      try await soon("delivered") { try agg.counters("rw")[.delivered] == 1 }
      #expect(server.requests.count == 1)
      // symbols "", "__name__", "a"; one series: labels 1, 2; a sample; metadata type 2 (gauge).
      let message = try Snappy.decompress(Array(server.requests[0].body.bytes))
      #expect(message.starts(with: [0x22, 0, 0x22, 8] + Array("__name__".utf8) + [0x22, 1, 0x61, 0x2a]))
      #expect(Array(message.suffix(4)) == [0x2a, 2, 0x08, 2])
    }
  }

  @Test func `flush_thread_count is one`() async throws {
    let error = await #expect(throws: ConfigErrors.self) {
      try await RunningEngine.with(
        "<match **>\n@type prometheus_remote_write\nendpoint http://h/\n<buffer>\nflush_thread_count 2\n</buffer>\n</match>"
      ) { _ in }
    }
    #expect(error?.description.hasPrefix("test.conf:5: 'flush_thread_count' must be 1") ?? false)
  }

  @Test func `a long message is compressed and whole`() async throws {
    try await Self.with([HTTPResponse(200)], "max_samples_per_send 100000") { agg, server in
      let records = (0..<3000).map {
        #"{"name":"m\#($0 % 7)","value":\#($0),"labels":{"path":"/var/lib/some/path/\#($0)","noise":"\#(UUID())"}}"#
      }
      try await agg.feed.send(records, tag: "m")
      try await soon("delivered") { try agg.counters("rw")[.delivered] == 3000 }
      let sizes = try server.requests.map { (packed: $0.body.count, plain: try Snappy.decompress(Array($0.body.bytes)).count) }
      #expect(sizes.reduce(0) { $0 + $1.plain } > 250_000)
      #expect(sizes.reduce(0) { $0 + $1.packed } < sizes.reduce(0) { $0 + $1.plain } * 6 / 10)
      let all = try server.requests.flatMap { try Snappy.decompress(Array($0.body.bytes)) }
      for n in [0, 1234, 2999] {
        #expect(
          Data(all).range(of: Data("/var/lib/some/path/\(n)\u{12}".utf8)) != nil
            || Data(all).range(of: Data("/path/\(n)".utf8)) != nil)
      }
    }
  }
}

/// Reads snappy's block format, by its description: for tests only.
enum Snappy {
  struct Broken: Error {}
  static func decompress(_ input: [UInt8]) throws -> [UInt8] {
    var rest = input[...]
    func byte() throws -> Int {
      guard let byte = rest.popFirst() else { throw Broken() }
      return Int(byte)
    }
    func little(_ n: Int) throws -> Int {
      var value = 0
      for i in 0..<n { value |= try byte() << (8 * i) }
      return value
    }
    var length = 0
    var shift = 0
    while true {
      let next = try byte()
      length |= (next & 0x7f) << shift
      shift += 7
      if next < 0x80 { break }
    }
    var out: [UInt8] = []
    while !rest.isEmpty {
      let tag = try byte()
      let size: Int
      let offset: Int
      switch tag & 3 {
      case 0:
        var count = tag >> 2
        if count >= 60 { count = try little(count - 59) }
        guard rest.count >= count + 1 else { throw Broken() }
        out += rest.prefix(count + 1)
        rest = rest.dropFirst(count + 1)
        continue
      case 1: (size, offset) = (4 + ((tag >> 2) & 7), ((tag >> 5) << 8) | (try byte()))
      case 2: (size, offset) = (1 + (tag >> 2), try little(2))
      default: (size, offset) = (1 + (tag >> 2), try little(4))
      }
      guard offset > 0, offset <= out.count else { throw Broken() }
      for _ in 0..<size { out.append(out[out.count - offset]) }
    }
    guard out.count == length else { throw Broken() }
    return out
  }
}

@Suite struct PrometheusExporterTests {
  @Test func `the page shows what events said last, capped and expiring`() async throws {
    let port = Int(TestPort.free())
    let text = """
      <source>
        @type feed
      </source>
      <match **>
        @type prometheus_exporter
        @id exporter
        port \(port)
        max_series 6
        expire 2
        <buffer>
          flush_mode immediate
        </buffer>
      </match>
      """
    try await RunningEngine.with(text) { agg in
      func page() async throws -> String {
        String(decoding: try await PrometheusPagesTests.get(agg, "http://127.0.0.1:\(port)/metrics").body, as: UTF8.self)
      }
      try await agg.feed.send(
        [
          #"{"name":"cpu.user.percentage","value":5,"kind":"gauge","labels":{"b":"2","a":"1"},"host":"h"}"#,
          #"{"name":"cpu.user.percentage","value":7,"kind":"gauge","labels":{"a":"1","b":"2"},"host":"h"}"#,
          #"{"name":"req_total","value":1,"kind":"counter"}"#, #"{"x":1}"#,
          #"{"name":"t_bucket","value":3,"kind":"histogram","labels":{"le":"1.0"}}"#,
          #"{"name":"t_bucket","value":4,"kind":"histogram","labels":{"le":"+Inf"}}"#,
          #"{"name":"t_sum","value":9,"kind":"histogram"}"#, #"{"name":"t_count","value":4,"kind":"histogram"}"#,
          #"{"name":"seventh","value":1,"kind":"gauge"}"#,
        ], tag: "m")
      try await soon("delivered") { try agg.counters("exporter")[.buffered] == 0 }
      let first = try await page()
      #expect(first.contains("# TYPE cpu_user_percentage gauge\ncpu_user_percentage{a=\"1\",b=\"2\",host=\"h\"} 7\n"))
      #expect(first.contains("# TYPE t histogram\nt_bucket{le=\"1.0\"} 3\nt_bucket{le=\"+Inf\"} 4\nt_sum 9\nt_count 4\n"))
      #expect(!first.contains("seventh"))
      #expect(first.contains("agg_exporter_refused_events_total 1\n"))
      #expect(try agg.counters("exporter").dropped["refused"] == 2)
      if let check = try PrometheusPagesTests.promtool(Array(first.utf8)) { #expect(check.status == 0, "\(check.output)") }
      try await soon("expired") { try await !page().contains("req_total") }
      try await agg.feed.send([#"{"name":"seventh","value":1,"kind":"gauge"}"#], tag: "m")
      try await soon("room again") { try await page().contains("seventh 1\n") }
    }
  }
}
