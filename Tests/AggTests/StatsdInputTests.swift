import AggCore
import AggNet
import AggPlugins
import AggTesting
import Foundation
import Testing

@Suite struct StatsdInputTests {
  /// `name kind value labels`, of all events so far.
  static func figures(_ agg: RunningEngine) -> [String] {
    agg.collected.batches.flatMap { MetricLines.of($0) }
  }
  static func with(_ config: String, _ body: (RunningEngine) async throws -> Void) async throws {
    let text = """
      <source>
        @type statsd
        @id statsd
        tag m
        interval 0.1
        \(config)
      </source>
      <source>
        @type feed
      </source>
      <match m>
        @type collect
      </match>
      """
    try await RunningEngine.with(text, body)
  }

  @Test func `lines are summed up by series`() {
    var table = StatsdTable(limit: 100, expiry: 1_000_000_000, common: [("zone", "z")])
    func add(_ text: String) -> StatsdTable.Outcome {
      Array(text.utf8).withUnsafeBytes { table.add(lines: $0, now: MonotonicTime(nanoseconds: 1)) }
    }
    func flush() -> [String] {
      MetricLines.of(table.flush(Tag("m"), at: EventTime(seconds: 1), now: MonotonicTime(nanoseconds: 2), percentiles: [50, 95]))
    }
    #expect(add("c:1|c\nc:2|c|@0.1\r\ng:5|g\ng:+2|g\ng:-3|g\nn:-3|g\n").rejected == 0)
    #expect(add("t:3:1|ms\nt:2|h|@0.5\nu:a|s\nu:b:a|s\nc:1|c|#b:2,a:1,zone:own\nc:1|c|#a:1,b:2,zone:own").rejected == 0)
    #expect(
      flush() == [
        "c counter 21.0 {zone=z}", "g gauge 4.0 {zone=z}", "n gauge -3.0 {zone=z}", "t summary 2.0 {quantile=0.5,zone=z}",
        "t summary 3.0 {quantile=0.95,zone=z}", "t_sum summary 8.0 {zone=z}", "t_count summary 4.0 {zone=z}",
        "t_min gauge 1.0 {zone=z}",
        "t_max gauge 3.0 {zone=z}", "u gauge 2.0 {zone=z}", "c counter 1.0 {a=1,b=2,zone=own}",
        "c counter 1.0 {a=1,b=2,zone=own}",
      ])
    _ = add("c:1|c\nt:10|ms")
    let next = flush()
    #expect(next.contains("c counter 22.0 {zone=z}") && next.contains("g gauge 4.0 {zone=z}"))
    #expect(
      next.contains("t summary 10.0 {quantile=0.5,zone=z}") && next.contains("t_sum summary 18.0 {zone=z}")
        && next.contains("u gauge 0.0 {zone=z}"))
  }

  @Test(arguments: [
    "c", "c:1", "c:|c", ":1|c", "c:x|c", "c:1|q", "c:1|c|@2", "c:1|c|@0", "c:nan|c", "c:1:x|c", "_e{1,1}:a|b", "_sc|name|0",
  ])
  func `a line that is wrong counts nothing`(line: String) {
    var table = StatsdTable(limit: 100, expiry: 1, common: [])
    #expect(Array(line.utf8).withUnsafeBytes { table.add(lines: $0, now: MonotonicTime(nanoseconds: 1)) }.rejected == 1)
    #expect(table.flush(Tag("m"), at: EventTime(seconds: 1), now: MonotonicTime(nanoseconds: 1), percentiles: []).isEmpty)
  }

  @Test func `series are capped, and those that nobody sends make room`() {
    var table = StatsdTable(limit: 2, expiry: 100, common: [])
    func add(_ text: String, _ now: UInt64) -> Int {
      Array(text.utf8).withUnsafeBytes { table.add(lines: $0, now: MonotonicTime(nanoseconds: now)) }.refused
    }
    #expect(add("a:1|c\nb:1|c\nc:1|c\nd:1|c", 1) == 2)
    #expect(add("a:1|c", 90) == 0)
    #expect(add("c:1|c", 150) == 0)
    let lines = MetricLines.of(
      table.flush(Tag("m"), at: EventTime(seconds: 1), now: MonotonicTime(nanoseconds: 150), percentiles: []))
    #expect(lines == ["a counter 2.0 {}", "c counter 1.0 {}"])
  }

  @Test func `lines come over UDP, and what is wrong is counted`() async throws {
    let port = TestPort.free()
    try await Self.with("port \(port)\nmax_series 2") { agg in
      sendDatagrams(["jobs:1|c\njobs:2|c", "nonsense", "g:3|g|#a:b", "more:1|c"], to: port)
      try await soon("flushed") {
        Self.figures(agg).contains("jobs counter 3.0 {}") && Self.figures(agg).contains("g gauge 3.0 {a=b}")
      }
      try await soon("counted") {
        try agg.counters("statsd")[.rejected] == 1 && agg.counters("statsd").dropped["max_series"] == 1
      }
    }
  }

  @Test func `lines come over TCP and unix sockets`() async throws {
    try await withFolder { folder in
      let port = Int(TestPort.free())
      for (config, endpoint) in [
        ("protocol tcp\nport \(port)", Endpoint.host("127.0.0.1", port)),
        ("protocol unix_stream\npath \(folder)/s", .unix(folder + "/s")),
      ] {
        try await Self.with(config) { agg in
          try await withClient { network in
            let connection = try await network.connect(endpoint)
            try await connection.send("a:1|c\na:2|")
            try await connection.send("c\na:4|c")
            await connection.close()
          }
          try await soon("flushed") { Self.figures(agg).contains("a counter 7.0 {}") }
        }
      }
      try await Self.with("protocol unix\npath \(folder)/d") { agg in
        let descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0)
        defer { close(descriptor) }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: Array((folder + "/d").utf8)) }
        let line = Array("a:5|c".utf8)
        let sent = withUnsafePointer(to: &address) {
          $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            sendto(descriptor, line, line.count, 0, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
          }
        }
        #expect(sent == line.count)
        try await soon("flushed") { Self.figures(agg).contains("a counter 5.0 {}") }
      }
    }
  }

  @Test func `what was not emitted yet is emitted at the stop`() async throws {
    let port = TestPort.free()
    var kept: RunningEngine?
    try await Self.with("port \(port)\ninterval 3600") { agg in
      sendDatagrams(["last:1|c"], to: port)
      kept = agg
      // The socket has been read when a second datagram's effect shows.
      sendDatagrams(["bad"], to: port)
      try await soon("read") { try agg.counters("statsd")[.rejected] == 1 }
    }
    #expect(kept.map { Self.figures($0) } == ["last counter 1.0 {}"])
  }
}

enum MetricLines {
  static func of(_ batch: EventBatch) -> [String] {
    var lines: [String] = []
    let rejected = batch.forEachMetric { _, metric in
      lines.append(
        "\(metric.nameText) \(metric.kind) \(metric.number) {\(metric.labelTexts.map { "\($0.name)=\($0.value)" }.joined(separator: ","))}"
      )
    }
    if !rejected.isEmpty { lines.append("rejected: \(rejected)") }
    return lines
  }
}
