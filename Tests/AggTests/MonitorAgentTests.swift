import AggCore
import AggEngine
import AggNet
import AggPlugins
import AggTesting
import Foundation
import Testing

@Suite struct MonitorAgentTests {
  func run(_ rest: String, monitor: String = "", _ body: (RunningEngine, Int) async throws -> Void) async throws {
    let port = Int(TestPort.free())
    let text = """
      <source>
        @type monitor_agent
        @id mon
        port \(port)
        \(monitor)
      </source>
      <source>
        @type feed
        @id in
      </source>
      \(rest)
      """
    try await RunningEngine.with(text) { try await body($0, port) }
  }

  func get(_ agg: RunningEngine, _ port: Int, _ path: String, method: String = "GET") async throws -> (status: Int, text: String, type: String) {
    let client = HTTPClient(on: agg.network)
    let reply = try await client.send(HTTPRequest(method, "http://127.0.0.1:\(port)\(path)"))
    await client.close()
    return (reply.status, String(decoding: reply.body, as: UTF8.self), reply.fields["content-type"] ?? "")
  }
  func json(_ agg: RunningEngine, _ port: Int, _ path: String) async throws -> [String: Any] {
    try #require(JSONSerialization.jsonObject(with: Data(try await get(agg, port, path).text.utf8)) as? [String: Any])
  }
  func plugins(_ agg: RunningEngine, _ port: Int, _ query: String = "") async throws -> [[String: Any]] {
    try #require(try await json(agg, port, "/api/plugins.json" + query)["plugins"] as? [[String: Any]])
  }

  static let outputs = """
    <filter a.**>
      @type grep
      @id keep
      <regexp>
        key k
        pattern ^yes$
      </regexp>
    </filter>
    <match a.**>
      @type http
      @id web
      endpoint http://me:pass@127.0.0.1:1/
      headers {"Authorization":"Bearer s3cret"}
      tls_private_key_passphrase s3cret
      <buffer tag,time>
        timekey 3600
        flush_mode immediate
        retry_wait 3600
      </buffer>
    </match>
    <match c>
      @type copy
      @id both
      <store>
        @type null
        @id none
      </store>
    </match>
    """

  @Test func `plugins are shown as Fluentd shows them, without secrets`() async throws {
    try await run(Self.outputs) { agg, port in
      try await agg.feed.send([#"{"k":"yes"}"#, #"{"k":"no"}"#], tag: "a.b")
      try await agg.feed.send([#"{"k":"yes"}"#], tag: "c")
      try await soon("failing") { try agg.counters("web")[.retries] == 1 }
      let all = try await plugins(agg, port)
      #expect(all.map { $0["plugin_id"] as? String } == ["mon", "in", "web", "both", "none", "keep"])
      let web = all[2]
      #expect(web["emit_records"] as? Int == 1)
      #expect(web["emit_count"] as? Int == 1)
      #expect(web["write_count"] as? Int == 1)
      #expect(web["rollback_count"] as? Int == 1)
      #expect(web["retry_count"] as? Int == 1)
      #expect(web["buffer_queue_length"] as? Int == 1)
      #expect(web["buffer_stage_length"] as? Int == 0)
      #expect(web["buffer_timekeys"] as? [Int] == [1_699_999_200])
      #expect(web["buffer_oldest_timekey"] as? Int == 1_699_999_200)
      #expect(web["buffer_available_buffer_space_ratios"] as? Double == 100)
      #expect((web["buffer_total_queued_size"] as? Int ?? 0) > 0)
      #expect((web["retry"] as? [String: Any])?["steps"] as? Int == 1)
      let config = try #require(web["config"] as? [String: String])
      #expect(config["endpoint"] == "http://xxxxxx@127.0.0.1:1/")
      #expect(config["headers"] == "xxxxxx")
      #expect(config["tls_private_key_passphrase"] == "xxxxxx")
      #expect(all[3]["output_plugin"] as? Bool == false)
      #expect(all[3]["retry"] == nil)
      #expect(all[1]["retry_count"] is NSNull)
      #expect(all[1]["emit_records"] as? Int == 3)
      #expect(all[5]["emit_records"] as? Int == 1)
      for path in ["/api/plugins", "/api/plugins.json", "/metrics", "/ledger.json", "/healthz", "/api/config"] {
        let page = try await get(agg, port, path).text
        #expect(!page.contains("s3cret") && !page.contains("pass@"), "\(path)")
      }
    }
  }

  @Test func `a query chooses plugins`() async throws {
    try await run(Self.outputs) { agg, port in
      #expect(try await plugins(agg, port, "?@id=web").count == 1)
      #expect(try await plugins(agg, port, "?%40id=nobody").isEmpty)
      #expect(try await plugins(agg, port, "?@type=null").map { $0["plugin_id"] as? String } == ["none"])
      #expect(try await plugins(agg, port, "?tag=a.x").map { $0["plugin_id"] as? String } == ["web"])
      #expect(try await plugins(agg, port, "?tag=zzz").isEmpty)
      let lines = try await get(agg, port, "/api/plugins?@id=none")
      #expect(lines.type == "text/plain")
      #expect(lines.text.hasPrefix("plugin_id:none\tplugin_category:output\ttype:null\toutput_plugin:true\tretry_count:0\t"))
    }
  }

  /// Recorded from Fluentd 1.19.3 with include_config and include_retry, but for the counts that are shown when they are not 0.
  @Test func `the fields are Fluentd's, in its order`() async throws {
    let head = "plugin_id plugin_category type config output_plugin"
    let counts = "emit_records emit_size emit_count write_count rollback_count slow_flush_count flush_time_count"
    let expected = [
      "web": "\(head) buffer_queue_length buffer_timekeys buffer_total_queued_size retry_count \(counts) buffer_stage_length buffer_stage_byte_size buffer_queue_byte_size buffer_available_buffer_space_ratios buffer_oldest_timekey buffer_newest_timekey retry",
      "none": "\(head) retry_count \(counts) retry", "both": "\(head) retry_count", "keep": "\(head) retry_count emit_records emit_size",
      "mon": "\(head) retry_count emit_records emit_size",
    ]
    try await run(Self.outputs) { agg, port in
      try await agg.feed.send([#"{"k":"yes"}"#], tag: "a.b")
      try await soon("buffered") { try agg.counters("web")[.buffered] == 1 }
      var plugins: [ConfigJSON] = []
      if case .array(let items)? = try ConfigJSON(parsing: try await get(agg, port, "/api/plugins.json").text)["plugins"] { plugins = items }
      for plugin in plugins {
        guard case .object(let pairs) = plugin, let names = expected[plugin["plugin_id"]?.text ?? ""] else { continue }
        #expect(pairs.map(\.key).joined(separator: " ") == names)
      }
      #expect(plugins.filter { expected[$0["plugin_id"]?.text ?? ""] != nil }.count == expected.count)
      // copy is no output in this sense, as there.
      #expect(try await self.plugins(agg, port, "?tag=c").isEmpty)
      var facts: [ConfigJSON.Pair] = []
      if case .object(let pairs) = try ConfigJSON(parsing: try await get(agg, port, "/api/config.json").text) { facts = pairs }
      #expect(facts.map(\.key) == ["pid", "ppid", "version", "config_path", "pid_file", "plugin_dirs", "log_path", "root_dir"])
    }
  }

  @Test func `what is not there is 404, and only GET is`() async throws {
    try await run(Self.outputs, monitor: "include_config false\ninclude_retry false") { agg, port in
      let reply = try await get(agg, port, "/api/nothing")
      #expect(reply.status == 404 && reply.text == #"{"message":"Not found"}"#)
      #expect(try await get(agg, port, "/api/plugins.json", method: "POST").status == 404)
      let web = try await plugins(agg, port, "?@id=web")[0]
      #expect(web["config"] == nil && web["retry"] == nil)
      #expect(try await json(agg, port, "/api/config.json")["pid"] as? Int == Int(getpid()))
    }
  }

  @Test func `the ledger balances and tells why events were dropped`() async throws {
    try await run(Self.outputs) { agg, port in
      try await agg.feed.send([#"{"k":"yes"}"#, #"{"k":"no"}"#, #"{"k":"no"}"#], tag: "a.b")
      try await agg.feed.send([#"{"k":"yes"}"#], tag: "nobody.takes.it")
      try await soon("failing") { try agg.counters("web")[.retries] == 1 }
      let page = try await json(agg, port, "/ledger.json")
      #expect(page["balanced"] as? Bool == true)
      let totals = try #require(page["totals"] as? [String: [String: Any]])
      #expect(totals["inputs"]?["committed"] as? Int == 4)
      #expect(totals["outputs"]?["offered"] as? Int == 2)
      #expect(totals["outputs"]?["buffered"] as? Int == 1)
      #expect((totals["outputs"]?["dropped"] as? [String: Int])?["no_match"] == 1)
      let rows = try #require(page["plugins"] as? [[String: Any]])
      let filter = try #require(rows.first { $0["id"] as? String == "keep" })
      #expect(filter["in"] as? Int == 3 && filter["out"] as? Int == 1)
      #expect(rows.allSatisfy { $0["unaccounted"] as? Int == 0 })
    }
  }

  @Test func `metrics follow the rules of their format`() async throws {
    try await run(Self.outputs) { agg, port in
      try await agg.feed.send([#"{"k":"yes"}"#, #"{"k":"no"}"#], tag: "a.b")
      try await soon("failing") { try agg.counters("web")[.retries] == 1 }
      let page = try await get(agg, port, "/metrics")
      #expect(page.type.hasPrefix("text/plain; version=0.0.4"))
      var types: [String: String] = [:]
      var helped: Set<String> = []
      var samples: Set<String> = []
      var finished: Set<String> = []
      var current = ""
      for line in page.text.split(separator: "\n").map(String.init) {
        let words = line.split(separator: " ")
        if line.hasPrefix("# HELP ") {
          #expect(words.count > 3 && helped.insert(String(words[2])).inserted)
        } else if line.hasPrefix("# TYPE ") {
          finished.insert(current)
          current = String(words[2])
          #expect(!finished.contains(current) && helped.contains(current))
          types[current] = String(words[3])
        } else {
          let name = String(line.prefix { $0 != "{" && $0 != " " })
          let parts = types[current] == "histogram" ? ["_bucket", "_sum", "_count"] : [""]
          #expect(parts.contains { name == current + $0 }, "samples stand under their family: \(line)")
          #expect(Double(words.last ?? "") != nil)
          #expect(samples.insert(String(line[..<(line.lastIndex(of: " ") ?? line.endIndex)])).inserted, "twice: \(line)")
        }
      }
      for (name, type) in types { #expect((type == "counter") == name.hasSuffix("_total"), "\(name) is a \(type)") }
      #expect(samples.contains(#"agg_dropped_events_total{kind="filter",plugin_id="keep",type="grep",reason="grep"}"#))
      #expect(page.text.contains("agg_output_buffered_events{plugin_id=\"web\",type=\"http\"} 1\n"))
      #expect(page.text.contains("agg_buffer_queued_chunks{plugin_id=\"web\",type=\"http\"} 1\n"))
      #expect(types["process_resident_memory_bytes"] == "gauge")
    }
  }

  @Test func `a full buffer is unhealthy`() async throws {
    let text = """
      <match **>
        @type http
        @id web
        endpoint http://127.0.0.1:1/
        <buffer>
          total_limit_size 100
          chunk_limit_size 100
          flush_mode immediate
          retry_wait 3600
        </buffer>
      </match>
      """
    try await run(text) { agg, port in
      let before = try await get(agg, port, "/healthz")
      #expect(before.status == 200 && before.text == #"{"status":"ok","reasons":[]}"#)
      try await agg.feed.send((0..<10).map { #"{"number":\#($0)}"# }, tag: "t")
      let after = try await get(agg, port, "/healthz")
      #expect(after.status == 503 && after.text.contains("web: buffer full"))
    }
  }

  @Test func `figures come as events where a tag is given`() async throws {
    try await run("<match **>\n@type collect\n@id sink\n</match>", monitor: "tag figures\nemit_interval 0.05") { agg, _ in
      try await soon("two rounds") { agg.collected.batches.count >= 2 }
      let batch = agg.collected.batches[1]
      #expect(batch.tag == Tag("figures") && batch.count == 3)
      #expect(batch.jsonRecords[2].hasPrefix(#"{"plugin_id":"sink","plugin_category":"output","type":"collect","output_plugin":true"#))
    }
  }
}
