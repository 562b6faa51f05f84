import AggCore
import AggPlugins
import AggTesting

/// Pages and lines of metrics are read or refused, give only sound events, and are never read past their end.
enum MetricsTargets {
  static let all = [exposition, statsd, plugin]

  static let exposition = FuzzTarget(
    "exposition", words: ["{", "}", "\"", "\\", ",", "=", " ", "# TYPE ", "# EOF", "NaN", "\n", "_total"],
    texts: [
      "# HELP a b\n# TYPE a counter\na_total{x=\"1\",y=\"\\\"\\\\\\n\"} 1 1395066363000\n\n",
      "# TYPE h histogram\nh_bucket{le=\"+Inf\"} 3\nh_sum NaN\nh_count 3\nh_created 1.5e9\n# TYPE s summary\ns{quantile=\"0.5\"} -Inf\n",
      "# TYPE foo counter\n# UNIT foo seconds\nfoo_total 17.0 1520879607.789 # {trace_id=\"x\"} 0.5\n{\"http.q\",\"l.x\"=\"y\"} 5\n# EOF\n",
      "a{b=\"c\",} 0x1p3\r\n a 1\n\ta\t2\nz{} 1\n",
    ]
  ) { bytes in
    for isOpen in [true, false] {
      for honors in [true, false] {
        var parser = ExpositionParser(
          isOpenMetrics: isOpen, common: [("instance", "i"), ("x", "y")], honorsLabels: honors, now: EventTime(seconds: 1))
        var writer = MetricWriter()
        let isWhole = bytes.withUnsafeBytes { parser.parse($0, limit: 50, into: &writer) }
        let batch = writer.finish(tag: Tag("fuzz"))
        try Failure.unless(
          batch.count == parser.samples && parser.samples <= 50 && (isWhole || parser.samples == 50),
          "\(parser.samples) samples, \(batch.count) events")
        try check(batch)
      }
    }
  }

  static let statsd = FuzzTarget(
    "statsd", words: [":", "|", "@", "#", ",", "|c", "|ms", "\n", "1e308", "-0", "inf"],
    texts: [
      "a:1|c", "a.b:3|c|@0.1|#env:prod,x", "g:+5|g\ng:-2|g\ng:7|g", "t:1:2:3|ms|@0.5", "u:ann|s", "h:0.5|h|#a:b|c:id|T123",
      "_e{1,1}:a|b", "_sc|x|0", "x:1e300|c", "c:1|c|@1e-300", "t:1e308:-1e308|ms",
    ]
  ) { bytes in
    var table = StatsdTable(limit: 8, expiry: 1_000_000_000, common: [("zone", "z")])
    for _ in 0..<2 { _ = bytes.withUnsafeBytes { table.add(lines: $0, now: MonotonicTime(nanoseconds: 1)) } }
    for _ in 0..<2 {
      try check(table.flush(Tag("fuzz"), at: EventTime(seconds: 1), now: MonotonicTime(nanoseconds: 2), percentiles: [50, 100]))
    }
  }

  /// What a mackerel-agent plugin prints.
  static let plugin = FuzzTarget(
    "mackerel-plugin", words: ["\t", "\n", "# mackerel-agent-plugin", "{\"graphs\":", "}"], short: 5000,
    texts: [
      "a.b\t1.5\t1700000000\nc\t9223372036854775807\t-9223372036854775808\n",
      "# mackerel-agent-plugin version=1\n{\"graphs\":{\"a\":{\"label\":\"l\",\"unit\":\"integer\",\"metrics\":[{\"name\":\"x\",\"label\":\"y\",\"stacked\":true}]}}}",
    ]
  ) { bytes in
    for usesLineTime in [true, false] {
      var reader = PluginMetrics()
      reader.usesLineTime = usesLineTime
      var problems = PluginMetrics.Problems()
      var writer = MetricWriter()
      for now in [0, 1_700_000_000, Int64.min] { reader.read(bytes, at: EventTime(seconds: now), into: &writer, &problems) }
      try check(writer.finish(tag: Tag("fuzz")))
    }
    var problems: [String] = []
    for definition in (try? GraphDefinition.read(bytes, problems: &problems)) ?? [] {
      var out = ByteWriter()
      definition.encode(into: &out)
      try Failure.unless(MessagePackScanner.validate(out.bytes), "not MessagePack")
    }
  }

  static func check(_ batch: EventBatch) throws {
    try ParserTargets.check(batch)
    var count = 0
    var isNamed = true
    let rejected = batch.forEachMetric { _, metric in
      count += 1
      if metric.name.isEmpty { isNamed = false }
      _ = metric.labelTexts
    }
    try Failure.unless(rejected.isEmpty && count == batch.count && isNamed, "\(count) metrics of \(batch.count) events")
  }
}
