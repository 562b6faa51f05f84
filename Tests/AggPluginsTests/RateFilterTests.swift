import AggCore
import AggPlugins
import AggTesting
import Testing

/// throttle and sampling: what goes through, and that a refused batch leaves no trace.
@Suite struct RateFilterTests {
  /// Which of the records `{"g":…,"n":…}` went through; each call is one batch.
  static func pass(_ filter: any Filter, _ groups: String, tag: String = "t", refusing: Bool = false) throws -> String {
    let records = groups.enumerated().map { #"{"g":"\#($0.element)","n":\#($0.offset)}"# }
    var sink = FilterSink()
    let kept = try filter.filter(.json(records, tag: tag), &sink)
    #expect(kept.count + sink.dropped.reduce(0) { $0 + $1.count } == records.count)
    if refusing { for body in sink.refusals.reversed() { body() } } else { for body in sink.commits { body() } }
    let result = Set(kept.jsonRecords)
    return String(zip(groups, records).map { result.contains($0.1) ? $0.0 : "-" })
  }
  static let long = "group_bucket_period_s 1000000000\n"

  @Test func `each group has its limit`() throws {
    let filter = try PluginDriver().make(ThrottleFilter.self, Self.long + "group_key g\ngroup_bucket_limit 3")
    #expect(try Self.pass(filter, "aabaaab") == "aaba--b")
    #expect(try Self.pass(filter, "abbc") == "-b-c")
  }

  @Test func `several fields, nested ones and missing ones make the group`() throws {
    let filter = try PluginDriver().make(ThrottleFilter.self, Self.long + "group_key k.app,level\ngroup_bucket_limit 1")
    let records = [
      #"{"k":{"app":"x"},"level":1}"#, #"{"k":{"app":"x"},"level":2}"#, #"{"k":{"app":"x"},"level":1}"#, "{}", #"{"k":"text"}"#,
    ]
    var sink = FilterSink()
    #expect(try filter.filter(.json(records), &sink).jsonRecords == [records[0], records[1], records[3]])
    #expect(sink.dropped.map(\.count) == [2])
  }

  @Test func `a refused batch counts for nothing when it comes again`() throws {
    for config in ["group_key g\ngroup_bucket_limit 3\n" + Self.long] {
      let filter = try PluginDriver().make(ThrottleFilter.self, config)
      #expect(try Self.pass(filter, "ab") == "ab")
      for _ in 0..<3 { #expect(try Self.pass(filter, "aaaab", refusing: true) == "aa--b") }
      #expect(try Self.pass(filter, "aaaab") == "aa--b")
      #expect(try Self.pass(filter, "abb") == "-b-")
    }
    let filter = try PluginDriver().make(SamplingFilter.self, "interval 3")
    #expect(try Self.pass(filter, "ab") == "--")
    for _ in 0..<3 { #expect(try Self.pass(filter, "cdef", refusing: true) == "c--f") }
    #expect(try Self.pass(filter, "cdef") == "c--f")
  }

  @Test func `without dropping it only looks`() throws {
    let filter = try PluginDriver().make(
      ThrottleFilter.self, Self.long + "group_key g\ngroup_bucket_limit 1\ngroup_drop_logs false")
    #expect(try Self.pass(filter, "aaa") == "aaa")
  }

  @Test func `the next period begins anew`() async throws {
    let filter = try PluginDriver().make(
      ThrottleFilter.self, "group_key g\ngroup_bucket_period_s 1\ngroup_bucket_limit 2\ngroup_reset_rate_s -1")
    // A second may end between two batches, but not three times in a row.
    var seen = ""
    for _ in 0..<600 where !seen.contains("-a") {
      seen += try Self.pass(filter, "a")
      try await Task.sleep(for: .milliseconds(10))
    }
    #expect(seen.contains("-a"))
  }

  @Test func `more groups than are kept do not grow without end`() throws {
    let filter = try PluginDriver().make(SamplingFilter.self, "interval 2\nsample_unit g")
    for batch in 0..<120 {
      var sink = FilterSink()
      let records = (0..<1000).map { #"{"g":"\#(batch)-\#($0)"}"# }
      #expect(try filter.filter(.json(records), &sink).isEmpty)
    }
    var sink = FilterSink()
    // The first were forgotten, the last ones are known.
    #expect(try filter.filter(.json([#"{"g":"0-0"}"#, #"{"g":"119-999"}"#]), &sink).jsonRecords == [#"{"g":"119-999"}"#])
  }

  @Test func `every nth event of a tag, of all, or of a field`() throws {
    let perTag = try PluginDriver().make(SamplingFilter.self, "interval 2")
    #expect(try Self.pass(perTag, "abc", tag: "x") == "-b-")
    #expect(try Self.pass(perTag, "abc", tag: "y") == "-b-")
    #expect(try Self.pass(perTag, "abc", tag: "x") == "a-c")
    let all = try PluginDriver().make(SamplingFilterFilter.self, "interval 2\nsample_unit all")
    #expect(try Self.pass(all, "abc", tag: "x") == "-b-")
    #expect(try Self.pass(all, "abc", tag: "y") == "a-c")
    let field = try PluginDriver().make(SamplingFilter.self, "interval 2\nsample_unit $.g")
    #expect(try Self.pass(field, "abaabb") == "--a-b-")
  }

  @Test func `the first events of a minute go through where a least rate is wanted`() throws {
    let filter = try PluginDriver().make(SamplingFilter.self, "interval 5\nminimum_rate_per_min 3")
    #expect(try Self.pass(filter, "abcdefghijk") == "ab--e----j-")
  }

  @Test func `the output routes what it takes under another tag`() throws {
    let driver = PluginDriver()
    let output = try driver.make(SamplingFilterOutput.self, "interval 2\nremove_prefix raw\nadd_prefix sampled")
    func route(_ tag: String, refusing: Bool = false) throws -> [String] {
      var transaction = Transaction()
      driver.counters.add(.delivered, 3)
      try output.route(.json([#"{"n":1}"#, #"{"n":2}"#, #"{"n":3}"#], tag: tag), &transaction)
      if refusing { transaction.refused() } else { transaction.committed() }
      return transaction.deliveries.flatMap { delivery in delivery.batch.jsonRecords.map { "\(delivery.batch.tag) \($0)" } }
    }
    #expect(try route("raw.web", refusing: true) == [#"sampled.web {"n":2}"#])
    #expect(try route("raw.web") == [#"sampled.web {"n":2}"#])
    #expect(try route("raw.web") == [#"sampled.web {"n":1}"#, #"sampled.web {"n":3}"#])
    #expect(try route("raw") == [#"sampled {"n":2}"#])
    #expect(driver.counters.snapshot().dropped["not_sampled"] == 5)
  }

  @Test(arguments: [
    "group_bucket_period_s 0", "group_bucket_limit 0", "group_reset_rate_s -2", "group_reset_rate_s 101",
    "group_warning_delay_s 0", "group_key []",
  ])
  func `limits that mean nothing are errors`(config: String) {
    #expect(throws: ConfigErrors.self) { try PluginDriver().make(ThrottleFilter.self, config) }
    #expect(throws: ConfigErrors.self) { try PluginDriver().make(SamplingFilter.self, "interval 0") }
    #expect(throws: ConfigErrors.self) { try PluginDriver().make(SamplingFilterOutput.self, "interval 1\nadd_prefix \"\"") }
  }
}
