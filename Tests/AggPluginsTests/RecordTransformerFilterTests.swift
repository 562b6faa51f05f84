import AggCore
import AggPlugins
import AggTesting
import Testing

@Suite struct RecordTransformerFilterTests {
  static func run(_ config: String, _ records: [String], tag: String = "a.b.c") throws -> (records: [String], times: [EventTime], sink: FilterSink) {
    let filter = try PluginDriver().make(RecordTransformerFilter.self, config)
    var sink = FilterSink()
    let out = try filter.filter(.json(records, tag: tag), &sink)
    var times: [EventTime] = []
    out.forEachEvent { time, _ in times.append(time) }
    return (out.jsonRecords, times, sink)
  }
  static func one(_ config: String, _ record: String, tag: String = "a.b.c") throws -> String { try run(config, [record], tag: tag).records[0] }

  @Test(arguments: [
    ("x ${tag}", #""a.b.c""#), ("x ${tag_parts[0]}-${tag_parts[-1]}", #""a-c""#), ("x ${tag_prefix[1]}|${tag_suffix[1]}", #""a.b|b.c""#),
    ("x ${tag_parts[3]}", "null"), ("x ${tag_parts[03]}", "null"), ("x -${tag_parts[3]}-", #""--""#), ("x ${hostname}", #""test-host""#),
    (#"x ${record["n"]}"#, "1"), (#"x ${record["f"]}"#, "1.5"), (#"x <${record["n"]}>"#, #""<1>""#), (#"x ${record["none"]}"#, "null"),
    (#"x ${record["o"]}"#, #"{"k":"v","l":[1,null]}"#), (#"x o=${record["o"]}"#, #""o={\"k\"=>\"v\", \"l\"=>[1, nil]}""#),
    (#"x ${record["t"]} ${record["z"]}."#, #""true .""#), ("x ${unknown}", "null"), ("x a${unknown}b", #""ab""#), ("x __TAG__", "null"), ("x __tag__", #""__tag__""#),
    (#"x {"p":"${tag}","q":[1,"${record[\"n\"]}",null],"${tag_parts[0]}":{}}"#, #"{"p":"a.b.c","q":[1,1,null],"a":{}}"#),
    (#"x "{oops""#, #""{oops""#), ("x ${", #""${""#), ("x ${}", #""${}""#),
  ])
  func `placeholders`(line: String, value: String) throws {
    let record = #"{"n":1,"f":1.5,"t":true,"z":null,"o":{"k":"v","l":[1,null]}}"#
    let out = try Self.one("<record>\n\(line)\n</record>", record)
    #expect(out == record.dropLast() + #","x":\#(value)}"#)
  }

  @Test func `time is the event's in the machine's zone`() throws {
    let out = try Self.one("<record>\nx ${time}\n</record>", "{}")
    #expect(out.hasPrefix(#"{"x":"2023-11-1"#))
  }

  @Test func `a field that is set again keeps its place, a new one comes last`() throws {
    #expect(try Self.one("<record>\nnew 1\na ${record[\"b\"]}\nb ${record[\"a\"]}\n</record>", #"{"a":1,"m":[1],"b":2}"#) == #"{"a":2,"m":[1],"b":1,"new":"1"}"#)
  }

  @Test func `without auto_typecast everything is text`() throws {
    #expect(try Self.one("auto_typecast false\n<record>\nx ${record[\"n\"]}\ny ${record[\"no\"]}\n</record>", #"{"n":1}"#) == #"{"n":1,"x":"1","y":""}"#)
  }

  @Test func `names of fields are expanded too`() throws {
    #expect(try Self.one("<record>\n${tag_parts[0]}_x 1\n</record>", "{}") == #"{"a_x":"1"}"#)
    #expect(try Self.one("<record>\n${record[\"k\"]} 1\n</record>", #"{"k":"name"}"#) == #"{"k":"name","name":"1"}"#)
  }

  @Test func `remove_keys takes fields, nested fields and what was just set`() throws {
    let config = "remove_keys a,$.o.x,$.o.l[0],gone,$.n.m\n<record>\ngone 1\nn {\"m\":1,\"p\":2}\n</record>"
    #expect(try Self.one(config, #"{"a":1,"b":2,"o":{"x":1,"y":2,"l":[1,2]}}"#) == #"{"b":2,"o":{"y":2,"l":[2]},"n":{"p":2}}"#)
    #expect(try Self.one("remove_keys a", #"{"a":1}"#) == "{}")
  }

  @Test func `renew_record keeps only keep_keys`() throws {
    #expect(try Self.one("renew_record\nkeep_keys c,a,none\n<record>\nx ${record[\"b\"]}\nc 9\n</record>", #"{"a":1,"b":2,"c":3}"#) == #"{"c":"9","a":1,"x":2}"#)
    #expect(throws: ConfigErrors.self) { try Self.one("keep_keys a", "{}") }
  }

  @Test func `renew_time_key makes a field the time, and what is no time an error`() throws {
    let result = try Self.run(
      "renew_time_key at\nremove_keys at", [#"{"at":5}"#, #"{"at":" 1_0.5e1x"}"#, #"{"at":2.25}"#, #"{"at":null}"#, #"{"at":"none"}"#, #"{"b":1}"#, #"{"at":[1]}"#])
    #expect(result.times.map(\.doubleValue) == [5, 105, 2.25, 0, 0, 1_700_000_000])
    #expect(result.sink.failures.map(\.batch.count) == [1])
  }

  @Test func `records of many fields keep them all`() throws {
    let fields = (0..<40).map { #""k\#($0)":\#($0)"# }.joined(separator: ",")
    #expect(try Self.one("remove_keys k3\n<record>\nx \(String(repeating: "long", count: 100))${record[\"k1\"]}\n</record>", "{\(fields)}")
      == "{\(fields.replacing(#""k3":3,"#, with: "")),\"x\":\"\(String(repeating: "long", count: 100))1\"}")
  }

  @Test func `tags with empty parts count as Ruby splits them`() throws {
    #expect(try Self.one("<record>\nx ${tag_parts[-1]}\n</record>", "{}", tag: "a..b.") == #"{"x":"b"}"#)
  }
}
