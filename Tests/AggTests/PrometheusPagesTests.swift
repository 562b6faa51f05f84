import AggCore
import AggNet
import AggTesting
import Foundation
import Testing

@Suite struct PrometheusPagesTests {
  static func freePort() async throws -> Int { Int(TestPort.free()) }

  /// What `promtool check metrics` says of a page; nil where it is not installed.
  static func promtool(_ page: [UInt8]) throws -> (status: Int32, output: String)? {
    guard
      let tool = ["/usr/bin/promtool", "/usr/local/bin/promtool"].first(where: {
        FileManager.default.isExecutableFile(atPath: $0)
      })
    else { return nil }
    let process = Process()
    process.executableURL = URL(filePath: tool)
    process.arguments = ["check", "metrics"]
    let (input, output) = (Pipe(), Pipe())
    process.standardInput = input
    process.standardOutput = output
    process.standardError = output
    try process.run()
    input.fileHandleForWriting.write(Data(page))
    try input.fileHandleForWriting.close()
    let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    process.waitUntilExit()
    return (process.terminationStatus, text)
  }

  static func get(_ agg: RunningEngine, _ url: String, _ fields: HTTPFields = HTTPFields(), tls: TLSClientConfiguration? = nil)
    async throws -> HTTPReply
  {
    var options = HTTPClientOptions()
    options.tls = tls
    let client = HTTPClient(options, on: agg.network)
    defer { Task { await client.close() } }
    return try await client.send(HTTPRequest("GET", url, fields: fields))
  }

  static func config(_ port: Int, _ extra: String = "", _ more: String = "") -> String {
    """
    <source>
      @type prometheus
      port \(port)
      \(extra)
    </source>
    <source>
      @type feed
      @id in
    </source>
    <filter app.**>
      @type prometheus
      <metric>
        name app_requests_total
        type counter
        desc Requests \\ served
        <labels>
          tag ${tag}
        </labels>
      </metric>
      <metric>
        name app_seconds
        type histogram
        desc Seconds
        key s
      </metric>
    </filter>
    \(more)
    <match app.**>
      @type http
      @id web
      endpoint http://127.0.0.1:1/
      <buffer>
        flush_mode immediate
        retry_wait 3600
        total_limit_size 4k
        chunk_limit_size 4k
        overflow_action throw_exception
      </buffer>
    </match>
    <match **>
      @type prometheus
      <metric>
        name other_total
        type counter
        desc Others
      </metric>
    </match>
    """
  }

  @Test func `the page has what filters and outputs counted and agg's own figures, and promtool passes it`() async throws {
    let port = try await Self.freePort()
    try await RunningEngine.with(Self.config(port)) { agg in
      try await agg.feed.send([#"{"s":0.3}"#, #"{"s":7}"#], tag: "app.a")
      try await agg.feed.send(["{}"], tag: "x")
      let reply = try await Self.get(agg, "http://127.0.0.1:\(port)/metrics")
      #expect(reply.status == 200 && reply.fields["content-type"]?.hasPrefix("text/plain; version=0.0.4") ?? false)
      let text = String(decoding: reply.body, as: UTF8.self)
      #expect(
        text.contains(
          "# HELP app_requests_total Requests \\\\ served\n# TYPE app_requests_total counter\napp_requests_total{tag=\"app.a\"} 2\n"
        ))
      #expect(text.contains("app_seconds_bucket{le=\"0.5\"} 1\n") && text.contains("app_seconds_sum 7.3\n"))
      #expect(text.contains("other_total 1\n"))
      #expect(text.contains("agg_input_committed_events_total{plugin_id=\"in\",type=\"feed\"} 3\n"))
      if let check = try Self.promtool(reply.body) { #expect(check.status == 0, "\(check.output)") }
      let aggregated = try await Self.get(agg, "http://127.0.0.1:\(port)/aggregated_metrics")
      #expect(aggregated.status == 200)
      #expect(try await Self.get(agg, "http://127.0.0.1:\(port)/other").status == 404)
      let open = try await Self.get(
        agg, "http://127.0.0.1:\(port)/metrics", ["Accept": "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"])
      #expect(open.fields["content-type"]?.hasPrefix("application/openmetrics-text; version=1.0.0") ?? false)
      let openText = String(decoding: open.body, as: UTF8.self)
      #expect(openText.contains("# TYPE app_requests counter\napp_requests_total{") && openText.hasSuffix("# EOF\n"))
    }
  }

  @Test func `a batch that a full buffer refuses and that comes again counts once`() async throws {
    let port = try await Self.freePort()
    try await RunningEngine.with(Self.config(port)) { agg in
      let big = [#"{"pad":"\#(String(repeating: "x", count: 3000))"}"#]
      // A buffer takes what begins below its limit.
      for _ in 0..<2 { try await agg.feed.send(big, tag: "app.a") }
      for _ in 0..<3 { await #expect(throws: (any Error).self) { try await agg.feed.send(big, tag: "app.a") } }
      #expect(agg.metrics.page().contains("app_requests_total{tag=\"app.a\"} 2\n"))
    }
  }

  @Test func `gzip goes to those who take it`() async throws {
    let port = try await Self.freePort()
    try await RunningEngine.with(Self.config(port, "content_encoding gzip\nagg_metrics false")) { agg in
      try await agg.feed.send(["{}"], tag: "x")
      let reply = try await Self.get(agg, "http://127.0.0.1:\(port)/metrics", ["Accept-Encoding": "gzip"])
      #expect(reply.fields["content-encoding"] == "gzip")
      var out = ByteWriter()
      try reply.body.withUnsafeBytes { try Gzip.decompress($0, into: &out, limit: DecompressionLimit(bytes: 1 << 20)) }
      let plain = try await Self.get(agg, "http://127.0.0.1:\(port)/metrics")
      #expect(plain.fields["content-encoding"] == nil)
      #expect(out.array == plain.body)
      #expect(!String(decoding: plain.body, as: UTF8.self).contains("agg_"))
    }
  }

  @Test func `Fluentd's names of outputs, buffers and files are there`() async throws {
    try await withFolder { folder in
      let port = try await Self.freePort()
      try "one\ntwo\n".write(toFile: folder + "/a.log", atomically: true, encoding: .utf8)
      let sources = """
        <source>
          @type prometheus_monitor
          <labels>
            host ${hostname}
          </labels>
        </source>
        <source>
          @type prometheus_output_monitor
        </source>
        <source>
          @type prometheus_tail_monitor
        </source>
        <source>
          @type tail
          @id logs
          path \(folder)/a.log
          pos_file \(folder)/pos
          read_from_head true
          tag app.tail
          <parse>
            @type none
          </parse>
        </source>
        """
      try await RunningEngine.with(Self.config(port, "", sources)) { agg in
        try await soon("failing") { try agg.counters("web")[.retries] == 1 }
        var text = ""
        try await soon("the position") {
          text = String(decoding: try await Self.get(agg, "http://127.0.0.1:\(port)/metrics").body, as: UTF8.self)
          return text.contains("fluentd_tail_file_position{plugin_id=\"logs\",type=\"tail\",path=\"\(folder)/a.log\"} 8\n")
        }
        let inode = try #require(FileManager.default.attributesOfItem(atPath: folder + "/a.log")[.systemFileNumber] as? Int)
        #expect(text.contains("fluentd_tail_file_inode{plugin_id=\"logs\",type=\"tail\",path=\"\(folder)/a.log\"} \(inode)\n"))
        #expect(text.contains("fluentd_tail_file_opened{plugin_id=\"logs\",type=\"tail\",path=\"\(folder)/a.log\"} 1\n"))
        #expect(text.contains("agg_tail_lag_bytes{plugin_id=\"logs\",path=\"\(folder)/a.log\"} 0\n"))
        #expect(text.contains("fluentd_output_status_retry_count{plugin_id=\"web\",type=\"http\"} 1\n"))
        #expect(text.contains("fluentd_output_status_emit_records{plugin_id=\"web\",type=\"http\"} 2\n"))
        #expect(text.contains("fluentd_output_status_buffer_queue_length{plugin_id=\"web\",type=\"http\"} 1\n"))
        #expect(
          text.contains(
            "fluentd_status_retry_count{host=\"test-host\",plugin_id=\"web\",plugin_category=\"output\",type=\"http\"} 1\n"))
        if let check = try Self.promtool(Array(text.utf8)) {
          // Fluentd's own names break two of the rules for names; nothing else may.
          let remarks = check.output.split(separator: "\n").filter { !$0.hasPrefix("fluentd_") }
          #expect(remarks.isEmpty, "\(check.output)")
          #expect(check.output.split(separator: "\n").allSatisfy { $0.contains("suffix") }, "\(check.output)")
        }
      }
    }
  }

  @Test func `counters and histograms become events every interval`() async throws {
    let text = """
      <source>
        @type feed
        @id in
      </source>
      <filter app>
        @type metrics
        to events
        tag m
        interval 0.05
        <metric>
          name seen_total
          type counter
          desc Seen
        </metric>
        <metric>
          name s
          type histogram
          desc Seconds
          key s
          buckets 1
        </metric>
      </filter>
      <match m>
        @type collect
      </match>
      <match app>
        @type null
      </match>
      """
    try await RunningEngine.with(text) { agg in
      try await agg.feed.send([#"{"s":0.5}"#, #"{"s":2}"#], tag: "app")
      try await soon("a round") { agg.collected.lines.count >= 10 }
      #expect(
        agg.collected.lines.prefix(5) == [
          #"m {"name":"seen_total","value":2.0,"kind":"counter","labels":{}}"#,
          #"m {"name":"s_bucket","value":1,"kind":"histogram","labels":{"le":"1.0"}}"#,
          #"m {"name":"s_bucket","value":2,"kind":"histogram","labels":{"le":"+Inf"}}"#,
          #"m {"name":"s_sum","value":2.5,"kind":"histogram","labels":{}}"#,
          #"m {"name":"s_count","value":2,"kind":"histogram","labels":{}}"#,
        ])
    }
  }

  @Test func `what was counted since the last interval is emitted at the stop`() async throws {
    let text = """
      <source>
        @type feed
        @id in
      </source>
      <filter app>
        @type metrics
        to events
        tag m
        interval 1h
        <metric>
          name seen_total
          type counter
          desc Seen
        </metric>
      </filter>
      <filter app>
        @type flowcounter_simple
        unit hour
      </filter>
      <match m>
        @type collect
      </match>
      <match app>
        @type null
      </match>
      """
    let (collected, log) = try await RunningEngine.with(text) { agg in
      try await agg.feed.send([#"{"s":1}"#, #"{"s":2}"#, #"{"s":3}"#], tag: "app")
      #expect(agg.collected.lines.isEmpty)
      return (agg.collected, agg.log)
    }
    #expect(collected.lines == [#"m {"name":"seen_total","value":3.0,"kind":"counter","labels":{}}"#])
    #expect(log.lines.contains { $0.contains("plugin:filter_flowcounter_simple\tcount:3\t") })
  }
}
