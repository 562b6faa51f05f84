import AggCore
import AggPlugins
import AggTesting
import Testing

@Suite struct PrometheusFilterTests {
  /// Runs batches of (tag, records) through the filter, each stored at once; returns the page's samples.
  static func samples(_ config: String, _ batches: [(String, [String])], openMetrics: Bool = false) throws -> [String] {
    let (filter, registry) = try make(config)
    for (tag, records) in batches {
      var sink = FilterSink()
      let batch = try EventBatch.json(records, tag: tag)
      #expect(try filter.filter(batch, &sink).count == batch.count)
      for body in sink.commits { body() }
    }
    return registry.page(openMetrics: openMetrics).split(separator: "\n").map(String.init).filter { !$0.hasPrefix("#") }
  }
  static func make(_ config: String) throws -> (PrometheusFilter, MetricRegistry) {
    let registry = MetricRegistry()
    var driver = PluginDriver()
    driver.services = [registry]
    return (try driver.make(PrometheusFilter.self, config), registry)
  }
  static func metric(_ text: String, name: String = "m", type: String = "counter") -> String {
    "<metric>\nname \(name)\ntype \(type)\ndesc d\n\(text)\n</metric>\n"
  }

  @Test func `a counter counts records, or adds a field`() throws {
    let records = [#"{"n":2}"#, #"{"n":0.5}"#, #"{"n":null}"#, "{}", #"{"n":"7"}"#, #"{"n":-1}"#]
    #expect(try Self.samples(Self.metric(""), [("t", records), ("u", records)]) == ["m 12"])
    #expect(try Self.samples(Self.metric("key n"), [("t", records)]) == ["m 2.5"])
    #expect(try Self.samples(Self.metric("key $.a[1].n"), [("t", [#"{"a":[0,{"n":4}]}"#])]) == ["m 4"])
  }

  @Test func `a gauge keeps the last value, a summary sum and count, a histogram buckets`() throws {
    let records = (1...4).map { #"{"v":\#($0)}"# }
    #expect(try Self.samples(Self.metric("key v", type: "gauge"), [("t", records)]) == ["m 4"])
    #expect(try Self.samples(Self.metric("key v", type: "summary"), [("t", records)]) == ["m_sum 10", "m_count 4"])
    #expect(
      try Self.samples(Self.metric("key v\nbuckets 0.5, 2, 3", type: "histogram"), [("t", records), ("t", records)]) == [
        #"m_bucket{le="0.5"} 0"#, #"m_bucket{le="2.0"} 4"#, #"m_bucket{le="3.0"} 6"#, #"m_bucket{le="+Inf"} 8"#, "m_sum 20",
        "m_count 8",
      ])
    #expect(try Self.samples(Self.metric("key v", type: "histogram"), [("t", records)]).count == 14)
  }

  @Test func `labels come from the tag, the host, fields and the plugin`() throws {
    let config = """
      <labels>
        host ${hostname}
        fixed a"b\\
      </labels>
      """ + "\n"
      + Self.metric(
        """
        <labels>
          tag ${tag}
          part ${tag_parts[1]}/${tag_parts[-1]}/${tag_parts[9]}
          prefix ${tag_prefix[1]}
          suffix ${tag_suffix[1]}
          worker ${worker_id}
          nested $['k']['x.y']
          flat ${s}-${gone}-${arr[0]}-${map["q"]}
        </labels>
        """)
    let record = #"{"k":{"x.y":"A\nB"},"s":true,"arr":["one"],"map":{"q":3}}"#
    let samples = try Self.samples(config, [("a.b.c", [record, "{}"])])
    let start =
      #"m{host="test-host",fixed="a\"b\\",tag="a.b.c",part="b/c/${tag_parts[9]}",prefix="a.b",suffix="b.c",worker="0",nested="#
    #expect(samples.first == start + #""A\nB",flat="true-${gone}-one-3"} 1"#)
    #expect(samples.last == start + #""",flat="${s}-${gone}-${arr[0]}-${map[\"q\"]}"} 1"#)
  }

  @Test func `label sets are capped, and what is left out is counted`() throws {
    let records = (0..<100).map { #"{"id":\#($0 % 50)}"# }
    let samples = try Self.samples(Self.metric("max_label_sets 10\n<labels>\nid $.id\n</labels>"), [("t", records)])
    #expect(samples.count == 11)
    #expect(samples.first == #"m{id="0"} 2"#)
    #expect(samples.last == #"agg_metric_refused_observations_total{metric="m"} 80"#)
  }

  @Test func `a batch that is not stored counts nothing`() throws {
    let (filter, registry) = try Self.make(Self.metric(""))
    var sink = FilterSink()
    _ = try filter.filter(.json(["{}"]), &sink)
    #expect(registry.page() == "")
    #expect(sink.commits.count == 1)
  }

  @Test func `initialized shows a metric before the first record`() throws {
    #expect(
      try Self.samples(Self.metric("initialized true\n<labels>\nhost ${hostname}\n</labels>"), []) == [#"m{host="test-host"} 0"#])
    let labels = "initialized true\n<labels>\nfixed f\na $.a\n</labels>\n"
    #expect(
      try Self.samples(
        Self.metric(labels + "<initlabels>\na 1\n</initlabels>\n<initlabels>\na 2\n</initlabels>"), [("t", [#"{"a":2}"#])]) == [
          #"m{fixed="f",a="1"} 0"#, #"m{fixed="f",a="2"} 1"#,
        ])
    for wrong in [
      "", "<initlabels>\nb 1\n</initlabels>", "<initlabels>\na $.x\n</initlabels>", "<initlabels>\na 1\nfixed g\n</initlabels>",
    ] {
      #expect(throws: (any Error).self) { try Self.make(Self.metric(labels + wrong)) }
    }
  }

  @Test func `one name is one metric`() throws {
    #expect(try Self.samples(Self.metric("") + Self.metric(""), [("t", ["{}"])]) == ["m 2"])
    let error = #expect(throws: ConfigError.self) { try Self.make(Self.metric("") + Self.metric("key x", type: "gauge")) }
    #expect(
      error?.description
        == "test.conf:8: metric 'm' is declared at test.conf:2 with type counter; give it another name or the same")
  }

  @Test(arguments: [
    ("name a-b", "counter"), ("", "gauge"), ("buckets 3,2,1\nkey k", "histogram"), ("max_label_sets 0", "counter"),
    ("<labels>\nle x\n</labels>\nkey k", "histogram"), ("<labels>\na-b x\n</labels>", "counter"),
  ])
  func `mistakes are refused`(text: String, type: String) {
    #expect(throws: (any Error).self) { try Self.make(Self.metric(text, type: type)) }
  }

  @Test func `in OpenMetrics a counter's family has no _total and no series is renamed`() throws {
    let (filter, registry) = try Self.make(Self.metric("", name: "a_total") + Self.metric("", name: "b_counter"))
    var sink = FilterSink()
    _ = try filter.filter(.json(["{}"]), &sink)
    for body in sink.commits { body() }
    #expect(
      registry.page(openMetrics: true)
        == "# HELP a d\n# TYPE a counter\na_total 1\n# HELP b_counter d\n# TYPE b_counter unknown\nb_counter 1\n# EOF\n")
  }

  @Test func `after a reload a metric that is declared as it was goes on counting, others begin`() throws {
    let (filter, before) = try Self.make(Self.metric("", name: "same") + Self.metric("", name: "other"))
    var sink = FilterSink()
    _ = try filter.filter(.json(["{}", "{}"]), &sink)
    for body in sink.commits { body() }
    // A configuration that was not taken stands between.
    let after = MetricRegistry(after: MetricRegistry(after: before))
    var driver = PluginDriver()
    driver.services = [after]
    let next = try driver.make(PrometheusFilter.self, Self.metric("", name: "same") + Self.metric("key k", name: "other"))
    var second = FilterSink()
    _ = try next.filter(.json([#"{"k":5}"#]), &second)
    for body in second.commits { body() }
    #expect(after.page().contains("same 3\n"))
    #expect(after.page().contains("other 7\n"))
  }

  @Test func `a label set that nothing counts is forgotten after its retention`() async throws {
    let (filter, registry) = try Self.make(Self.metric("retention 0.05\n<labels>\ntag ${tag}\n</labels>"))
    var sink = FilterSink()
    _ = try filter.filter(.json(["{}"], tag: "old"), &sink)
    for body in sink.commits { body() }
    while registry.page().contains("old") { try await Task.sleep(for: .milliseconds(10)) }
    var again = FilterSink()
    _ = try filter.filter(.json(["{}"], tag: "new"), &again)
    for body in again.commits { body() }
    #expect(!registry.page().contains("old"))
  }
}

@Suite struct MetricsFilterTests {
  @Test func `gauges become events at the record's time, the record passes`() throws {
    let driver = PluginDriver()
    let filter = try driver.make(
      MetricsFilter.self,
      "to events\ntag metrics\nhost h\n<metric>\nname q\ntype gauge\ndesc d\nkey queue\n<labels>\nshard $.s\n</labels>\n</metric>\n"
    )
    var sink = FilterSink()
    let kept = try filter.filter(.json([#"{"queue":3,"s":"a"}"#, #"{"queue":0.5,"s":1}"#, "{}"], tag: "app"), &sink)
    #expect(kept.count == 3)
    #expect(sink.created == 2)
    let events = try #require(sink.derived.first)
    #expect(events.tag == Tag("metrics"))
    #expect(
      MetricRecordTests.read(events).lines == ["1700000000 q 3.0 gauge {shard=a} h -", "1700000000 q 0.5 gauge {shard=1} h -"])
  }

  @Test func `events need a tag, and the registry has none`() {
    let metric = "<metric>\nname q\ntype counter\ndesc d\n</metric>\n"
    #expect(throws: ConfigErrors.self) { try PluginDriver().make(MetricsFilter.self, "to events\n" + metric) }
    #expect(throws: ConfigErrors.self) { try PluginDriver().make(MetricsFilter.self, "tag x\n" + metric) }
    #expect(throws: ConfigErrors.self) { try PluginDriver().make(MetricsFilter.self, "") }
  }
}
