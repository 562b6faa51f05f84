import AggCore
import AggTesting
import Foundation
import Testing

/// One emit with many batches for one output, as syslog's block of lines with most of its 192 tags.
@Suite struct ManyBatchesTests {
  @Test(arguments: ["", "chunk_limit_records 7", "chunk_limit_size 300", "@type file\npath FOLDER/buffer", "@type file\npath FOLDER/buffer\nchunk_limit_records 7"])
  func `all of them are stored, in order and counted`(buffer: String) async throws {
    try await withFolder { folder in
      let text = """
        <source>
          @type feed
        </source>
        <match t.**>
          @type copy
          <store>
            @type file
            @id one
            path \(folder)/one
            append true
            <format>
              @type json
            </format>
            <buffer []>
              flush_mode immediate
              \(buffer.replacing("FOLDER", with: folder))
            </buffer>
          </store>
          <store>
            @type file
            @id two
            path \(folder)/two.${tag}
            append true
            <format>
              @type json
            </format>
            <buffer tag>
              flush_mode immediate
            </buffer>
          </store>
        </match>
        """
      var expected: [String] = []
      try await RunningEngine.with(text) { agg in
        for emit in 0..<3 {
          let batches = try (0..<40).map { tag in
            try EventBatch.json((0..<tag % 4).map { "{\"n\":\(emit * 1000 + tag * 10 + $0)}" }, tag: "t.\(tag)")
          }
          expected += batches.flatMap { $0.jsonRecords.map { $0.trimmingCharacters(in: .newlines) } }
          try await agg.feed.send(batches)
        }
        try await soon("all is delivered") {
          try ["one", "two"].allSatisfy { try agg.counters($0)[.delivered] == expected.count }
        }
        for id in ["one", "two"] {
          let counters = try agg.counters(id)
          #expect(counters[.offered] == expected.count && counters[.buffered] == 0 && counters.droppedTotal == 0)
          // Those without events go nowhere.
          #expect(counters[.emits] == 90)
        }
      }
      let lines = { (path: String) in try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n").map(String.init) }
      #expect(try lines("\(folder)/one.log") == expected)
      #expect(try lines("\(folder)/two.t.3.log") == expected.filter { Int($0.dropFirst(5).dropLast())! % 1000 / 10 == 3 })
    }
  }
}
