import AggCore
import Foundation
import Testing

/// What Fluentd left in a buffer goes through a whole engine, and the ledger balances.
@Suite struct TakeOverTests {
  private let directory = FileManager.default.temporaryDirectory.appending(path: "agg-takeover-\(UUID().uuidString)").path

  private func conf(_ fixture: String, _ output: String) throws -> String {
    let fixtures = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().appending(path: "fixtures/fluentd").path
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    try FileManager.default.copyItem(atPath: "\(fixtures)/\(fixture)/buffer", toPath: "\(directory)/buffer")
    return """
      <source>
        @type feed
      </source>
      <label @NEXT>
        <match **>
          @type collect
        </match>
      </label>
      <match **>
        @id out
        \(output.replacingOccurrences(of: "DIR", with: directory))
        <buffer tag>
          @type file
          path \(directory)/buffer
          flush_interval 0.1
          retry_wait 0.1
          retry_max_interval 0.1
        </buffer>
      </match>
      """
  }

  @Test func `events are recovered, delivered and counted, and new ones follow`() async throws {
    try await RunningEngine.with(try conf("forward-tag", "@type buffer\n@label @NEXT")) { agg in
      try await agg.feed.send(["{\"i\":1}"], tag: "new")
      try await soon("all came") { try agg.counters("out")[.delivered] == 66 }
      let counters = try agg.counters("out")
      #expect(counters[.recovered] == 65)
      #expect(counters[.offered] == 1)
      #expect(counters[.buffered] == 0)
      #expect(agg.collected.batches.reduce(0) { $0 + $1.count } == 66)
      #expect(agg.collected.batches.last?.tag == Tag("new"))
    }
    #expect(try FileManager.default.contentsOfDirectory(atPath: "\(directory)/buffer").filter { !$0.hasPrefix(".") } == [])
    try? FileManager.default.removeItem(atPath: directory)
  }

  @Test func `what is damaged is counted as dropped`() async throws {
    try await RunningEngine.with(try conf("broken-forward", "@type buffer\n@label @NEXT")) { agg in
      try await soon("all is decided") {
        let counters = try agg.counters("out")
        return counters[.recovered] == 65 && counters[.delivered] + counters.droppedTotal == 65
      }
      let counters = try agg.counters("out")
      #expect(counters[.buffered] == 0)
      #expect((counters.dropped["chunk_damaged"] ?? 0) > 0)
      #expect(counters[.delivered] == agg.collected.batches.reduce(0) { $0 + $1.count })
    }
    try? FileManager.default.removeItem(atPath: directory)
  }

  @Test func `formatted text stays where an output needs events, and is delivered by one that takes it`() async throws {
    let text = try conf("file-tag", "@type buffer\n@label @NEXT")
    let before = try FileManager.default.contentsOfDirectory(atPath: "\(directory)/buffer").sorted()
    try await RunningEngine.with(text) { agg in
      try await agg.feed.send(["{\"i\":1}"], tag: "new")
      try await soon("the new one came") { try agg.counters("out")[.delivered] == 1 }
      #expect(try agg.counters("out")[.recovered] == 0)
      #expect(agg.log.lines.contains { $0.contains("hold text that another output formatted") })
    }
    #expect(try FileManager.default.contentsOfDirectory(atPath: "\(directory)/buffer").filter { !$0.hasPrefix(".") }.sorted() == before)
    let collect = text.replacingOccurrences(of: "@type buffer\n@label @NEXT", with: "@type file\npath \(directory)/out/${tag}\nappend true")
    try await RunningEngine.with(collect) { agg in
      try await soon("all came") { try agg.counters("out")[.delivered] == 65 }
      #expect(try agg.counters("out")[.recovered] == 65)
    }
    let lines = try ["app.a", "app.b"].map { try String(contentsOfFile: "\(directory)/out/\($0).log", encoding: .utf8).split(separator: "\n").count }
    #expect(lines == [40, 25])
    try? FileManager.default.removeItem(atPath: directory)
  }

  @Test func `a secondary that needs events does not get formatted text`() async throws {
    let text = try conf("http-lines", "@type http\nendpoint http://127.0.0.1:1/\n<format>\n@type json\n</format>\n<secondary>\n@type buffer\n@label @NEXT\n</secondary>")
      .replacingOccurrences(of: "retry_wait 0.1", with: "retry_wait 0.1\nretry_max_times 1")
    try await RunningEngine.with(text) { agg in
      try await soon("all were given up") { try agg.counters("out")[.deadLettered] == 65 }
      #expect(agg.collected.batches.isEmpty)
      #expect(try agg.counters("out")[.buffered] == 0)
    }
    try? FileManager.default.removeItem(atPath: directory)
  }
}
