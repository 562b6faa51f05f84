import AggCore
import AggEngine
import AggNet
import AggPlugins
import AggTesting
import Foundation
import Synchronization
import Testing

@Suite struct MackerelOutputTests {
  /// A server whose answers a test writes; what came is kept.
  final class Stub: Sendable {
    let requests = Mutex<[(what: String, body: String, fields: HTTPFields)]>([])
    let answer: @Sendable (_ what: String, _ body: String, _ number: Int) -> HTTPResponse
    init(_ answer: @escaping @Sendable (String, String, Int) -> HTTPResponse) { self.answer = answer }
    func take(_ request: HTTPServerRequest) -> HTTPResponse {
      let what = "\(request.method) \(request.target.replacingOccurrences(of: "/api/v0", with: ""))"
      let body = String(decoding: request.body.bytes, as: UTF8.self)
      let number = requests.withLock { all in
        all.append((what, body, request.fields))
        return all.count
      }
      return answer(what, body, number)
    }
    var all: [String] { requests.withLock { $0.map { "\($0.what) \($0.body)" } } }
    func bodies(_ what: String) -> [String] { requests.withLock { $0.filter { $0.what == what }.map(\.body) } }
  }
  static func ok(_ body: String = #"{"success":true}"#) -> HTTPResponse { HTTPResponse(200, fields: [:], body: Array(body.utf8)) }
  static func error(_ status: Int, _ fields: HTTPFields = [:]) -> HTTPResponse {
    HTTPResponse(status, fields: fields, body: Array(#"{"error":{"message":"no"}}"#.utf8))
  }

  func run(
    _ parameters: String, answer: @escaping @Sendable (String, String, Int) -> HTTPResponse = { _, _, _ in ok() },
    _ body: (RunningEngine, Stub) async throws -> Void
  ) async throws {
    let network = Network()
    let stub = Stub(answer)
    let server = try await HTTPServer.bind(.host("127.0.0.1", 0), on: network)
    guard case .host(_, let port) = server.endpoint else { return }
    let task = Task { await server.run { stub.take($0) } }
    let text = """
      <source>
        @type feed
      </source>
      <match **>
        @type mackerel
        @id out
        api_key key
        apibase http://127.0.0.1:\(port)/
        \(parameters)
        <buffer>
          flush_mode immediate
          retry_wait 0.01
          retry_type periodic
        </buffer>
      </match>
      """
    let result: Result<Void, any Error>
    do { result = .success(try await RunningEngine.with(text) { try await body($0, stub) }) } catch { result = .failure(error) }
    task.cancel()
    await task.value
    await network.shutdown()
    try result.get()
  }

  // MARK: Metric events

  @Test func `metric events go to their host or service, named as Mackerel names them`() async throws {
    try await run(
      "hostid h1",
      answer: { what, _, _ in
        what.hasPrefix("GET /hosts-by-custom-identifier/db%2F1") ? Self.ok(#"{"host":{"id":"h2"}}"#) : Self.ok()
      }
    ) { agg, stub in
      let records = [
        #"{"name":"loadavg5","value":0.5,"kind":"gauge","labels":{}}"#,
        #"{"name":"app:queue","value":3,"labels":{"q":"a/b","a":"x"}}"#,
        #"{"name":"r","value":18446744073709551615,"service":"shop"}"#, #"{"name":"custom.x","value":1,"host":"db/1"}"#,
      ]
      try await agg.feed.send(records, tag: "m")
      try await soon("delivered") { try agg.counters("out")[.delivered] == 4 }
      #expect(
        stub.bodies("POST /tsdb").sorted() == [
          #"[{"hostId":"h1","name":"loadavg5","time":1700000000,"value":0.5},{"hostId":"h1","name":"custom.app_queue.x.a_b","time":1700000000,"value":3}]"#,
          #"[{"hostId":"h2","name":"custom.x","time":1700000000,"value":1}]"#,
        ])
      #expect(stub.bodies("POST /services/shop/tsdb") == [#"[{"name":"r","time":1700000000,"value":18446744073709551615}]"#])
      #expect(stub.requests.withLock { $0.allSatisfy { $0.fields["x-api-key"] == "key" } })
    }
  }

  @Test func `what is no metric, or cannot be one, is refused alone`() async throws {
    try await run("hostid h1") { agg, stub in
      let records = [
        #"{"message":"text"}"#, #"{"name":"a","value":"1"}"#, #"{"name":"good","value":1}"#,
        #"{"name":"b","value":1,"service":"x"}"#,
      ]
      try await agg.feed.send(records, tag: "m")
      try await soon("one delivered") { try agg.counters("out")[.delivered] == 1 }
      #expect(stub.all == [#"POST /tsdb [{"hostId":"h1","name":"custom.good","time":1700000000,"value":1}]"#])
      #expect(try agg.counters("out").droppedTotal == 3)
    }
  }

  // MARK: Ordinary records, as fluent-plugin-mackerel

  @Test func `out_keys, names from field and tag, and zeros for what is missing`() async throws {
    try await run("hostid xyz\nmetrics_name ${[1]}.${out_key}.${[-1]}\nout_keys a,b,c") { agg, stub in
      try await agg.feed.send([#"{"a":1,"x":9}"#, #"{"a":"2.5abc","b":null}"#], tag: "mackerel.http")
      try await soon("delivered") { try agg.counters("out")[.delivered] == 2 }
      let prefix = #"{"hostId":"xyz","name":"custom.http."#
      #expect(
        stub.bodies("POST /tsdb") == [
          "["
            + [("a", "1.0"), ("a", "2.5"), ("b", "0.0"), ("c", "0.0")].map {
              #"\#(prefix)\#($0.0).http","time":1700000000,"value":\#($0.1)}"#
            }.joined(separator: ",") + "]"
        ])
    }
  }

  @Test func `a pattern, a service without prefix, flattened fields, and a value that is no number`() async throws {
    try await run("service shop\nremove_prefix\nout_key_pattern ^(m\\.)?\\dxx$\nflatten") { agg, stub in
      try await agg.feed.send([#"{"2xx":1,"m":{"5xx":2,"other":3}}"#, #"{"2xx":true,"m":{"4xx":7}}"#], tag: "t")
      try await soon("one delivered") { try agg.counters("out")[.delivered] == 1 }
      #expect(
        stub.bodies("POST /services/shop/tsdb") == [
          #"[{"name":"2xx","time":1700000000,"value":1.0},{"name":"m.5xx","time":1700000000,"value":2.0},{"name":"m.4xx","time":1700000000,"value":7.0}]"#
        ])
      #expect(try agg.counters("out").droppedTotal == 1)
    }
  }

  @Test func `the host comes from the tag or from a file that appears later`() async throws {
    try await run("hostid ${tag_parts[1]}\nout_keys a\nuse_zero_for_empty false") { agg, stub in
      try await agg.feed.send([#"{"a":1}"#], tag: "m.h9")
      try await soon("delivered") { try agg.counters("out")[.delivered] == 1 }
      #expect(stub.bodies("POST /tsdb") == [#"[{"hostId":"h9","name":"custom.a","time":1700000000,"value":1.0}]"#])
    }
    try await withFolder { folder in
      try await run("hostid_path \(folder)/id\nout_keys a") { agg, stub in
        try await agg.feed.send([#"{"a":1}"#], tag: "m")
        try await soon("it waits") { try agg.counters("out")[.retries] > 0 }
        #expect(stub.all.isEmpty)
        try "h7\n".write(toFile: "\(folder)/id", atomically: true, encoding: .utf8)
        try await soon("delivered") { try agg.counters("out")[.delivered] == 1 }
        #expect(stub.bodies("POST /tsdb") == [#"[{"hostId":"h7","name":"custom.a","time":1700000000,"value":1.0}]"#])
      }
    }
  }

  // MARK: Reports, graphs, metadata

  @Test func `reports, graph definitions and metadata go where the API has them`() async throws {
    try await run("hostid h1") { agg, stub in
      let records = [
        #"{"check":"c","status":"critical","message":"\#(String(repeating: "é", count: 1500))","notification_interval":30,"max_check_attempts":3}"#,
        #"{"graph_def":"custom.d","display_name":"D","unit":"integer","metrics":[{"name":"custom.d.x","display_name":"X","is_stacked":true}]}"#,
        #"{"metadata":"ns","value":{"a":[1,null]}}"#, #"{"check":"bad name","status":"OK"}"#,
      ]
      try await agg.feed.send(records, tag: "m")
      try await soon("delivered") { try agg.counters("out")[.delivered] == 3 }
      #expect(
        stub.bodies("POST /monitoring/checks/report") == [
          #"{"reports":[{"source":{"type":"host","hostId":"h1"},"name":"c","status":"CRITICAL","message":"\#(String(repeating: "é", count: 1024))","occurredAt":1700000000,"notificationInterval":30,"maxCheckAttempts":3}]}"#
        ])
      #expect(
        stub.bodies("POST /graph-defs/create") == [
          #"[{"name":"custom.d","displayName":"D","unit":"integer","metrics":[{"name":"custom.d.x","displayName":"X","isStacked":true}]}]"#
        ])
      #expect(stub.bodies("PUT /hosts/h1/metadata/ns") == [#"{"a":[1,null]}"#])
      #expect(try agg.counters("out").droppedTotal == 1)
    }
  }

  @Test func `one refused report among many is found, and the others arrive`() async throws {
    let answer: @Sendable (String, String, Int) -> HTTPResponse = { what, body, _ in
      body.contains("poison") ? Self.error(400) : Self.ok()
    }
    try await run("hostid h1", answer: answer) { agg, stub in
      let records = (0..<50).map { #"{"check":"c\#($0)","status":"OK","message":"\#($0 == 33 ? "poison" : "fine")"}"# }
      try await agg.feed.send(records, tag: "m")
      try await soon("49 delivered") { try agg.counters("out")[.delivered] == 49 }
      #expect(try agg.counters("out").droppedTotal == 1)
      let taken = stub.bodies("POST /monitoring/checks/report").filter { !$0.contains("poison") }.joined()
      for n in 0..<50 where n != 33 { #expect(taken.components(separatedBy: "\"c\(n)\"").count == 2) }
      #expect(stub.all.count < 16)
    }
  }

  @Test func `a report that makes the server fail is given up, and holds no other back`() async throws {
    let answer: @Sendable (String, String, Int) -> HTTPResponse = { what, body, _ in
      body.contains("poison") ? Self.error(500) : Self.ok()
    }
    try await run("hostid h1", answer: answer) { agg, stub in
      try await agg.feed.send(
        [#"{"check":"a","status":"OK"}"#, #"{"check":"b","status":"OK","message":"poison"}"#, #"{"check":"c","status":"OK"}"#],
        tag: "m")
      try await soon("two delivered") { try agg.counters("out")[.delivered] == 2 }
      #expect(try agg.counters("out").droppedTotal == 1)
      try await agg.feed.send([#"{"check":"d","status":"OK"}"#], tag: "m")
      try await soon("the next too") { try agg.counters("out")[.delivered] == 3 }
      #expect(stub.bodies("POST /monitoring/checks/report").filter { $0.contains("\"a\"") && !$0.contains("poison") }.count == 1)
    }
  }

  // MARK: Failures

  @Test(arguments: [(429, true), (503, true), (408, true), (400, false), (401, false), (403, false), (404, false), (413, false)])
  func `what is refused is given up, what fails is tried again`(status: Int, isRetried: Bool) async throws {
    let answer: @Sendable (String, String, Int) -> HTTPResponse = { _, _, number in
      isRetried && number > 2 ? Self.ok() : Self.error(status, ["Retry-After": "0"])
    }
    try await run("hostid h1", answer: answer) { agg, stub in
      try await agg.feed.send([#"{"name":"a","value":1}"#], tag: "m")
      if isRetried {
        try await soon("delivered") { try agg.counters("out")[.delivered] == 1 }
        #expect(stub.all.count == 3)
      } else {
        try await soon("given up") { try agg.counters("out").dropped == ["http_\(status)": 1] }
        #expect(stub.all.count == 1)
      }
    }
  }

  @Test func `a limit on one service holds no host back, and what was answered is not sent again`() async throws {
    let answer: @Sendable (String, String, Int) -> HTTPResponse = { what, _, number in
      what.contains("/services/") && number < 3 ? Self.error(429, ["Retry-After": "1"]) : Self.ok()
    }
    try await run("hostid h1", answer: answer) { agg, stub in
      let begun = ContinuousClock().now
      try await agg.feed.send([#"{"name":"s","value":1,"service":"shop"}"#, #"{"name":"h","value":1}"#], tag: "m")
      try await soon("delivered") { try agg.counters("out")[.delivered] == 2 }
      #expect(stub.bodies("POST /tsdb").count == 1)
      #expect(stub.bodies("POST /services/shop/tsdb").count == 2)
      #expect(ContinuousClock().now - begun >= .seconds(1))
    }
  }

  @Test func `an answer without JSON is none`() async throws {
    let answer: @Sendable (String, String, Int) -> HTTPResponse = { _, _, number in
      number == 1 ? HTTPResponse(200, text: "<html>portal</html>") : Self.ok()
    }
    try await run("hostid h1", answer: answer) { agg, stub in
      try await agg.feed.send([#"{"name":"a","value":1}"#], tag: "m")
      try await soon("delivered") { try agg.counters("out")[.delivered] == 1 }
      #expect(stub.all.count == 2)
    }
  }

  @Test func `a metric of an unknown host is refused, the others go`() async throws {
    let answer: @Sendable (String, String, Int) -> HTTPResponse = { what, _, _ in
      what.hasPrefix("GET") ? Self.error(404) : Self.ok()
    }
    try await run("hostid h1", answer: answer) { agg, stub in
      try await agg.feed.send([#"{"name":"a","value":1,"host":"gone"}"#, #"{"name":"b","value":1}"#], tag: "m")
      try await soon("one delivered") { try agg.counters("out")[.delivered] == 1 }
      #expect(try agg.counters("out").droppedTotal == 1)
    }
  }

  @Test func `a look-up that is refused refuses its metrics with that reason`() async throws {
    let answer: @Sendable (String, String, Int) -> HTTPResponse = { what, _, _ in
      what.hasPrefix("GET") ? Self.error(403) : Self.ok()
    }
    try await run("hostid h1", answer: answer) { agg, stub in
      try await agg.feed.send([#"{"name":"a","value":1,"host":"other"}"#], tag: "m")
      try await soon("given up") { try agg.counters("out").dropped == ["http_403": 1] }
    }
  }

  @Test func `the second of the minute is mackerel-agent's, and what is late does not wait for it`() {
    // The last byte of the id's SHA-1, by 60.
    #expect(["h1", "3Ab9cD", "22C9xyz"].map { PostPace.offset(of: $0) } == [11, 49, 55])
    #expect(PostPace.delay(offset: 49, now: 1_700_000_040, newest: 1_700_000_040) == 49)  // second 0 of a minute
    #expect(PostPace.delay(offset: 49, now: 1_700_000_040, newest: 1_699_999_980) == 0)
    #expect(PostPace.delay(offset: 10, now: 1_700_000_055, newest: 1_700_000_040) == 0)
  }

  @Test func `thousands of points are sent a thousand at a time`() async throws {
    try await run("hostid h1") { agg, stub in
      try await agg.feed.send((0..<2500).map { #"{"name":"m\#($0)","value":\#($0)}"# }, tag: "m")
      try await soon("delivered") { try agg.counters("out")[.delivered] == 2500 }
      #expect(stub.bodies("POST /tsdb").map { $0.components(separatedBy: "hostId").count - 1 } == [1000, 1000, 500])
    }
  }

  @Test func `mistakes are told at their line with what would be right`() throws {
    func problem(_ text: String) -> String {
      do {
        _ = try CatalogueTests.topology(
          "<source>\n@type dummy\ntag a\n</source>\n<match **>\n@type mackerel\napi_key k\n\(text)\n</match>", "m.conf")
        return ""
      } catch { return "\(error)" }
    }
    #expect(problem("").contains("m.conf:5: whose metrics are these?"))
    #expect(problem("hostid a\nservice shop").contains("not both"))
    #expect(problem("hostid a\nremove_prefix").contains("'remove_prefix' must be used with 'service'"))
    #expect(problem("hostid a\nmetrics_name x.${out_key}").contains("either 'out_keys' or 'out_key_pattern'"))
    #expect(problem("hostid a\napibase ftp://x").contains("'apibase' must be a URL"))
    #expect(problem("<host>\nroles web\n</host>").contains("'roles' are written service:role"))
    #expect(problem("<host>\non_stop poweroff\nauto_retire true\n</host>").contains("no effect with 'auto_retire'"))
    #expect(problem("service s p").contains("'service' must be of letters"))
    #expect(problem("hostid a\nout_keys a\norigin http://127.0.0.1:1/") == "")
  }
}
