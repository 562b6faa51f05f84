import AggCore
import AggNet
import AggPlugins
import AggTesting
import Foundation
import Testing

@Suite struct HTTPInputTests {
  /// Sends requests as they are over one connection, each after the answer before it; returns the answers.
  static func talk(_ config: String, events count: Int = 0, setUp: (InputBench) -> Void = { _ in }, _ requests: [[UInt8]]) async throws
    -> (answers: [String], bench: InputBench)
  {
    let bench = try InputBench()
    setUp(bench)
    var answers: [String] = []
    try await bench.running(HTTPInput.self, "port PORT\nbind 127.0.0.1\n" + config) {
      for request in requests {
        answers.append(
          try await withClient { network in
            let connection = try await network.connect(.host("127.0.0.1", Int(bench.port)))
            try await connection.write(request)
            let answer = try await connection.receiveAll()
            await connection.close()
            return answer
          })
      }
      _ = try await bench.events(count)
    }
    return (answers, bench)
  }
  static func post(_ path: String, _ body: String, type: String = "application/json", _ fields: String...) -> [UInt8] {
    post(path, Array(body.utf8), type: type, fields)
  }
  static func post(_ path: String, _ body: [UInt8], type: String, _ fields: [String] = []) -> [UInt8] {
    let head = ["POST \(path) HTTP/1.1", "Host: h", "Connection: close", "Content-Type: \(type)", "Content-Length: \(body.count)"] + fields
    return Array((head.joined(separator: "\r\n") + "\r\n\r\n").utf8) + body
  }
  static func status(_ answer: String) -> Int { Int(answer.dropFirst(9).prefix(3)) ?? 0 }

  @Test func `the body's type says how it is read`() async throws {
    let packed = StreamInputTests.packed([["m": 1], ["m": 2]])
    let multipart = "--xx\r\nContent-Disposition: form-data; name=\"json\"\r\n\r\n{\"p\":1}\r\n--xx--\r\n"
    let (answers, bench) = try await Self.talk(
      "", events: 11,
      [
        Self.post("/a/b", "{\"a\":\n 1}"), Self.post("/arr", "[{\"x\":1},\n{\"x\":2}]"), Self.post("/m", packed, type: "application/msgpack"),
        Self.post("/nd", "{\"n\":1}\r\n\r\n{\"n\":2}\n", type: "application/x-ndjson"),
        Self.post("/csp", "{\"c\":1}", type: "application/csp-report"),
        Self.post("/form", "json=%7B%22f%22%3A%22x+y%22%7D", type: "application/x-www-form-urlencoded"),
        Self.post("/mp", multipart, type: "multipart/form-data; boundary=xx"), Self.post("/q?ndjson=%7B%22q%22:1%7D", "", type: "text/plain"),
      ])
    #expect(answers.map(Self.status) == Array(repeating: 200, count: 8))
    #expect(
      bench.events == [
        "a.b {\"a\":1}", "arr {\"x\":1}", "arr {\"x\":2}", "m {\"m\":1}", "m {\"m\":2}", "nd {\"n\":1}", "nd {\"n\":2}", "csp {\"c\":1}",
        "form {\"f\":\"x y\"}", "mp {\"p\":1}", "q {\"q\":1}",
      ])
  }

  @Test func `what is no record is refused and nothing of the request is stored`() async throws {
    let (answers, bench) = try await Self.talk(
      "", [
        Self.post("/x", "[{\"a\":1},2]"), Self.post("/x", "{\"time\":\"noon\"}"), Self.post("/x", "{\"a\":1}\nrubbish", type: "application/x-ndjson"),
        Self.post("/x", "plain", type: "text/plain"), Self.post("/x", [0x81, 0xa1], type: "application/msgpack"),
        Self.post("/x", "json=%zz", type: "application/x-www-form-urlencoded"), Self.post("/x", "{}", "Content-Encoding: gzip"),
        Array("RUBBISH\r\n\r\n".utf8),
      ])
    #expect(answers.map(Self.status) == Array(repeating: 400, count: 8))
    #expect(bench.events == [])
    #expect(bench.counters.snapshot()[.rejected] == 8)
  }

  @Test func `broken JSON is answered with 200, as Fluentd does, counted and told`() async throws {
    let (answers, bench) = try await Self.talk("", [Self.post("/x", "{oops")])
    #expect(answers.map(Self.status) == [200])
    #expect(bench.counters.snapshot()[.rejected] == 1)
    #expect(bench.log.lines.contains { $0.contains("not JSON: {oops") })
  }

  @Test func `the time comes from the parameter, else from the record`() async throws {
    let (_, bench) = try await Self.talk(
      "", events: 4, [
        Self.post("/t?time=1700000000.25", "{\"time\":5}"), Self.post("/t", "{\"a\":1,\"time\":1600000000}"),
        Self.post("/t", "json={\"b\":1}&time=1500000000", type: "application/x-www-form-urlencoded"),
        Self.post("/t?time=abc", "{\"c\":1}"),
      ])
    var times: [EventTime] = []
    for batch in bench.sink.batches { batch.forEachEvent { time, _ in times.append(time) } }
    #expect(times[..<3] == [EventTime(seconds: 1_700_000_000, nanoseconds: 250_000_000), EventTime(seconds: 1_600_000_000), EventTime(seconds: 1_500_000_000)])
    #expect(times[3].seconds > 1_700_000_000)
    #expect(bench.events == ["t {\"time\":5}", "t {\"a\":1}", "t {\"b\":1}", "t {\"c\":1}"])
  }

  @Test func `the record's time may be in another field and a text`() async throws {
    let parse = "<parse>\ntime_key at\nkeep_time_key true\ntime_format %Y-%m-%d\nutc true\n</parse>"
    let (_, bench) = try await Self.talk(parse, events: 1, [Self.post("/t", "{\"at\":\"2020-01-02\"}")])
    bench.sink.batches[0].forEachEvent { time, _ in #expect(time.seconds == 1_577_923_200) }
    #expect(bench.events == ["t {\"at\":\"2020-01-02\"}"])
  }

  @Test func `fields of the request are added to each record`() async throws {
    let config = "add_http_headers true\nadd_remote_addr true\nadd_query_params true\nadd_tag_prefix pre"
    let request = "POST /a?k-1=v&k2=w HTTP/1.1\r\nX-One: 1\r\nx-one: 2\r\nX-Forwarded-For: 1.2.3.4, 5.6.7.8\r\nContent-Type: application/json\r\nContent-Length: 7\r\nConnection: close\r\n\r\n{\"a\":1}"
    let (_, bench) = try await Self.talk(config, events: 1, [Array(request.utf8)])
    #expect(
      bench.events == [
        "pre.a {\"a\":1,\"HTTP_X_ONE\":[\"1\",\"2\"],\"HTTP_X_FORWARDED_FOR\":\"1.2.3.4, 5.6.7.8\",\"HTTP_CONTENT_TYPE\":\"application/json\",\"HTTP_CONTENT_LENGTH\":\"7\",\"HTTP_CONNECTION\":\"close\",\"QUERY_K_1\":\"v\",\"QUERY_K2\":\"w\",\"REMOTE_ADDR\":\"1.2.3.4\"}"
      ])
  }

  @Test func `a browser's questions about origins`() async throws {
    let preflight = "OPTIONS /x HTTP/1.1\r\nOrigin: https://a.ok.example\r\nAccess-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: x-h\r\nConnection: close\r\n\r\n"
    let (answers, bench) = try await Self.talk(
      "cors_allow_origins [\"http://good.example\",\"https://*.ok.example\"]\ncors_allow_credentials true", events: 1,
      [
        Array(preflight.utf8), Self.post("/x", "{\"a\":1}", "Origin: http://good.example"),
        Self.post("/x", "{\"a\":2}", "Origin: http://good.example.evil"), Self.post("/x", "{\"a\":3}"),
      ])
    #expect(answers.map(Self.status) == [200, 200, 403, 403])
    #expect(answers[0].contains("Access-Control-Allow-Headers: x-h\r\n") && answers[0].contains("Access-Control-Allow-Methods: POST\r\n"))
    #expect(answers[1].contains("Access-Control-Allow-Origin: http://good.example\r\n") && answers[1].contains("Access-Control-Allow-Credentials: true\r\n"))
    #expect(bench.events == ["x {\"a\":1}"])
  }

  @Test func `a full buffer is a 500 and a daemon that stops a 503`() async throws {
    for (error, status) in [(EmitError.full("out"), 500), (.closed, 503)] {
      let (answers, bench) = try await Self.talk("", setUp: { $0.refusal.withLock { $0 = error } }, [Self.post("/x", "{\"a\":1}")])
      #expect(answers.map(Self.status) == [status])
      #expect(bench.counters.snapshot()[.rejected] == 1)
    }
  }

  @Test func `other answers`() async throws {
    let (image, _) = try await Self.talk("respond_with_empty_img true", [Self.post("/x", "{}")])
    #expect(image[0].contains("image/gif") && image[0].contains("GIF89a"))
    let (none, _) = try await Self.talk("use_204_response true", [Self.post("/x", "{}")])
    #expect(Self.status(none[0]) == 204)
    let (tooLarge, _) = try await Self.talk("body_size_limit 5", [Self.post("/x", "{\"a\":1}"), Array("GET / HTTP/1.0\r\n\r\n".utf8)])
    #expect(tooLarge[0].hasPrefix("HTTP/1.1 413 Request Entity Too Large\r\n"))
    #expect(Self.status(tooLarge[1]) == 200)
  }

  @Test func `another parser gets the whole body`() async throws {
    let (answers, bench) = try await Self.talk(
      "<parse>\n@type json\n</parse>", events: 2, [Self.post("/x", "[{\"a\":\n1},{\"b\":2}]", type: "text/plain"), Self.post("/x", "no", type: "text/plain")])
    #expect(answers.map(Self.status) == [200, 400])
    #expect(bench.events == ["x {\"a\":1}", "x {\"b\":2}"])
  }

  @Test(arguments: ["cors_allow_credentials true", "cors_allow_credentials true\ncors_allow_origins [\"*\"]", "add_tag_prefix \"\""])
  func `contradictions are errors when they are read`(config: String) throws {
    let bench = try InputBench()
    #expect(throws: (any Error).self) { _ = try bench.make(HTTPInput.self, config) }
  }
}
