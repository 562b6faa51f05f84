import AggCore
import AggPlugins
import AggTesting
import Testing

/// Expectations recorded from Fluentd or computed with Ruby 3.1.
@Suite struct FormatterTests {
  private func format<F: Formatter>(_ type: F.Type, _ text: String, _ records: [String], tag: String = "t.x") throws -> String {
    let set = PluginSet(formatters: [.init(JSONLineFormatter.self), .init(HashFormatter.self), .init(LTSVFormatter.self), .init(MessagePackFormatter.self)])
    let formatter = try PluginDriver(set).make(type, text)
    var out = ByteWriter()
    var rejects: [Rejection] = []
    formatter.format(try .json(records, tag: tag), into: &out, &rejects)
    #expect(rejects == [])
    return out.string
  }
  static let record = #"{"a":"x","n":5,"f":1.0,"h":1e20,"i":1e-7,"t":true,"z":null,"o":{"k":[1,"2",null]},"e":""}"#

  @Test func `ltsv prints values as Ruby does and replaces the delimiter in them`() throws {
    #expect(try format(LTSVFormatter.self, "", [Self.record]) == "a:x\tn:5\tf:1.0\th:1.0e+20\ti:1.0e-07\tt:true\tz:\to:{\"k\"=>[1, \"2\", nil]}\te:\n")
    #expect(try format(LTSVFormatter.self, "", [#"{"q":"a\tb\n"}"#]) == "q:a b\n\n")
    #expect(
      try format(LTSVFormatter.self, "delimiter ;;\nlabel_delimiter =>\nreplacement _\nadd_newline false", [#"{"a":"1;;2","b":3}"#, "{}"]) == "a=>1_2;;b=>3")
    #expect(try format(LTSVFormatter.self, "newline crlf", [#"{"a":1}"#]) == "a:1\r\n")
  }

  @Test func `csv quotes every value, or those that need it`() throws {
    let records = [Self.record, #"{"a":"with \"quote\"","n":"comma, here","q":"new\nline"}"#]
    #expect(
      try format(CSVFormatter.self, "fields a,n,q,missing,t,o,f", records)
        == "\"x\",\"5\",\"\",\"\",\"true\",\"{\"\"k\"\"=>[1, \"\"2\"\", nil]}\",\"1.0\"\n\"with \"\"quote\"\"\",\"comma, here\",\"new\nline\",\"\",\"\",\"\",\"\"\n")
    #expect(
      try format(CSVFormatter.self, "fields b,a,nil,c,e,f\nforce_quotes false", [#"{"b":"x\"y","nil":"","c":" x","e":"a,b","f":"a\rb"}"#])
        == "\"x\"\"y\",,\"\", x,\"a,b\",\"a\rb\"\n")
    #expect(try format(CSVFormatter.self, "fields $.o.k[1],n\ndelimiter TAB\nadd_newline false", [Self.record]) == "\"2\"\t\"5\"")
    #expect { _ = try format(CSVFormatter.self, "fields ,", ["{}"]) } throws: { "\($0)".contains("empty value") }
  }

  @Test func `tsv, single_value, hash and msgpack`() throws {
    #expect(try format(TSVFormatter.self, "keys a,n,missing,o,t", [Self.record, "{}"]) == "x\t5\t\t{\"k\"=>[1, \"2\", nil]}\ttrue\n\t\t\t\t\n")
    #expect(
      try format(SingleValueFormatter.self, "", [#"{"message":"just this"}"#, #"{"o":1}"#, #"{"message":{"k":1}}"#, #"{"message":12.50}"#, #"{"message":null}"#])
        == "just this\n\n{\"k\"=>1}\n12.5\n\n")
    #expect(try format(SingleValueFormatter.self, "message_key a\nadd_newline false", [Self.record]) == "x")
    #expect(
      try format(HashFormatter.self, "", [Self.record])
        == "{\"a\"=>\"x\", \"n\"=>5, \"f\"=>1.0, \"h\"=>1.0e+20, \"i\"=>1.0e-07, \"t\"=>true, \"z\"=>nil, \"o\"=>{\"k\"=>[1, \"2\", nil]}, \"e\"=>\"\"}\n")
    #expect(try format(HashFormatter.self, "", [#"{"q":"\"\\/\b\f\n\r\t\u0001\u001f\u007f #{x} #y é"}"#]) == ##"{"q"=>"\"\\/\b\f\n\r\t\x01\x1F\x7F \#{x} #y é"}"## + "\n")
    #expect(try format(MessagePackFormatter.self, "", [#"{"a":1}"#, "{}"]) == String(decoding: [0x81, 0xa1, 0x61, 0x01, 0x80], as: UTF8.self))
  }

  @Test func `json has the newline that is asked for`() throws {
    #expect(try format(JSONLineFormatter.self, "", [#"{"a":1}"#, #"{"b":"é"}"#]) == "{\"a\":1}\n{\"b\":\"é\"}\n")
    #expect(try format(JSONLineFormatter.self, "newline crlf", [#"{"a":1}"#]) == "{\"a\":1}\r\n")
    #expect(try format(JSONLineFormatter.self, "add_newline false", [#"{"a":1}"#, #"{"a":2}"#]) == "{\"a\":1}{\"a\":2}")
  }

  @Test func `what JSON cannot hold is refused by its index`() throws {
    var builder = BatchBuilder()
    for value in [1, Double.nan, 2] {
      builder.begin()
      builder.writer.putMapHeader(1)
      builder.writer.putString("a" as StaticString)
      builder.writer.putDouble(value)
      builder.commit(time: testNow)
    }
    let batch = builder.finish(tag: Tag("t"))
    let driver = PluginDriver(PluginSet(formatters: [.init(JSONLineFormatter.self)]))
    for formatter: any Formatter in [try driver.make(JSONLineFormatter.self, ""), try driver.make(StdoutFormatter.self, "time_format -")] {
      var out = ByteWriter()
      var rejects: [Rejection] = []
      formatter.format(batch, into: &out, &rejects)
      #expect(rejects.map(\.index) == [1])
      #expect(out.string.hasSuffix("{\"a\":1.0}\n" + (formatter is StdoutFormatter ? "- t: " : "") + "{\"a\":2.0}\n"))
    }
  }

  @Test func `stdout passes parameters on and ends every event with one newline`() throws {
    #expect(try format(StdoutFormatter.self, "time_format %s", [#"{"a":1}"#, #"{"a":2}"#]) == "1700000000 t.x: {\"a\":1}\n1700000000 t.x: {\"a\":2}\n")
    #expect(try format(StdoutFormatter.self, "time_format %s\noutput_type ltsv\ndelimiter ,\nnewline crlf", [#"{"a":1,"b":2}"#]) == "1700000000 t.x: a:1,b:2\n")
    #expect(try format(StdoutFormatter.self, "time_format %s\noutput_type hash\nadd_newline false", [#"{"a":1}"#, "{}"]) == "1700000000 t.x: {\"a\"=>1}\n1700000000 t.x: {}\n")
  }

  @Test func `out_file reads delimiter as Fluentd does`() throws {
    #expect(try format(OutFileFormatter.self, "delimiter SPACE\noutput_tag false\ntime_format %s", [#"{"a":1}"#]) == "1700000000 {\"a\":1}\n")
    #expect(try format(OutFileFormatter.self, "delimiter comma\ntime_format %s", [#"{"a":1}"#]) == "1700000000,t.x,{\"a\":1}\n")
    #expect(try format(OutFileFormatter.self, "delimiter |\noutput_time false\nnewline crlf", [#"{"a":1}"#]) == "t.x\t{\"a\":1}\r\n")
  }
}
