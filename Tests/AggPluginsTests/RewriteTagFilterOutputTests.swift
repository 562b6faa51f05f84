import AggCore
import AggPlugins
import AggTesting
import Testing

@Suite struct RewriteTagFilterOutputTests {
  static func run(_ config: String, _ records: [String], tag: String = "app.web") throws -> (events: [String], failed: Int, dropped: Int) {
    let driver = PluginDriver()
    let output = try driver.make(RewriteTagFilterOutput.self, config)
    var transaction = Transaction()
    try output.route(.json(records, tag: tag), &transaction)
    transaction.committed()
    let events = transaction.deliveries.flatMap { delivery in delivery.batch.jsonRecords.map { "\(delivery.destination.id) \(delivery.batch.tag) \($0)" } }
    return (events, transaction.failures.reduce(0) { $0 + $1.batch.count }, driver.counters.snapshot().dropped["not_rewritten"] ?? 0)
  }
  static func rule(_ key: String, _ pattern: String, _ tag: String, _ more: String = "") -> String {
    "<rule>\nkey \(key)\npattern \(pattern)\ntag \(tag)\n\(more)\n</rule>\n"
  }

  @Test func `the first rule that holds decides, and the rest is dropped`() throws {
    let rules = Self.rule("l", #"/^(e)(r+)/"#, "x.$2.$1$3") + Self.rule("l", "/^i/", "i.${tag}", "label @I") + Self.rule("$.o.k", "/1/", "num.${tag_parts[1]}.${hostname}")
    let (events, _, dropped) = try Self.run(rules, [#"{"l":"err"}"#, #"{"l":"info"}"#, #"{"l":"other"}"#, #"{"o":{"k":1}}"#, "{}", #"{"l":"err"}"#])
    #expect(events == [#"@ROOT x.rr.e {"l":"err"}"#, #"@ROOT x.rr.e {"l":"err"}"#, #"@I i.app.web {"l":"info"}"#, #"@ROOT num.web.test-host {"o":{"k":1}}"#])
    #expect(dropped == 2)
  }

  @Test func `invert holds where the pattern does not, for missing fields too`() throws {
    let (events, _, dropped) = try Self.run(Self.rule("l", "/a/", "n.$1", "invert true"), ["{}", #"{"l":"b"}"#, #"{"l":"a"}"#])
    #expect(events == ["@ROOT n.$1 {}", #"@ROOT n.$1 {"l":"b"}"#])
    #expect(dropped == 1)
  }

  @Test func `a tag that stays is dropped, unless it goes to a label`() throws {
    #expect(try Self.run(Self.rule("l", "/./", "${tag}"), [#"{"l":1}"#]).events == [])
    #expect(try Self.run(Self.rule("l", "/./", "${tag}", "label @X"), [#"{"l":1}"#]).events == [#"@X app.web {"l":1}"#])
  }

  @Test(arguments: [
    ("remove_tag_prefix app", "p.${tag}", "p.web"), ("remove_tag_regexp /p+\\./", "p.${tag}", "p.aweb"), ("capitalize_regex_backreference", "$1", "Err"),
    ("", "__TAG__.__HOSTNAME__", "app.web.test-host"), ("", "a${unknown}${tag_parts[7]}b", "ab"), ("", "${tag[0]}", nil),
  ] as [(String, String, String?)])
  func `placeholders of the new tag`(config: String, tag: String, expected: String?) throws {
    let events = try Self.run(config + "\n" + Self.rule("l", "/^(.*)$/", tag), [#"{"l":"eRR"}"#]).events
    if let expected { #expect(events == [#"@ROOT \#(expected) {"l":"eRR"}"#]) }
  }

  @Test func `emit_mode record keeps the order`() throws {
    let records = [#"{"l":"a"}"#, #"{"l":"b"}"#, #"{"l":"a"}"#]
    let rule = Self.rule("l", "/(.)/", "t.$1")
    #expect(try Self.run("emit_mode record\n" + rule, records).events.map { $0.split(separator: " ")[1] } == ["t.a", "t.b", "t.a"])
    #expect(try Self.run(rule, records).events.map { $0.split(separator: " ")[1] } == ["t.a", "t.a", "t.b"])
  }

  @Test func `a tag that cannot be one is an error`() throws {
    let (events, failed, _) = try Self.run(Self.rule("l", "/(.+)/m", "t.$1"), [#"{"l":"a\nb"}"#, #"{"l":"ok"}"#])
    #expect(events == [#"@ROOT t.ok {"l":"ok"}"#])
    #expect(failed == 1)
  }

  @Test(arguments: ["", "remove_tag_prefix a\nremove_tag_regexp /b/", "<rule>\nkey a\npattern /a/\ntag ${tag_parts[0..1]}\n</rule>", "<rule>\nkey a\n</rule>"])
  func `rules that could not work are errors`(config: String) {
    #expect(throws: ConfigErrors.self) { try Self.run(config + (config.contains("rule>") ? "" : config.isEmpty ? "" : "\n" + Self.rule("a", "/b/", "c")), []) }
  }
}
