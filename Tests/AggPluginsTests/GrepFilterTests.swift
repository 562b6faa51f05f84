import AggCore
import AggPlugins
import AggTesting
import Testing

@Suite struct GrepFilterTests {
  static func run(_ config: String, _ records: [String]) throws -> [String] {
    let filter = try PluginDriver().make(GrepFilter.self, config)
    var sink = FilterSink()
    let kept = try filter.filter(.json(records), &sink)
    #expect(kept.count + sink.dropped.reduce(0) { $0 + $1.count } == records.count)
    return kept.jsonRecords
  }
  static func rule(_ name: String, _ key: String, _ pattern: String) -> String { "<\(name)>\nkey \(key)\npattern \(pattern)\n</\(name)>\n" }
  static let records = [#"{"a":"x","b":"1"}"#, #"{"a":"x","b":"2"}"#, #"{"a":"y","b":"1"}"#, #"{"a":"y","b":"2"}"#]
  static func kept(_ config: String) throws -> [Int] { try run(config, records).compactMap { records.firstIndex(of: $0) } }

  @Test func `every regexp must match and no exclude may`() throws {
    #expect(try Self.kept(Self.rule("regexp", "a", "/x/") + Self.rule("regexp", "b", "/1/")) == [0])
    #expect(try Self.kept(Self.rule("exclude", "a", "/x/") + Self.rule("exclude", "b", "/1/")) == [3])
    #expect(try Self.kept("") == [0, 1, 2, 3])
  }

  @Test func `and and or group their rules`() throws {
    let both = Self.rule("regexp", "a", "/x/") + Self.rule("regexp", "b", "/1/")
    let neither = Self.rule("exclude", "a", "/x/") + Self.rule("exclude", "b", "/1/")
    #expect(try Self.kept("<and>\n\(both)</and>") == [0])
    #expect(try Self.kept("<or>\n\(both)</or>") == [0, 1, 2])
    #expect(try Self.kept("<and>\n\(neither)</and>") == [1, 2, 3])
    #expect(try Self.kept("<or>\n\(neither)</or>") == [3])
    #expect(try Self.kept("<or>\n\(both)</or>\n<and>\n\(neither)</and>") == [1, 2])
    #expect(throws: ConfigErrors.self) { try Self.kept("<and>\n\(Self.rule("regexp", "a", "/x/"))\(neither)</and>") }
  }

  @Test func `a key may be tested once in a group`() {
    #expect(throws: ConfigErrors.self) { try Self.kept(Self.rule("regexp", "a", "/x/") + Self.rule("regexp", "a", "/y/")) }
    #expect(throws: ConfigErrors.self) { try Self.kept(Self.rule("regexp", "a", "/x/") + "<and>\n\(Self.rule("regexp", "a", "/y/"))</and>") }
  }

  @Test func `the older form reads a field and a bare pattern`() throws {
    #expect(try Self.kept("regexp1 a x\nexclude1 b ^[2-9] ?$") == [0])
    #expect(throws: ConfigError.self) { try Self.kept("regexp1 a") }
  }

  @Test func `values that are no text are tested as Ruby prints them`() throws {
    let records = [#"{"v":1}"#, #"{"v":1.0}"#, #"{"v":null}"#, "{}", #"{"v":[1,"a"]}"#, #"{"v":{"k":null}}"#, #"{"v":true}"#]
    for (pattern, index) in [("/^1$/", 0), ("/^1\\.0$/", 1), (#"/^\[1, "a"\]$/"#, 4), (#"/^\{"k"=>nil\}$/"#, 5), ("/^true$/", 6)] {
      #expect(try Self.run(Self.rule("regexp", "v", pattern), records) == [records[index]], "\(pattern)")
    }
    #expect(try Self.run(Self.rule("regexp", "v", "/^$/"), records) == [records[2], records[3]])
  }

  @Test func `an event whose path goes through a text is kept, one without the field is dropped`() throws {
    let records = [#"{"list":[{"k":"no"},{"k":"OK"}]}"#, #"{"list":[]}"#, #"{"list":"str"}"#, #"{"list":null}"#, #"{"list":{"k":1}}"#]
    #expect(try Self.run(Self.rule("regexp", "$.list[1].k", "/ok/i"), records) == [records[0], records[2]])
  }
}
