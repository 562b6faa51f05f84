import AggCore
import AggPlugins
import AggTesting
import Testing

@Suite struct DelimitedParserTests {
  private func csv(_ text: String) throws -> CSVParser { try PluginDriver().make(CSVParser.self, text) }

  @Test func `csv cells are what Ruby's CSV makes of them`() throws {
    let parser = try csv("keys a,b,c")
    // Each pair was checked against CSV.parse_line of Ruby 3.1 (csv 3.2.5).
    for (line, record) in [
      ("1,2,3", #"{"a":"1","b":"2","c":"3"}"#), ("1,\"bob, jr\",", #"{"a":"1","b":"bob, jr","c":null}"#),
      ("\"say \"\"hi\"\"\",\"\",x", #"{"a":"say \"hi\"","b":"","c":"x"}"#), ("4", #"{"a":"4","b":null,"c":null}"#),
      (",", #"{"a":null,"b":null,"c":null}"#), ("1,2,3,4", #"{"a":"1","b":"2","c":"3"}"#), ("a, b ,c", #"{"a":"a","b":" b ","c":"c"}"#),
      ("\"a\"\"b\",\"\"\"\",\"\"", #"{"a":"a\"b","b":"\"","c":""}"#), ("a,b\r", #"{"a":"a","b":"b","c":null}"#),
    ] {
      #expect(records(parser.lines(line)) == [record], "\(line)")
    }
    for line in ["a\"b,c", "\"a\"b", "\"a", "a,\"b", "", "\"a\" ,b", " \"a\"", "a,\"\"b"] { #expect(parser.one(line).rejects == [line], "\(line)") }
    #expect(records(parser.one("a,\"x\ny\",c\nd")) == [#"{"a":"a","b":"x\ny","c":"c"}"#])
  }

  @Test func `a csv delimiter may have several bytes, and a key that comes twice its last value`() throws {
    let parser = try csv("keys a,b,a\ndelimiter ||")
    #expect(records(parser.lines("1||\"x||y\"||3\n1|2||b||c|d")) == [#"{"a":"3","b":"x||y"}"#, #"{"a":"c|d","b":"b"}"#])
  }

  @Test func `the fast csv engine joins and strips quotes as Fluentd's does`() throws {
    let parser = try csv("keys a,b,c\nparser_type fast")
    for (line, record) in [
      ("1,2,3", #"{"a":"1","b":"2","c":"3"}"#), ("1,,3", #"{"a":"1","b":null,"c":"3"}"#), ("1,2", #"{"a":"1","b":"2"}"#),
      ("1,\"x,y\",3", #"{"a":"1","b":"x,y","c":"3"}"#), ("\"a\",\"b\"\"c\",d", #"{"a":"a","b":"b\"c","c":"d"}"#),
      ("1,\"x", #"{"a":"1","b":""}"#), ("a\"b,c", #"{"a":"a\"b","b":"c"}"#), ("", "{}"), ("1,2,3,4,5", #"{"a":"1","b":"2","c":"3","":"5"}"#),
      ("a\"\"b\"\"c,d", #"{"a":"a\"b\"c","b":"d"}"#),
    ] {
      #expect(records(parser.one(line)) == [record], "\(line)")
    }
  }

  @Test func `tsv names values by place; what lacks is null, what is too much stays in the last`() throws {
    let parser = try PluginDriver().make(TSVParser.self, "keys a,b,c\ntypes a:integer")
    #expect(records(parser.lines("1\tx y\t\n2\t\t3\t4\n\n9")) == [
      #"{"a":1,"b":"x y","c":""}"#, #"{"a":2,"b":"","c":"3\t4"}"#, #"{"a":null,"b":null,"c":null}"#, #"{"a":9,"b":null,"c":null}"#,
    ])
    let timed = try PluginDriver().make(TSVParser.self, "keys a,b,time\ntime_key time\ntime_format %Y%m%d%H%M%S%z")
    #expect(
      timed.lines("1\tx\t20240101000000+0000\n3\tq\n4\tr\t20240101000002+0000\textra")
        == Parsed(events: [#"1704067200 {"a":"1","b":"x"}"#, #"1704067202 {"a":"4","b":"r"}"#], rejects: ["3\tq"]))
  }

  @Test func `ltsv takes what has a label, the last value of a label counts at its first place`() throws {
    let parser = try PluginDriver().make(LTSVParser.self, "types n:integer\ntime_type unixtime")
    #expect(
      parser.lines("time:5\tn:7\thost:h:80\nn:x\tempty:\tnocolon\tk:v\n:novalue\tu:日本\na:1\tb:2\ta:3\t\n")
        == Parsed(events: [
          #"5 {"n":7,"host":"h:80"}"#, #"1700000000 {"n":0,"empty":"","k":"v"}"#, #"1700000000 {"":"novalue","u":"日本"}"#,
          #"1700000000 {"a":"3","b":"2"}"#,
        ]))
    let many = (0..<40).map { "key\($0):\($0)" }.joined(separator: "\t")
    #expect(records(parser.lines(many)) == ["{" + (0..<40).map { "\"key\($0)\":\"\($0)\"" }.joined(separator: ",") + "}"])
  }

  @Test func `ltsv delimiters may be longer, or an expression`() throws {
    let long = try PluginDriver().make(LTSVParser.self, "delimiter ;;\nlabel_delimiter =>")
    #expect(records(long.lines("a=>1;;b=>2;3;;c=4")) == [#"{"a":"1","b":"2;3"}"#])
    let pattern = try PluginDriver().make(LTSVParser.self, "delimiter_pattern /[\\t ]+/\nlabel_delimiter =")
    #expect(records(pattern.lines("a=1  b=2\tc=3 ")) == [#"{"a":"1","b":"2","c":"3"}"#])
  }

  @Test func `msgpack is a stream of maps and arrays of maps`() throws {
    let parser = try PluginDriver().make(MessagePackParser.self, "time_key t\ntime_type unixtime\ntypes n:string")
    var out = ByteWriter()
    Value.map(FieldMap([.init(key: "t", value: 9), .init(key: "n", value: 1)])).encode(into: &out)
    Value.array([.map(FieldMap([.init(key: "a", value: nil)])), 5]).encode(into: &out)
    let whole = out.count
    out.append([0x81, 0xa1] as [UInt8])
    #expect(parser.isStream)
    #expect(parser.completeLength(out.bytes) == whole)
    #expect(parser.completeLength(UnsafeRawBufferPointer(start: nil, count: 0)) == 0)
    #expect([0xc1 as UInt8].withUnsafeBytes { parser.completeLength($0) } == nil)
    let parsed = parser.lines(Array(out.bytes[..<whole]))
    #expect(parsed.events == [#"9 {"n":"1"}"#, #"1700000000 {"a":null}"#])
    #expect(parsed.rejects.count == 1)
  }
}
