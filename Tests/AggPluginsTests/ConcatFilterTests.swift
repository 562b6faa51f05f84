import AggCore
import AggPlugins
import AggTesting
import Testing

/// The behaviour that fluent-plugin-concat's page and its own tests describe.
@Suite struct ConcatFilterTests {
  static func bench(_ config: String) throws -> HoldingBench { try HoldingBench(ConcatFilter.self, "key m\n" + config) }
  static func m(_ texts: String..., more: String = "") -> [String] { texts.map { #"{"h":"x","m":"\#($0)"\#(more)}"# } }

  @Test func `a number of events is one`() throws {
    let bench = try Self.bench("n_lines 3")
    #expect(try bench.add(Self.m("1", "2", "3", "4")) == [#"{"h":"x","m":"1\n2\n3"}"#])
    #expect(try bench.add(Self.m("5")) == [])
    #expect(try bench.add(Self.m("6", "7")) == [#"{"h":"x","m":"4\n5\n6"}"#])
    #expect(bench.stored.count == 1)
  }

  @Test func `events without the field pass, streams are told apart by tag and field`() throws {
    let bench = try Self.bench("n_lines 2\nstream_identity_key s\nseparator \"\"")
    let records = [#"{"s":1,"m":"a"}"#, #"{"s":2,"m":"b"}"#, #"{"x":1}"#, #"{"s":2,"m":"c"}"#, #"{"s":1,"m":5}"#]
    #expect(try bench.add(records) == [#"{"x":1}"#, #"{"s":2,"m":"bc"}"#, #"{"s":1,"m":"a5"}"#])
    #expect(try bench.add([#"{"m":"a"}"#], tag: "t1") == [])
    #expect(try bench.add([#"{"m":"b"}"#], tag: "t2") == [])
    #expect(try bench.add([#"{"m":"c"}"#], tag: "t1") == [#"{"m":"ac"}"#])
    #expect(try bench.add([#"{"m":"own"}"#], tag: "fluent.warn") == [#"{"m":"own"}"#])
  }

  @Test func `an event begins at an expression`() throws {
    let bench = try Self.bench("multiline_start_regexp /^start/")
    #expect(try bench.add(Self.m("alone", "start", "  1", "  2", "start", "  3")) == Self.m("alone", "start\\n  1\\n  2"))
    #expect(try bench.add(Self.m("start")) == Self.m("start\\n  3"))
  }

  @Test func `an event ends at an expression`() throws {
    let both = try Self.bench("multiline_start_regexp /^start/\nmultiline_end_regexp /end$/")
    #expect(
      try both.add(Self.m("one", "start x end", "start", " a", "end", "two", "start", "start end", "end"))
        == Self.m("one", "start x end", "start\\n a\\nend", "two", "start", "start end", "end"))
    let end = try Self.bench(#"multiline_end_regexp "/\\n$/""# + "\nseparator \"\"")
    #expect(try end.add(Self.m("a\\n", "b", "c\\n", "d")) == Self.m("a\\n", "bc\\n"))
  }

  @Test func `a line that does not continue ends the event`() throws {
    let bench = try Self.bench("multiline_start_regexp /^start/\ncontinuous_line_regexp /^ /\nuse_first_timestamp true")
    let lines = [(1, "start"), (2, " a"), (3, "other"), (4, " b")] as [(Int64, String)]
    // Fluentd gives the line that ends the event the event's time.
    #expect(
      try bench.add(lines.map { ($0.0, #"{"m":"\#($0.1)"}"#) }) == [
        #"1 {"m":"start\n a"}"#, #"1 {"m":"other"}"#, #"4 {"m":" b"}"#,
      ])
  }

  @Test func `the joined event has the fields of both ends, the first one's over the last one's`() throws {
    let bench = try Self.bench("multiline_start_regexp /^s/")
    let result = try bench.add([#"{"a":1,"m":"s1","b":1}"#, #"{"m":"x","c":1}"#, #"{"m":"s2","d":2,"a":2}"#])
    #expect(result == [#"{"m":"s1\nx","d":2,"a":1,"b":1}"#])
  }

  @Test(arguments: [(false, [#"3 {"m":"a\nb\nc"}"#]), (true, [#"1 {"m":"a\nb\nc"}"#])])
  func `the time is the last part's, or the first one's`(first: Bool, expected: [String]) throws {
    let bench = try Self.bench("n_lines 3\nuse_first_timestamp \(first)")
    #expect(try bench.add([(1, #"{"m":"a"}"#), (2, #"{"m":"b"}"#), (3, #"{"m":"c"}"#)]) == expected)
  }

  @Test func `a field says whether more follows`() throws {
    let records = [#"{"m":"a","p":"true","x":1}"#, #"{"m":"b","p":"true"}"#, #"{"m":"no p"}"#, #"{"m":"c","p":"false","y":2}"#]
    let config = "partial_key p\npartial_value true\nseparator \"\""
    #expect(try Self.bench(config).add(records) == [#"{"m":"no p"}"#, #"{"m":"abc","y":2,"x":1}"#])
    #expect(try Self.bench(config + "\nkeep_partial_key true").add(records)[1] == #"{"m":"abc","p":"false","y":2,"x":1}"#)
  }

  @Test(arguments: [
    ("docker-fluentd", ["partial_message", "partial_id", "partial_ordinal", "partial_last"]),
    (
      "docker-journald",
      ["CONTAINER_PARTIAL_MESSAGE", "CONTAINER_PARTIAL_ID", "CONTAINER_PARTIAL_ORDINAL", "CONTAINER_PARTIAL_LAST"]
    ),
    (
      "docker-journald-lowercase",
      ["container_partial_message", "container_partial_id", "container_partial_ordinal", "container_partial_last"]
    ),
  ])
  func `Docker's fields say what belongs together and in which order`(format: String, names: [String]) throws {
    func part(_ text: String, _ id: String, _ n: Int, last: Bool) -> String {
      let message = last && format != "docker-fluentd" ? "" : #","\#(names[0])":"true""#
      return #"{"m":"\#(text)"\#(message),"\#(names[1])":"\#(id)","\#(names[2])":"\#(n)","\#(names[3])":"\#(last)"}"#
    }
    let records = [
      part("a", "1", 1, last: false), part("X", "2", 1, last: false), part("c", "1", 3, last: false),
      part("b", "1", 2, last: false),
    ]
    let config = "use_partial_metadata true\npartial_metadata_format \(format)\nseparator \"\""
    let bench = try Self.bench(config)
    #expect(try bench.add(records) == [])
    #expect(
      try bench.add([part("d", "1", 4, last: true), part("Y", "2", 2, last: true), #"{"m":"whole"}"#]) == [
        #"{"m":"abcd"}"#, #"{"m":"XY"}"#, #"{"m":"whole"}"#,
      ])
    let kept = try Self.bench(config + "\nkeep_partial_metadata true").add([
      part("a", "1", 1, last: false), part("b", "1", 2, last: true),
    ])
    #expect(kept.count == 1 && kept[0].contains(#""\#(names[1])":"1""#) && kept[0].contains(#""m":"ab""#))
  }

  @Test func `CRI's P and F`() throws {
    let bench = try Self.bench("use_partial_cri_logtag true\npartial_cri_logtag_key logtag")
    let records = [("stdout", "F", "1"), ("stdout", "P", "2a"), ("stdout", "P:x", "2b"), ("stderr", "F:x", "2c")].map {
      #"{"stream":"\#($0.0)","logtag":"\#($0.1)","m":"\#($0.2)"}"#
    }
    #expect(try bench.add(records) == [#"{"m":"1"}"#, #"{"m":"2a\n2b\n2c"}"#])
    let kept = try Self.bench("use_partial_cri_logtag true\npartial_cri_logtag_key logtag\nkeep_partial_key true").add([
      records[0]
    ])
    #expect(kept == [#"{"logtag":"F","m":"1"}"#])
  }

  @Test(arguments: [
    ("ignore", 10, ["start 1 2end", "start 3 4end"]), ("truncate", 60, ["start", " message 2", "start", " message 4"]),
    ("drop", 100, ["end", "end"]),
    ("new", 90, ["start", " message 1", " message 2", "end", "start", " message 3", " message 4", "end"]),
  ])
  func `parts beyond the limit`(method: String, limit: Int, expected: [String]) throws {
    let bench = try HoldingBench(
      ConcatFilter.self,
      "key message\npartial_key partial_message\npartial_value true\nseparator \"\"\nbuffer_limit_size \(limit)\nbuffer_overflow_method \(method)"
    )
    let texts =
      method == "ignore"
      ? ["start", " 1", " 2", "end", "start", " 3", " 4", "end"]
      : ["start", " message 1", " message 2", "end", "start", " message 3", " message 4", "end"]
    let records = texts.map { #"{"container_id":"1","message":"\#($0)","partial_message":"\#($0 == "end" ? "false" : "true")"}"# }
    #expect(try bench.add(records) == expected.map { #"{"container_id":"1","message":"\#($0)"}"# })
  }

  @Test func `what is left goes where timeouts go, at the first part's time`() async throws {
    let bench = try Self.bench("n_lines 3\nstream_identity_key h\ntimeout_label @LATE")
    #expect(try bench.add([(1, #"{"h":1,"m":"a"}"#), (2, #"{"h":1,"m":"b"}"#)]) == [])
    #expect(try bench.add([(3, #"{"h":2,"m":"c"}"#)], tag: "u") == [])
    bench.refuse(2)
    #expect(await bench.end() == [#"test 1 {"h":1,"m":"a\nb"}"#, #"u 3 {"h":2,"m":"c"}"#])
    #expect(bench.routes == [.label("@LATE")])
    #expect(bench.stored.isEmpty)
    let error = try Self.bench("n_lines 3")
    _ = try error.add(Self.m("a"))
    _ = await error.end()
    #expect(error.routes.count == 1)
    guard case .error = error.routes.first else { return #expect(Bool(false), "\(error.routes)") }
  }

  @Test func `what waits too long is let go at the present time`() async throws {
    let bench = try Self.bench("n_lines 3\nflush_interval 1s")
    _ = try bench.add([(1, #"{"m":"a"}"#), (1, #"{"m":"b"}"#)])
    let task = Task { await bench.filter.run(HoldEmitter(bench)) }
    for _ in 0..<3000 where bench.released.isEmpty { try await Task.sleep(for: .milliseconds(10)) }
    task.cancel()
    await task.value
    #expect(bench.released.count == 1)
    #expect(bench.released.first?.hasSuffix(#"{"m":"a\nb"}"#) ?? false)
    #expect(!(bench.released.first?.hasPrefix("test 1 ") ?? true))
  }

  @Test func `a refused batch leaves what was held as it was`() throws {
    let bench = try Self.bench("multiline_start_regexp /^s/")
    #expect(try bench.add(Self.m("s1", "a")) == [])
    let stored = bench.stored.map { $0.state }
    for _ in 0..<3 {
      let events = Self.m("b", "s2", "c", "s3").map { (Int64(1), $0) }
      #expect(try bench.add(events, refusing: true).count == 2)
      #expect(bench.stored.map { $0.state } == stored)
    }
    #expect(try bench.add(Self.m("b", "s2")) == Self.m("s1\\na\\nb"))
  }

  @Test func `another start goes on with what was stored`() async throws {
    let config = "use_partial_metadata true\nseparator \"\"\nstream_identity_key h"
    func part(_ text: String, _ n: Int, last: Bool) -> String {
      #"{"h":"é","m":"\#(text)","partial_message":"true","partial_id":"i","partial_ordinal":"\#(n)","partial_last":"\#(last)"}"#
    }
    let first = try Self.bench(config)
    #expect(
      try first.add([(7, part("c", 3, last: false)), (8, part("a", 1, last: false)), (8, #"{"m":"pass"}"#)]) == [
        #"8 {"m":"pass"}"#
      ])
    let driver = PluginDriver()
    let second = HoldingBench(try driver.make(ConcatFilter.self, "key m\n" + config), driver.counters)
    second.filter.restore(first.stored + [(key: "held 9", state: [1, 2, 3]), (key: "other", state: [])])
    var sink = FilterSink()
    let result = try second.filter.filter(.json([part("b", 2, last: false), part("d", 4, last: true)]), &sink)
    #expect(result.jsonRecords == [#"{"h":"é","m":"abcd"}"#])
    #expect(sink.held == -1 && sink.merged == 2)
    #expect(sink.spans.map(\.key) == first.stored.map(\.key) && sink.spans.allSatisfy { $0.state.isEmpty })
    // Names of stored state are not used again.
    var next = FilterSink()
    _ = try second.filter.filter(.json([part("x", 1, last: false)]), &next)
    #expect(next.spans.count == 1 && next.spans[0].key != first.stored[0].key)
  }

  @Test func `many streams and large events are bounded`() async throws {
    let bench = try Self.bench("n_lines 1000000\nstream_identity_key s")
    var passed = 0
    for batch in 0..<25 { passed += try bench.add((0..<1000).map { #"{"s":"\#(batch)-\#($0)","m":"x"}"# }).count }
    #expect(passed == 5000)
    let large = try Self.bench("n_lines 1000000\nseparator \"\"")
    let mebibyte = String(repeating: "x", count: 1 << 20)
    var sizes: [Int] = []
    for _ in 0..<20 { sizes += try large.add(Self.m(mebibyte)).map(\.utf8.count) }
    #expect(sizes.count == 3 && sizes.allSatisfy { $0 <= 8 << 20 })
  }

  @Test(arguments: [
    ("", "Either n_lines"),
    ("n_lines 2\nmultiline_start_regexp /a/", "n_lines and multiline_start_regexp/multiline_end_regexp are exclusive"),
    ("n_lines 2\npartial_key p\npartial_value v", "partial_key and n_lines are exclusive"),
    ("partial_key p", "partial_value is required"),
    ("use_partial_metadata true\npartial_key p\npartial_value v", "use_partial_metadata and partial_key are exclusive"),
    ("use_partial_cri_logtag true", "partial_cri_logtag_key is required"), ("n_lines 0", "'n_lines'"),
    ("multiline_start_regexp /(/", "multiline_start_regexp"),
  ])
  func `what cannot be meant is an error`(config: String, message: String) {
    let error = #expect(throws: ConfigErrors.self) { try Self.bench(config) }
    #expect(error?.description.contains(message) ?? false, "\(error?.description ?? "")")
  }
}
