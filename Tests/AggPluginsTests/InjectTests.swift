import AggCore
import AggPlugins
import AggTesting
import Testing

@Suite struct InjectTests {
  /// The records of a batch after an `<inject>` section of that text.
  private func inject(_ text: String, _ records: [String], time: EventTime = EventTime(seconds: 1_700_000_000, nanoseconds: 987_654_321)) throws -> [String] {
    var driver = PluginDriver()
    driver.system.workerID = 3
    let element = try driver.element(text, name: "inject")
    let context = driver.context(element)
    let injector = try Injector(InjectSection.load(element, context.config), context)
    let batch = try EventBatch.json(records, tag: "t.x", time: time)
    return try #require(injector).apply(batch).jsonRecords
  }

  @Test func `host name, worker, tag and time come last, in this order`() throws {
    #expect(
      try inject("time_key t\ntag_key g\nworker_id_key w\nhostname_key h", [#"{"a":1}"#, "{}"]) == [
        #"{"a":1,"h":"test-host","w":3,"g":"t.x","t":1700000000.987654}"#, #"{"h":"test-host","w":3,"g":"t.x","t":1700000000.987654}"#,
      ])
    #expect(try inject("hostname_key h\nhostname other", ["{}"]) == [#"{"h":"other"}"#])
  }

  @Test(arguments: [
    ("float", "1700000000.987654"), ("unixtime", "1700000000"), ("unixtime_millis", "1700000000987"), ("unixtime_micros", "1700000000987654"),
    ("unixtime_nanos", "1700000000987654321"), ("string\ntime_format %H:%M:%S.%3N %:z\ntimezone +09:00", "\"07:13:20.987 +09:00\""),
    ("string\nutc", "\"2023-11-14T22:13:20Z\""),
  ]) func `the time has the type that is asked for`(type: String, text: String) throws {
    #expect(try inject("time_key t\ntime_type \(type)", [#"{"a":1}"#]) == [#"{"a":1,"t":\#(text)}"#])
  }

  @Test func `a field that is there gets the new value at its place`() throws {
    #expect(try inject("tag_key g\nhostname_key h", [#"{"g":1,"a":2}"#, #"{"a":2,"h":"x","g":null}"#]) == [
      #"{"g":"t.x","a":2,"h":"test-host"}"#, #"{"a":2,"h":"test-host","g":"t.x"}"#,
    ])
  }

  @Test func `a record may grow over the small header, and large ones stay whole`() throws {
    let pairs = (0..<15).map { "\"k\($0)\":\($0)" }.joined(separator: ",")
    #expect(try inject("tag_key g\nhostname_key h", ["{\(pairs)}"]) == ["{\(pairs),\"h\":\"test-host\",\"g\":\"t.x\"}"])
    let more = (0..<300).map { "\"k\($0)\":\($0)" }.joined(separator: ",")
    #expect(try inject("tag_key g", ["{\(more)}"]) == ["{\(more),\"g\":\"t.x\"}"])
  }

  @Test func `a host name as chunk key is refused, an empty section does nothing`() throws {
    var driver = PluginDriver()
    var keys = ChunkKeys()
    keys.fields = ["h"]
    driver.chunkKeys = keys
    let element = try driver.element("hostname_key h", name: "inject")
    let section = try InjectSection.load(element, driver.context(element).config)
    #expect { _ = try Injector(section, driver.context(element)) } throws: { "\($0)".contains("hostname_key") }
    #expect(try Injector(InjectSection(), driver.context(element)) == nil)
    #expect(try Injector(nil, driver.context(element)) == nil)
  }
}

@Suite struct ExtractTests {
  private func extract(_ text: String, _ records: [String], untimed: [Int] = []) throws -> (batches: [String], rejected: Int) {
    let driver = PluginDriver()
    let element = try driver.element(text, name: "extract")
    let context = driver.context(element)
    let extractor = try #require(try Extractor(ExtractSection.load(element, context.config), context))
    var rejected = 0
    let batches = extractor.apply(try .json(records, tag: "own"), untimed: untimed) { _ in rejected += 1 }
    return (
      batches.map { batch in
        var seconds: [Int64] = []
        batch.forEachEvent { time, _ in seconds.append(time.seconds) }
        return "\(batch.tag) \(seconds) \(batch.jsonRecords)"
      }, rejected
    )
  }

  @Test func `events go to batches of their tags, in order`() throws {
    #expect(try extract("tag_key t", [#"{"t":"a","v":1}"#, #"{"v":2,"t":"a"}"#, #"{"v":3}"#, #"{"t":7,"v":4}"#, #"{"t":"","v":5}"#]).batches == [
      #"a [1700000000, 1700000000] ["{\"v\":1}", "{\"v\":2}"]"#, #"own [1700000000] ["{\"v\":3}"]"#, #"7 [1700000000] ["{\"v\":4}"]"#,
      #"own [1700000000] ["{\"v\":5}"]"#,
    ])
    #expect(try extract("tag_key t\nkeep_tag_key true", [#"{"t":"a","v":1}"#]).batches == [#"a [1700000000] ["{\"t\":\"a\",\"v\":1}"]"#])
  }

  @Test func `a time is taken for events that have none of their own`() throws {
    let records = [#"{"at":5,"v":1}"#, #"{"at":"6.5","v":2}"#, #"{"v":3}"#, #"{"at":null,"v":4}"#]
    let result = try extract("time_key at", records, untimed: [1, 2, 3])
    #expect(result.batches == [#"own [1700000000, 6, 1700000000] ["{\"at\":5,\"v\":1}", "{\"v\":2}", "{\"v\":3}"]"#])
    #expect(result.rejected == 1)
    #expect(try extract("time_key at\ntime_type string\ntime_format %Y\nutc\nkeep_time_key true", [#"{"at":"1971"}"#], untimed: [0]).batches == [
      #"own [31536000] ["{\"at\":\"1971\"}"]"#
    ])
  }
}
