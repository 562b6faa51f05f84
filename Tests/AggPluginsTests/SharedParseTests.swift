import AggCore
import AggPlugins
import AggTesting
import Testing

/// Expectations computed with Ruby 3.1 or taken from Fluentd's tests.
@Suite struct SharedParseTests {
  private func regexp(_ text: String) throws -> RegexpParser { try PluginDriver().make(RegexpParser.self, text) }

  @Test func `types turn texts into numbers, booleans, times and arrays as Ruby reads them`() throws {
    let parser = try regexp(
      #"""
      expression /^(?<n>\S*) (?<f>\S*) (?<b>\S*) (?<a>\S*) (?<s>\S*)$/
      types n:integer,f:float,b:bool,a:array:;,s:string
      """#)
    let parsed = parser.lines("12 3.50 true a;b;;c x\n0x1f 1e-3 yes - 1\n abc no  \n7.9 - 1 one 2\n-1_0 .5 TRUE ;;x;; 0\n18446744073709551615 1_0.5 false , y")
    #expect(
      records(parsed) == [
        #"{"n":12,"f":3.5,"b":true,"a":["a","b","","c"],"s":"x"}"#, #"{"n":0,"f":0.001,"b":true,"a":["-"],"s":"1"}"#,
        #"{"n":0,"f":0.0,"b":false,"a":[],"s":""}"#, #"{"n":7,"f":0.0,"b":true,"a":["one"],"s":"2"}"#,
        #"{"n":-10,"f":0.5,"b":true,"a":["","","x"],"s":"0"}"#, #"{"n":18446744073709551615,"f":10.5,"b":false,"a":[","],"s":"y"}"#,
      ])
  }

  @Test func `time as a type keeps the field as a time, null where it cannot be read`() throws {
    let parser = try regexp(
      #"""
      expression /^(?<a>[^,]*),(?<b>[^,]*),(?<c>[^,]*)$/
      types {"a":"time:%d %b %Y %H:%M:%S %z","b":"time:+0900:%Y-%m-%d %H:%M:%S","c":"time:unixtime"}
      """#)
    let parsed = parser.lines("03 Apr 2024 05:06:07 +0200,2024-01-01 09:00:00,1700000000\nx,y,z\n")
    #expect(records(parsed) == [#"{"a":1712113567,"b":1704067200,"c":1700000000}"#, #"{"a":null,"b":null,"c":0}"#])
  }

  @Test func `null_value_pattern and null_empty_string come before types`() throws {
    let parser = try regexp(
      """
      expression /^(?<a>[^,]*),(?<b>[^,]*)$/
      types a:integer,b:string
      null_value_pattern ^-$
      null_empty_string true
      """)
    #expect(records(parser.lines("1,x\n-,-\n,\n08,\"q\"")) == [
      #"{"a":1,"b":"x"}"#, #"{"a":null,"b":null}"#, #"{"a":null,"b":null}"#, #"{"a":8,"b":"\"q\""}"#,
    ])
  }

  @Test func `the time's field is taken out, or kept, or read with a zone`() throws {
    let parser = try regexp(
      #"""
      expression /^(?<logtime>[^|]+)\|(?<m>.*)$/
      time_key logtime
      time_format %Y/%m/%d %H:%M:%S.%L
      timezone +09:00
      keep_time_key true
      """#)
    #expect(
      parser.lines("2024/03/04 05:06:07.089|jst\nbad time|x\n")
        == Parsed(events: [#"1709496367.89000000 {"logtime":"2024/03/04 05:06:07.089","m":"jst"}"#], rejects: ["bad time|x"]))
    let plain = try regexp("expression /^(?<time>\\d+) (?<m>.*)$/\ntime_type unixtime")
    #expect(plain.lines("5 a").events == [#"5 {"m":"a"}"#])
  }

  @Test func `events without a time get the current one, or are refused, or get what the caller says`() throws {
    let now = try regexp("expression /^(?:(?<time>\\d+) )?(?<m>[a-z]+)$/\ntime_type unixtime")
    #expect(now.lines("a").events == [#"1700000000 {"m":"a"}"#])
    let strict = try regexp("expression /^(?:(?<time>\\d+) )?(?<m>[a-z]+)$/\ntime_type unixtime\nestimate_current_event false")
    #expect(strict.lines("a\n7 b") == Parsed(events: [#"7 {"m":"b"}"#], rejects: ["a"]))
    #expect(strict.lines("7 b\na", timeOfUntimed: EventTime(seconds: 3)) == Parsed(events: [#"7 {"m":"b"}"#, #"3 {"m":"a"}"#], untimed: [1]))
    let none = try PluginDriver().make(NoneParser.self, "estimate_current_event false")
    #expect(none.lines("a") == Parsed(rejects: ["a"]))
    let json = try PluginDriver().make(JSONParser.self, "estimate_current_event false")
    #expect(json.lines("{\"a\":1}\n{\"time\":9,\"b\":1}") == Parsed(events: [#"9 {"b":1}"#], rejects: [#"{"a":1}"#]))
    #expect(
      json.lines("{\"time\":9,\"b\":1}\n{\"a\":1}", timeOfUntimed: EventTime(seconds: 3))
        == Parsed(events: [#"9 {"b":1}"#, #"3 {"a":1}"#], untimed: [1]))
  }

  @Test func `json values of every kind are converted, and a null time is no time`() throws {
    let json = try PluginDriver().make(JSONParser.self, "types a:string,b:integer,c:float,d:bool,e:array\nnull_empty_string true")
    #expect(records(json.lines(#"{"a":1,"b":"7","c":2,"d":1,"e":"x,y","z":""}"# + "\n" + #"{"a":{"k":[1,null]},"b":2.9,"c":"x","d":null,"e":[1]}"# + "\n[{\"b\":true},{\"b\":false}]")) == [
      #"{"a":"1","b":7,"c":2.0,"d":true,"e":["x","y"],"z":null}"#,
      #"{"a":"{\"k\"=>[1, nil]}","b":2,"c":0.0,"d":null,"e":["[1]"]}"#, #"{"b":0}"#, #"{"b":false}"#,
    ])
    let plain = try PluginDriver().make(JSONParser.self, "")
    #expect(plain.lines(#"{"time":null,"a":1}"#).rejects.count == 1)
    #expect(plain.lines(#"{"time":1.5,"a":1}"#).events == [#"1.500000000 {"a":1}"#])
    #expect(plain.one(#"{"a":1}"#).events == [#"1700000000 {"a":1}"#])
  }

  @Test func `wrong types and expressions without names are told at the start`() throws {
    #expect { _ = try regexp("expression /(?<a>.)/\ntypes a:int") } throws: { "\($0)".contains("unknown value conversion for key:'a', type:'int'") }
    #expect { _ = try regexp("expression /a/") } throws: { "\($0)".contains("No named captures") }
    #expect { _ = try regexp("expression /(?<a>.)/\ntimezone +0900") } throws: { "\($0)".contains("specifying timezone requires time format") }
  }

  @Test func `none keeps the line, and the deprecated regexp options still count`() throws {
    #expect(records(try PluginDriver().make(NoneParser.self, "message_key raw").lines("a \"b\"\n\tc\n")) == [#"{"raw":"a \"b\""}"#, #"{"raw":"\tc"}"#])
    #expect(records(try regexp("expression /^(?<a>[a-z]+)$/\nignorecase true").lines("ABC")) == [#"{"a":"ABC"}"#])
    #expect(records(try regexp("expression /^(?<a>a.b)$/\nmultiline true").one("a\nb")) == [#"{"a":"a\nb"}"#])
  }
}
