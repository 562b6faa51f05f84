import AggCore
import AggPlugins
import AggTesting
import Testing

@Suite struct RecordModifierFilterTests {
  static func one(_ config: String, _ record: String) throws -> String {
    var sink = FilterSink()
    return try PluginDriver().make(RecordModifierFilter.self, config).filter(.json([record], tag: "a.b"), &sink).jsonRecords[0]
  }

  @Test(arguments: [
    ("${tag}", #""a.b""#), ("${tag_parts[0]}-${tag_parts[-1]}-x", #""a-b-x""#), (#"${record["n"]}"#, "1"), ("v=${record['n']}", #""v=1""#),
    (#"${record["o"]["k"]}"#, "2"), (#"${record.dig("o", "l", 0)}"#, "3"), (#"${record["no"]}"#, "null"), ("${hostname}", #""test-host""#), ("plain", #""plain""#),
  ])
  func `expressions`(value: String, expected: String) throws {
    let record = #"{"n":1,"o":{"k":2,"l":[3]}}"#
    #expect(try Self.one("<record>\nx \(value)\n</record>", record) == record.dropLast() + #","x":\#(expected)}"#)
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

  @Test(arguments: ["remove_keys a\nwhitelist_keys b", "prepare_value x = 1", "char_encoding nothing", "<record>\nx ${1 + 1}\n</record>"])
  func `what agg cannot do is an error`(config: String) { #expect(throws: (any Error).self) { try Self.one(config, "{}") } }
}
