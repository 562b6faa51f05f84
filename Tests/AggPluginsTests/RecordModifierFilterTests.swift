import AggCore
import AggPlugins
import AggTesting
import Testing

@Suite struct RecordModifierFilterTests {
  static func run(_ config: String, _ record: String) throws -> FilterSink {
    var sink = FilterSink()
    #expect(try PluginDriver().make(RecordModifierFilter.self, config).filter(.json([record], tag: "a.b"), &sink).jsonRecords == [])
    return sink
  }
  static func one(_ config: String, _ record: String) throws -> String {
    var sink = FilterSink()
    return try PluginDriver().make(RecordModifierFilter.self, config).filter(.json([record], tag: "a.b"), &sink).jsonRecords[0]
  }

  @Test(arguments: [
    ("${tag}", #""a.b""#), ("${tag_parts[0]}-${tag_parts[-1]}-x", #""a-b-x""#), (#"${record["n"]}"#, "1"), ("v=${record['n']}", #""v=1""#),
    (#"${record["o"]["k"]}"#, "2"), (#"${record.dig("o", "l", 0)}"#, "3"), (#"${record["no"]}"#, "null"), ("${hostname}", #""test-host""#), ("plain", #""plain""#), ("a\\tb", #""a\\tb""#), ("${Socket.gethostname}-x", #""test-host-x""#),
    ("${Time.at(time).utc.to_s}", #""2023-11-14 22:13:20 UTC""#), ("at ${time}", #""at 1700000000""#), ("${time}", "1700000000"), ("${time.to_i + 1}", "1700000001"),
    (#"foo:${record['n'].to_s + record['o']['k'].to_s}"#, #""foo:12""#), (#"${record["n"] > 0 ? "pos" : "neg"}"#, #""pos""#), ("${1 + 1}", "2"),
  ])
  func `expressions`(value: String, expected: String) throws {
    let record = #"{"n":1,"o":{"k":2,"l":[3]}}"#
    #expect(try Self.one("<record>\nx \(value)\n</record>", record) == record.dropLast() + #","x":\#(expected)}"#)
  }

  @Test func `a value sees what those before it set`() throws {
    #expect(try Self.one("<record>\na ${record[\"a\"] + 1}\nb ${record[\"a\"] * 10}\nc lit\nd ${record.keys.join}\n</record>", #"{"a":1}"#)
      == #"{"a":2,"b":20,"c":"lit","d":"abc"}"#)
  }

  @Test func `the key that is only there for its code`() throws {
    let config = "remove_keys _dummy_\n<record>\n_dummy_ ${if record.has_key?('foo'); record['bar'] = record.delete('foo'); end; nil}\n</record>"
    #expect(try Self.one(config, #"{"foo":{"k":[1]},"z":1}"#) == #"{"z":1,"bar":{"k":[1]}}"#)
    #expect(try Self.one(config, #"{"z":1}"#) == #"{"z":1}"#)
    #expect(try Self.one("<record>\na ${record[\"o\"][\"k\"] = 2; record[\"s\"].gsub!('x', 'y')}\n</record>", #"{"o":{"k":1},"s":"x"}"#)
      == #"{"o":{"k":2},"s":"y","a":"y"}"#)
  }

  @Test func `prepare_value sets variables once`() throws {
    let config = "prepare_value @names = {\"1\" => \"one\"}; @re = /(\\d+)/; @host = Socket.gethostname\n<record>\nx ${@names[record[\"m\"][@re, 1]]}\nh ${@host}\n</record>"
    #expect(try Self.one(config, #"{"m":"id 1"}"#) == #"{"m":"id 1","x":"one","h":"test-host"}"#)
    // They are shared by all events: what would change them fails.
    #expect(try Self.run("prepare_value @a = [1]\n<record>\nx ${@a << 2}\n</record>", "{}").failures.first?.reason.contains("FrozenError") == true)
    #expect(try Self.run("prepare_value @a = {\"k\" => [1]}\n<record>\nx ${@a[\"k\"].push(2)}\n</record>", "{}").failures.count == 1)
  }

  @Test func `an event whose value raises goes to the error label`() throws {
    let sink = try Self.run("<record>\nx ${record[\"a\"].upcase}\n</record>", "{}")
    #expect(sink.failures.map(\.batch.jsonRecords) == [["{}"]])
  }

  @Test func `remove_keys, whitelist_keys and replace`() throws {
    #expect(try Self.one("remove_keys a,$.o.k", #"{"a":1,"o":{"k":1,"l":2}}"#) == #"{"o":{"l":2}}"#)
    #expect(try Self.one("whitelist_keys b, a\n<record>\nx 1\n</record>", #"{"a":1,"b":2,"c":3}"#) == #"{"b":2,"a":1,"x":"1"}"#)
    #expect(try Self.one("<replace>\nkey a\nexpression /(o+)/\nreplace <\\1>\n</replace>", #"{"a":"foo bo","b":"oo"}"#) == #"{"a":"f<oo> b<o>","b":"oo"}"#)
    #expect(try Self.one("<replace>\nkey a\nexpression /x*/\nreplace -\n</replace>", #"{"a":"axb"}"#) == #"{"a":"-a--b-"}"#)
  }

  @Test func `char_encoding converts every text`() throws {
    #expect(try Self.one("char_encoding utf-8:iso-8859-1", #"{"n":[1,{"k":"abc"}]}"#) == #"{"n":[1,{"k":"abc"}]}"#)
  }

  @Test(arguments: ["remove_keys a\nwhitelist_keys b", "prepare_value system('ls')", "prepare_value @x = nil.foo", "char_encoding nothing",
    "<record>\nx ${@x}\n</record>", "prepare_value @x = 1\n<record>\nx ${@x = 2}\n</record>", "prepare_value @x = ENV.fetch('NO_SUCH_NAME_')", "<record>\nx ${`ls`}\n</record>",
  ])
  func `what agg cannot do is an error`(config: String) { #expect(throws: (any Error).self) { try Self.one(config, "{}") } }
}
