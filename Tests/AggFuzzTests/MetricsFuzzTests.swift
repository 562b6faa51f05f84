import AggCore
import AggPlugins
import AggTesting
import Testing

/// Damaged pages and lines of metrics are read or refused, give only sound events, and are never read past their end.
@Suite(.serialized) struct MetricsFuzzTests {
  static let pages = [
    "# HELP a b\n# TYPE a counter\na_total{x=\"1\",y=\"\\\"\\\\\\n\"} 1 1395066363000\n\n",
    "# TYPE h histogram\nh_bucket{le=\"+Inf\"} 3\nh_sum NaN\nh_count 3\nh_created 1.5e9\n# TYPE s summary\ns{quantile=\"0.5\"} -Inf\n",
    "# TYPE foo counter\n# UNIT foo seconds\nfoo_total 17.0 1520879607.789 # {trace_id=\"x\"} 0.5\n{\"http.q\",\"l.x\"=\"y\"} 5\n# EOF\n",
    "a{b=\"c\",} 0x1p3\r\n a 1\n\ta\t2\nz{} 1\n",
  ]

  @Test func pages() {
    Fuzzer(
      "exposition", corpus: Self.pages.map { Array($0.utf8) },
      words: ["{", "}", "\"", "\\", ",", "=", " ", "# TYPE ", "# EOF", "NaN", "\n", "_total"]
    ).run { bytes in
      for isOpen in [true, false] {
        for honors in [true, false] {
          var parser = ExpositionParser(
            isOpenMetrics: isOpen, common: [("instance", "i"), ("x", "y")], honorsLabels: honors, now: EventTime(seconds: 1))
          var writer = MetricWriter()
          let isWhole = bytes.withUnsafeBytes { parser.parse($0, limit: 50, into: &writer) }
          let batch = writer.finish(tag: Tag("fuzz"))
          #expect(batch.count == parser.samples && parser.samples <= 50 && (isWhole || parser.samples == 50))
          Self.check(batch)
        }
      }
    }
  }

  @Test func statsd() {
    let lines = [
      "a:1|c", "a.b:3|c|@0.1|#env:prod,x", "g:+5|g\ng:-2|g\ng:7|g", "t:1:2:3|ms|@0.5", "u:ann|s", "h:0.5|h|#a:b|c:id|T123",
      "_e{1,1}:a|b", "_sc|x|0", "x:1e300|c",
    ]
    var tables = 0
    Fuzzer(
      "statsd", corpus: lines.map { Array($0.utf8) }, words: [":", "|", "@", "#", ",", "|c", "|ms", "\n", "1e308", "-0", "inf"]
    ).run { bytes in
      var table = StatsdTable(limit: 8, expiry: 1_000_000_000, common: [("zone", "z")])
      for _ in 0..<2 { _ = bytes.withUnsafeBytes { table.add(lines: $0, now: MonotonicTime(nanoseconds: 1)) } }
      for _ in 0..<2 {
        let batch = table.flush(
          Tag("fuzz"), at: EventTime(seconds: 1), now: MonotonicTime(nanoseconds: 2), percentiles: [50, 100])
        Self.check(batch)
      }
      tables += 1
    }
    #expect(tables > 0)
  }

  static func check(_ batch: EventBatch) {
    let again = batch.withBytes { EventBatch.validating($0, tag: Tag("fuzz")) }
    #expect(again.rejected == 0 && again.batch.count == batch.count)
    var count = 0
    let rejected = batch.forEachMetric { _, metric in
      count += 1
      #expect(!metric.name.isEmpty)
      _ = metric.labelTexts
    }
    #expect(rejected.isEmpty && count == batch.count)
  }
}
