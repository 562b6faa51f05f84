import AggCore
import AggNet
import AggTesting
import Foundation
import Testing

@Suite struct AggMetricsInputTests {
  /// The last round's value of every series, by `name{label=value,…}`.
  static func series(_ collected: Collected) -> [String: Double] {
    var found: [String: Double] = [:]
    for batch in collected.batches.suffix(1) where batch.tag == Tag("agg.metrics") {
      batch.forEachEvent { _, record in
        let value = Value(record)
        guard let name = value["name"]?.text, case .map(let labels)? = value["labels"] else { return }
        let text = labels.fields.map { "\($0.key.text ?? "")=\($0.value.text ?? "")" }.joined(separator: ",")
        switch value["value"] {
        case .int(let n)?: found["\(name){\(text)}"] = Double(n)
        case .double(let n)?: found["\(name){\(text)}"] = n
        default: break
        }
      }
    }
    return found
  }

  static let sources = """
    <source>
      @type feed
      @id in
    </source>
    <source>
      @type agg_metrics
      interval 0.1
    </source>
    <match agg.metrics>
      @type collect
    </match>
    """

  @Test func `the ledger and latencies come as metric events, once more at the stop`() async throws {
    let text = Self.sources + "\n" + """
      <match out>
        @type file
        @id files
        path FOLDER/out
        <buffer>
          @type memory
          flush_mode immediate
        </buffer>
      </match>
      """
    try await withFolder { folder in
      let collected = try await RunningEngine.with(text.replacing("FOLDER", with: folder)) { agg in
        try await soon("a round") { !agg.collected.batches.isEmpty }
        let mark = "agg_output_delivery_latency_seconds_count{plugin_id=files,type=file}"
        try await agg.feed.send([#"{"a":1}"#, #"{"a":2}"#, #"{"a":3}"#], tag: "out")
        try await soon("delivered") { Self.series(agg.collected)[mark] == 3 }
        let found = Self.series(agg.collected)
        #expect(found["agg_input_committed_events_total{plugin_id=in,type=feed}"] == 3)
        #expect(found["agg_output_delivered_events_total{plugin_id=files,type=file}"] == 3)
        #expect(found["agg_output_delivery_latency_seconds_bucket{plugin_id=files,type=file,le=+Inf}"] == 3)
        #expect(found["agg_output_write_duration_seconds_bucket{plugin_id=files,type=file,le=86400.0}"] == 1)
        #expect((found["agg_output_write_duration_seconds_sum{plugin_id=files,type=file}"] ?? 0) > 0)
        #expect((found["process_resident_memory_bytes{}"] ?? 0) > 1_000_000)
        // Buckets only grow from bound to bound.
        let buckets = LatencyHistogram.bounds.compactMap {
          found["agg_output_delivery_latency_seconds_bucket{plugin_id=files,type=file,le=\($0)}"]
        }
        #expect(buckets.count == LatencyHistogram.bounds.count && zip(buckets, buckets.dropFirst()).allSatisfy { $0 <= $1 })
        try await agg.feed.send([#"{"a":4}"#], tag: "out")
        return agg.collected
      }
      // Whatever round came before, the one at the stop has it.
      #expect(Self.series(collected)["agg_input_committed_events_total{plugin_id=in,type=feed}"] == 4)
      for batch in collected.batches {
        let rejected = batch.forEachMetric { _, _ in }
        #expect(rejected.isEmpty)
      }
    }
  }

  @Test func `with rates counters are told by the second, as gauges`() async throws {
    let text = Self.sources.replacing("interval 0.1", with: "interval 0.1\nrates true") + "\n<match out>\n@type null\n</match>"
    try await RunningEngine.with(text) { agg in
      let name = "agg_input_committed_events_total{plugin_id=in,type=feed}"
      try await soon("a round") { Self.series(agg.collected)[name] == 0 }
      try await agg.feed.send((0..<1000).map { #"{"n":\#($0)}"# }, tag: "out")
      func rates() -> [Double] {
        agg.collected.batches.flatMap { batch in
          var found: [Double] = []
          _ = batch.forEachMetric { _, metric in
            guard metric.nameText == "agg_input_committed_events_total", metric.labelTexts.contains(where: { $0.value == "in" }) else { return }
            #expect(metric.kind == .gauge)
            found.append(metric.number)
          }
          return found
        }
      }
      try await soon("the events") { rates().contains { $0 > 0 } }
      // Nothing before and nothing after.
      #expect(rates().filter { $0 > 0 }.count == 1 && rates().allSatisfy { $0 >= 0 })
      // What does not only grow is told as it is.
      #expect((Self.series(agg.collected)["process_resident_memory_bytes{}"] ?? 0) > 1_000_000)
    }
  }

  @Test func `a file's lag is told while its output has no room, those beyond max_files together`() async throws {
    let text = Self.sources.replacing("interval 0.1", with: "interval 0.1\nmax_files 1\ninclude /^agg_tail_/\nhost h\n<labels>\nzone z\n</labels>") + "\n" + """
      <source>
        @type tail
        @id logs
        path FOLDER/*.log
        pos_file FOLDER/pos
        tag out
        read_from_head true
        refresh_interval 1
        <parse>
          @type none
        </parse>
      </source>
      <match out>
        @type http
        @id web
        endpoint http://127.0.0.1:1/
        <buffer>
          @type memory
          total_limit_size 10
          chunk_limit_size 1m
          flush_mode immediate
          overflow_action throw_exception
          retry_wait 3600
        </buffer>
      </match>
      """
    try await withFolder { folder in
      let a = folder + "/a.log"
      try "first line\n".write(toFile: a, atomically: false, encoding: .utf8)
      _ = try await RunningEngine.with(text.replacing("FOLDER", with: folder)) { agg in
        func lag(_ kind: String, _ path: String) -> Double? { Self.series(agg.collected)["agg_tail_lag_\(kind){plugin_id=logs,path=\(path),zone=z}"] }
        try await soon("the first line is stored") { try agg.counters("web")[.buffered] == 1 }
        let handle = try #require(FileHandle(forWritingAtPath: a))
        try handle.seekToEnd()
        try handle.write(contentsOf: Data(String(repeating: "0123456789\n", count: 100).utf8))
        try await soon("it waits") { lag("bytes", a) == 1100 && (lag("seconds", a) ?? 0) > 0 }
        // The input waits and looks at no file: what comes then is seen all the same.
        try handle.write(contentsOf: Data("more\n".utf8))
        let before = lag("seconds", a) ?? 0
        try await soon("more waits") { lag("bytes", a) == 1105 && (lag("seconds", a) ?? 0) > before }
        #expect(Self.series(agg.collected)["agg_tail_position_bytes{plugin_id=logs,path=\(a),zone=z}"] == 11)
        #expect(Self.series(agg.collected)["agg_tail_files{plugin_id=logs,zone=z}"] == 1)
        #expect(Self.series(agg.collected).keys.allSatisfy { $0.hasPrefix("agg_tail_") })
        let host = agg.collected.batches[0].jsonRecords[0]
        #expect(host.contains(#""host":"h""#), "\(host)")
      }
    }
  }

  @Test func `the page tells files up to its limit and promtool takes it`() async throws {
    let (page, files) = (try await PrometheusPagesTests.freePort(), 7)
    let text = """
      <source>
        @type prometheus
        port \(page)
        max_files 5
      </source>
      <source>
        @type tail
        @id logs
        path FOLDER/*.log
        tag out
        read_from_head true
        <parse>
          @type none
        </parse>
      </source>
      <match out>
        @type file
        @id files
        path FOLDER/not_followed/out
        <buffer>
          @type memory
          flush_mode immediate
        </buffer>
      </match>
      """
    try await withFolder { folder in
      // Unfinished lines are not read: all of these have a lag.
      for n in 0..<files { try String(repeating: "x", count: n + 1).write(toFile: "\(folder)/\(n).log", atomically: false, encoding: .utf8) }
      try "line\n".write(toFile: "\(folder)/whole.log", atomically: false, encoding: .utf8)
      try await RunningEngine.with(text.replacing("FOLDER", with: folder)) { agg in
        var body: [UInt8] = []
        try await soon("all files") {
          body = try await PrometheusPagesTests.get(agg, "http://127.0.0.1:\(page)/metrics").body
          let page = String(decoding: body, as: UTF8.self)
          return page.contains("agg_tail_files{plugin_id=\"logs\"} 8\n") && page.contains("agg_output_delivery_latency_seconds_count{plugin_id=\"files\",type=\"file\"} 1\n")
        }
        let all = String(decoding: body, as: UTF8.self).split(separator: "\n")
        let lines = all.filter { $0.hasPrefix("agg_tail_lag_bytes{") }
        #expect(lines.count == 6, "\(all.filter { $0.hasPrefix("agg_tail") || $0.hasPrefix("agg_output_deliv") })")
        let others = lines.filter { $0.contains("(others)") }
        // 1 + … + 7 bytes wait; each is in one row.
        #expect(others.count == 1 && lines.compactMap { $0.split(separator: " ").last.flatMap { Int($0) } }.reduce(0, +) == 28, "\(lines)")
        if let check = try PrometheusPagesTests.promtool(body) { #expect(check.status == 0 && check.output.isEmpty, "\(check.output)") }
      }
    }
  }
}
