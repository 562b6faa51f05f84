import AggCore
import AggPlugins
import AggTesting
import Testing

/// `enable_ruby true`; what Ruby itself makes of expressions is AggExpressionTests' matter.
@Suite struct RecordTransformerRubyTests {
  static func run(_ config: String, _ records: [String], tag: String = "a.b.c") throws -> (records: [String], times: [EventTime], sink: FilterSink) {
    try RecordTransformerFilterTests.run("enable_ruby true\n" + config, records, tag: tag)
  }
  static func one(_ config: String, _ record: String, tag: String = "a.b.c") throws -> String { try run(config, [record], tag: tag).records.first ?? "failed" }

  static let record = #"{"n":1,"f":1.5,"s":"Ab c","o":{"k":"v","l":[1,null]},"list":[{"x":1}]}"#

  @Test(arguments: [
    (#"${record["n"]}"#, "1"), (#"${record["n"] + 1}"#, "2"), (#"${record["o"]["k"]}"#, #""v""#), (#"${record.dig("o", "l")}"#, "[1,null]"),
    (#"${record.dig("none", "l")}"#, "null"), (#"${record["s"].upcase}"#, #""AB C""#), (#"${record["none"]}"#, "null"), (#"${record["o"]}"#, #"{"k":"v","l":[1,null]}"#),
    (#"${record["list"][0]["x"]}"#, "1"), ("${tag}", #""a.b.c""#), ("${tag_parts[1]}-${tag_parts[-1]}", #""b-c""#), ("${tag_parts[9]}", "null"),
    ("${tag_prefix[1]}|${tag_suffix[1]}", #""a.b|b.c""#), ("${tag_parts.size}", "3"), ("${hostname}-x", #""test-host-x""#), ("${hostname}", #""test-host""#),
    ("${time.to_i}", "1700000000"), (#"${time.utc.strftime("%FT%TZ")}"#, #""2023-11-14T22:13:20Z""#), (#"<${record["n"]}>"#, #""<1>""#),
    (#"o=${record["o"]}"#, #""o={\"k\"=>\"v\", \"l\"=>[1, nil]}""#), ("plain", #""plain""#), (#"${record.to_json.length}"#, "70"),
    (#"${record.key?("n") ? "yes" : "no"}"#, #""yes""#), (#"${record.has_key?("zz")}"#, "false"),
    (#"{"p":"${tag}","q":[1,"${record["n"] * 2}",null],"${tag_parts[0]}":{}}"#, #"{"p":"a.b.c","q":[1,2,null],"a":{}}"#),
    (#"["${record["n"]}", true]"#, "[1,true]"),
  ])
  func `expressions`(value: String, expected: String) throws {
    #expect(try Self.one("<record>\nx \(value.replacing(#""${record["n"] * 2}""#, with: #""${record[\"n\"] * 2}""#).replacing(#"["${record["n"]}""#, with: #"["${record[\"n\"]}""#))\n</record>", Self.record)
      == Self.record.dropLast() + #","x":\#(expected)}"#)
  }

  @Test func `auto_typecast false makes texts`() throws {
    #expect(try Self.one("auto_typecast false\n<record>\na ${record[\"n\"]}\nb ${nil}\nc ${[1]}\n</record>", #"{"n":1}"#) == #"{"n":1,"a":"1","b":"","c":"[1]"}"#)
  }

  @Test func `names of fields are Ruby too`() throws {
    #expect(try Self.one("<record>\n${tag_parts[0]}_${\"x\".upcase} 1\n</record>", "{}") == #"{"a_X":"1"}"#)
    #expect(try Self.run("<record>\n${record[\"k\"]}! ${record[\"v\"]}\n</record>", [#"{"k":"p","v":1}"#, #"{"k":"q","v":2}"#]).records == [
      #"{"k":"p","v":1,"p!":1}"#, #"{"k":"q","v":2,"q!":2}"#,
    ])
  }

  @Test func `fields keep their places, and remove_keys comes last`() throws {
    #expect(
      try Self.one("remove_keys b,$.o.x\n<record>\nnew ${record[\"b\"]}\na ${record[\"a\"] + 1}\n</record>", #"{"a":1,"b":2,"o":{"x":1,"y":2}}"#)
        == #"{"a":2,"o":{"y":2},"new":2}"#)
    #expect(try Self.one("renew_record true\nkeep_keys c,a\n<record>\nx ${record[\"b\"] * 2}\nc ${record[\"c\"].to_s}\n</record>", #"{"a":1,"b":2,"c":3}"#)
      == #"{"c":"3","a":1,"x":4}"#)
  }

  @Test func `renew_time_key takes what the expression gives`() throws {
    let result = try Self.run(
      "renew_time_key at\nremove_keys at\n<record>\nat ${Time.parse(record[\"t\"])}\n</record>", [#"{"t":"1970-01-01T00:00:05.25Z"}"#, #"{"t":"no time"}"#])
    #expect(result.records == [#"{"t":"1970-01-01T00:00:05.25Z"}"#])
    #expect(result.times == [EventTime(seconds: 5, nanoseconds: 250_000_000)])
    #expect(result.sink.failures.map(\.batch.count) == [1])
    #expect(try Self.run("renew_time_key at\n<record>\nat ${record[\"ms\"] / 1000.0}\n</record>", [#"{"ms":1500}"#]).times.map(\.doubleValue) == [1.5])
  }

  @Test func `an event whose expression raises goes to the error label alone`() throws {
    let result = try Self.run("<record>\nx ${record[\"a\"].upcase}\n</record>", [#"{"a":"b"}"#, #"{"c":1}"#, #"{"a":"d"}"#, "{}"])
    #expect(result.records == [#"{"a":"b","x":"B"}"#, #"{"a":"d","x":"D"}"#])
    #expect(result.sink.failures.map(\.batch.jsonRecords) == [[#"{"c":1}"#, "{}"]])
    #expect(result.sink.failures.first?.reason == #"'${record["a"].upcase}' raises NoMethodError: undefined method `upcase' for nil:NilClass (and 1 more)"#)
  }

  @Test func `an endless evaluation fails, and rescue does not help it`() throws {
    let result = try Self.run("<record>\nx ${(1..1_000_000_000).map { |x| x } rescue 1}\n</record>", ["{}"])
    #expect(result.records == [])
    #expect(result.sink.failures.first?.reason.contains("steps") == true)
  }

  /// The record is copied one level deep before expressions run; the results are those of Fluentd's own class.
  @Test func `a change to the record is seen by later expressions, one inside a field by the result too`() throws {
    #expect(
      try Self.one("<record>\na ${record[\"n\"] = 5; nil}\nb ${record[\"n\"]}\n</record>", #"{"n":1}"#) == #"{"n":1,"a":null,"b":5}"#)
    #expect(
      try Self.one("<record>\na ${record[\"o\"].delete(\"k\")}\nb ${record[\"o\"][\"z\"] = 2}\n</record>", #"{"o":{"k":1},"p":[1]}"#)
        == #"{"o":{"z":2},"p":[1],"a":1,"b":2}"#)
    #expect(try Self.one("<record>\na ${record[\"s\"].gsub!(/x/, 'y'); nil}\n</record>", #"{"s":"xx"}"#) == #"{"s":"yy","a":null}"#)
    #expect(try Self.one("<record>\na ${record[\"s\"] = \"n\"; record[\"s\"] << \"m\"}\n</record>", #"{"s":"xx"}"#) == #"{"s":"xx","a":"nm"}"#)
    #expect(try Self.one("<record>\na ${record[\"o\"]}\nb ${record[\"o\"][\"k\"] = 2}\n</record>", #"{"o":{"k":1}}"#) == #"{"o":{"k":2},"a":{"k":2},"b":2}"#)
  }

  @Test func `what is not supported is an error at its line, all of them together`() throws {
    let error = #expect(throws: ConfigErrors.self) {
      _ = try PluginDriver().make(
        RecordTransformerFilter.self, "enable_ruby true\n<record>\na ${`ls`}\nb ${record[\"x\"]}\nc x${record.send(:x)}\nd {\"k\":\"${foo}\"}\n</record>")
    }
    #expect(error?.errors.map(\.description) == [
      "test.conf:4: 'a' has '${`ls`}', which cannot be evaluated: shell commands are not supported (at byte 2); docs/EXPRESSIONS.md lists what can",
      "test.conf:6: 'c' has 'x${record.send(:x)}', which cannot be evaluated: the method 'send' is not supported (at byte 10); docs/EXPRESSIONS.md lists what can",
      "test.conf:7: 'd' has '${foo}', which cannot be evaluated: the name 'foo' is not known (at byte 2); docs/EXPRESSIONS.md lists what can",
    ])
  }

  @Test func `values of many shapes are written whole`() throws {
    let long = String(repeating: "x", count: 70_000)
    for n in [0, 31, 32, 255, 256, 65_535, 65_536] {
      let text = long.prefix(n)
      #expect(try Self.one("<record>\nb <${record[\"a\"]}>\nc ${record[\"a\"] + \"\"}\n</record>", #"{"a":"\#(text)"}"#)
        == #"{"a":"\#(text)","b":"<\#(text)>","c":"\#(text)"}"#)
    }
  }
}
