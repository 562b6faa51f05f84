import AggCore
import AggNet
import AggPlugins
import AggTesting
import Foundation
import Testing

@Suite struct SyslogInputTests {
  static func udp(_ config: String, _ datagrams: [String], wait: Int) async throws -> InputBench {
    let bench = try InputBench()
    try await bench.running(SyslogInput.self, "tag s\nport PORT\nbind 127.0.0.1\n" + config) {
      sendDatagrams(datagrams, to: bench.port)
      _ = try await bench.events(wait)
    }
    return bench
  }
  static func tcp(_ config: String, _ pieces: [String], wait: Int) async throws -> InputBench {
    let bench = try InputBench()
    try await bench.running(SyslogInput.self, "tag s\nport PORT\nbind 127.0.0.1\n<transport tcp>\n</transport>\n" + config) {
      try? await StreamInputTests.send(pieces, to: .host("127.0.0.1", Int(bench.port)))
      _ = try await bench.events(wait)
    }
    return bench
  }
  static let none = "<parse>\n@type none\n</parse>"
  static func line(_ priority: Int, _ text: String) -> String { "<\(priority)>Oct 11 22:14:15 h app[7]: \(text)" }
  static func record(_ text: String) -> String { "{\"host\":\"h\",\"ident\":\"app\",\"pid\":\"7\",\"message\":\"\(text)\"}" }

  @Test func `the priority names the tag and the fields that ask for it`() async throws {
    let bench = try await Self.udp(
      "severity_key sev\nfacility_key fac\nsource_address_key from", [Self.line(34, "one") + "\n", Self.line(191, "two"), Self.line(34, "three")], wait: 3)
    let fields = { (s: String, f: String) in "\"sev\":\"\(s)\",\"fac\":\"\(f)\",\"from\":\"127.0.0.1\"}" }
    #expect(
      bench.events == [
        "s.auth.crit " + Self.record("one").dropLast() + "," + fields("crit", "auth"),
        "s.local7.debug " + Self.record("two").dropLast() + "," + fields("debug", "local7"),
        "s.auth.crit " + Self.record("three").dropLast() + "," + fields("crit", "auth"),
      ])
  }

  @Test func `other parsers get the text behind the priority, up to the line's end`() async throws {
    let bench = try await Self.udp("include_source_host true\n" + Self.none, ["<13>hello", "no\n<14>second\nrest", "none", "<999>odd"], wait: 3)
    #expect(
      bench.events == [
        "s.user.notice {\"message\":\"hello\",\"source_host\":\"127.0.0.1\"}", "s.user.info {\"message\":\"second\",\"source_host\":\"127.0.0.1\"}",
        "s..debug {\"message\":\"odd\",\"source_host\":\"127.0.0.1\"}",
      ])
    #expect(bench.counters.snapshot()[.rejected] == 1)
  }

  @Test func `what is no message can be an event`() async throws {
    let bench = try await Self.udp("emit_unmatched_lines true\nsource_address_key from", [Self.line(13, "a"), "garbage", Self.line(13, "b")], wait: 3)
    #expect(bench.events[1] == "s.unmatched {\"unmatched_line\":\"garbage\",\"from\":\"127.0.0.1\"}")
    #expect(bench.counters.snapshot()[.rejected] == 0)
  }

  /// More messages than keep their order: with each way of reading the priority.
  @Test(arguments: ["", "<parse>\n@type syslog\nwith_priority false\n</parse>", "<parse>\n@type syslog\nparser_engine string\n</parse>"])
  func `many messages become one batch a tag and none is lost`(parse: String) async throws {
    var lines: [String] = []
    let rubbish = { (i: Int) in [7: "rubbish \(i)", 13: "<\(i % 24)>rubbish \(i)"][i % 100] }
    for i in 0..<2000 { lines.append(rubbish(i) ?? Self.line(i % 24, "m\(i)")) }
    let bench = try await Self.tcp("emit_unmatched_lines true\n" + parse, [lines.joined(separator: "\n") + "\n"], wait: 2000)
    var expected: [String: [String]] = [:]
    for i in 0..<2000 {
      if let line = rubbish(i) { expected["s.unmatched", default: []].append("{\"unmatched_line\":\"\(line)\"}") } else {
        let facility = ["kern", "user", "mail"][(i % 24) >> 3]
        let severity = ["emerg", "alert", "crit", "err", "warn", "notice", "info", "debug"][i % 8]
        expected["s.\(facility).\(severity)", default: []].append(Self.record("m\(i)"))
      }
    }
    var seen: [String: [String]] = [:]
    for batch in bench.sink.batches { seen[batch.tag.description, default: []] += batch.jsonRecords }
    #expect(seen == expected)
    #expect(bench.sink.batches.count < 400)
  }

  /// Thrice what few messages make, in each tag's order: with a sort of lines, or one message after the other.
  @Test(arguments: [
    "message_format rfc3164", "message_format rfc5424", "message_format auto", "message_format auto\nparser_engine string", "with_priority false",
  ])
  func `many messages are read as few are`(settings: String) async throws {
    let lines = [
      Self.line(13, "a"), Self.line(192, "b"), "<13>1 2026-11-25T10:00:00Z h app 1 - - c", Self.line(200, "d"), "", Self.line(14, "e\r"), "<1234>x", "<>",
      "<13>", Self.line(999, "f"), "<14>1 1960-01-01T00:00:00Z h app 1 - - old", Self.line(191, "g\0h"), "<0" + Self.line(13, "i").dropFirst(),
      "<13>1 2026-11-25T10:00:00Z h app 1 - [x y=\"z\"] j", Self.line(13, "k"), "\r",
    ]
    let parse = "emit_unmatched_lines true\n<parse>\n@type syslog\n\(settings)\n</parse>"
    let text = lines.joined(separator: "\n") + "\n"
    let few = try await Self.tcp(parse, [text], wait: lines.count)
    let many = try await Self.tcp(parse, [text + text + text], wait: 3 * lines.count)
    func byTag(_ bench: InputBench) -> [String: [String]] {
      var seen: [String: [String]] = [:]
      for batch in bench.sink.batches {
        let records = batch.jsonRecords
        #expect(records.count == batch.count)
        seen[batch.tag.description, default: []] += records
      }
      return seen
    }
    #expect(byTag(many) == byTag(few).mapValues { $0 + $0 + $0 })
  }

  @Test func `messages that begin with their length may hold line breaks`() async throws {
    let first = Self.line(13, "one")
    let bench = try await Self.tcp(
      "frame_type octet_count", ["\(first.utf8.count) \(first)\n1", "2 <14>x yz", " abc\n", "oops <13>"], wait: 1)
    #expect(bench.events.first == "s.user.notice " + Self.record("one"))
    #expect(bench.log.lines.contains { $0.contains("no length of a message: oops") })
    let many = (0..<50).map { "\($0 + 10) <13>" + String(repeating: "x", count: $0 + 6) }.joined()
    let other = try await Self.tcp("frame_type octet_count\n" + Self.none, [many, "5 <13>a7 <13>b\nc"], wait: 52)
    #expect(other.events.suffix(2) == ["s.user.notice {\"message\":\"a\"}", "s.user.notice {\"message\":\"b\"}"])
    #expect(other.counters.snapshot()[.rejected] == 0)
  }

  @Test func `another delimiter, and a tail without one is dropped and counted`() async throws {
    let bench = try await Self.tcp("delimiter \"|\"\n" + Self.none, ["<13>a|<13>b", "c|<13>tail"], wait: 2)
    #expect(bench.events == ["s.user.notice {\"message\":\"a\"}", "s.user.notice {\"message\":\"bc\"}"])
    #expect(bench.counters.snapshot()[.rejected] == 1)
  }

  @Test(arguments: [
    "send_keepalive_packet true", "source_hostname_key h\nresolve_hostname false", "include_source_host true\nsource_address_key a",
    "<transport sctp>\n</transport>", "frame_type other",
  ])
  func `contradictions are errors when they are read`(config: String) throws {
    let bench = try InputBench()
    #expect(throws: (any Error).self) { _ = try bench.make(SyslogInput.self, "tag s\n" + config) }
  }
}
