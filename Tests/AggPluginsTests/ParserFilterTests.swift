import AggCore
import AggPlugins
import AggTesting
import Testing

@Suite struct ParserFilterTests {
  static func run(_ config: String, _ records: [String], type: String = "json") throws -> (records: [String], sink: FilterSink) {
    let driver = PluginDriver(PluginSet(parsers: [.init(JSONParser.self), .init(NoneParser.self)]))
    let filter = try driver.make(ParserFilter.self, config + "\n<parse>\n@type \(type)\n</parse>")
    var sink = FilterSink()
    let out = try filter.filter(.json(records), &sink)
    let dropped = sink.dropped.reduce(0) { $0 + $1.count } + sink.failures.reduce(0) { $0 + $1.batch.count }
    #expect(records.count + sink.created == out.count + dropped, "every event is accounted for")
    return (out.jsonRecords, sink)
  }
  static let good = #"{"log":"{\"x\":1,\"keep\":2}","keep":"me"}"#
  static let bad = #"{"log":"plain","keep":"two"}"#
  static let missing = #"{"keep":"none"}"#

  @Test func `the parsed values are the record`() throws {
    let (records, sink) = try Self.run("key_name log", [Self.good, Self.bad, Self.missing, #"{"log":5}"#])
    #expect(records == [#"{"x":1,"keep":2}"#])
    #expect(sink.failures.map(\.reason) == ["log does not exist", "pattern not matched with data 'plain' (and 1 more)"])
    #expect(sink.failures.flatMap { $0.batch.jsonRecords } == [Self.missing, Self.bad, #"{"log":5}"#])
  }

  @Test func `reserve_data keeps the record, of failed events too`() throws {
    let (records, _) = try Self.run("key_name log\nreserve_data", [Self.good, Self.bad, Self.missing])
    #expect(records == [#"{"log":"{\"x\":1,\"keep\":2}","keep":2,"x":1}"#, Self.bad, Self.missing])
  }

  @Test func `emit_invalid_record_to_error false only counts`() throws {
    let (records, sink) = try Self.run("key_name log\nemit_invalid_record_to_error false", [Self.bad])
    #expect(records.isEmpty && sink.failures.isEmpty)
    #expect(sink.dropped.map { "\($0.reason)" } == ["not_parsed"])
  }

  @Test func `remove_key_name_field removes a nested field where it was parsed`() throws {
    let (records, _) = try Self.run("key_name $.a.b\nreserve_data\nremove_key_name_field", [#"{"a":{"b":"{\"x\":1}","c":1}}"#, #"{"a":{"b":"no"}}"#, #"{"a":"text"}"#])
    #expect(records == [#"{"a":{"c":1},"x":1}"#, #"{"a":{"b":"no"}}"#])
  }

  @Test func `inject_key_prefix and hash_value_field`() throws {
    #expect(try Self.run("key_name log\ninject_key_prefix p.", [Self.good]).records == [#"{"p.x":1,"p.keep":2}"#])
    #expect(try Self.run("key_name log\nhash_value_field h\ninject_key_prefix p.", [Self.good]).records == [#"{"h":{"p.x":1,"p.keep":2}}"#])
    #expect(try Self.run("key_name log\nhash_value_field h\nreserve_data", [Self.bad]).records == [#"{"log":"plain","keep":"two","h":{}}"#])
  }

  @Test func `an array of objects is one event each`() throws {
    #expect(try Self.run("key_name log\nreserve_data\nremove_key_name_field", [#"{"log":"[{\"a\":1},{\"a\":2}]","k":0}"#]).records == [#"{"k":0,"a":1}"#, #"{"k":0,"a":2}"#])
  }

  @Test func `reserve_time keeps the event's time`() throws {
    for (config, expected) in [("", 5.0), ("\nreserve_time", 1_700_000_000.0)] {
      let driver = PluginDriver(PluginSet(parsers: [.init(JSONParser.self)]))
      let filter = try driver.make(ParserFilter.self, "key_name log\(config)\n<parse>\n@type json\n</parse>")
      var sink = FilterSink()
      var times: [Double] = []
      try filter.filter(.json([#"{"log":"{\"time\":5}"}"#]), &sink).forEachEvent { time, _ in times.append(time.doubleValue) }
      #expect(times == [expected])
    }
  }

  @Test func `replace_invalid_sequence parses what is left`() throws {
    var builder = BatchBuilder()
    builder.begin()
    builder.writer.putMapHeader(1)
    builder.writer.putString("log")
    builder.writer.putString([0x61, 0xff, 0x62])
    builder.commit(time: EventTime(seconds: 1))
    let driver = PluginDriver(PluginSet(parsers: [.init(NoneParser.self)]))
    let filter = try driver.make(ParserFilter.self, "key_name log\nreplace_invalid_sequence\n<parse>\n@type none\n</parse>")
    var sink = FilterSink()
    #expect(try filter.filter(builder.finish(tag: Tag("t")), &sink).jsonRecords == [#"{"message":"a?b"}"#])
  }
}
