import AggCore
import AggPlugins
import AggTesting
import Foundation
import Testing

/// Lines and results as the plugin's page and its own tests have them.
@Suite struct GrokParserTests {
  static func parser(_ config: String) throws -> GrokParser { try PluginDriver().make(GrokParser.self, config) }
  /// The record that `pattern` makes of `text`.
  static func record(_ pattern: String, _ text: String, _ more: String = "") throws -> String? {
    records(try parser("<grok>\npattern \(pattern)\n</grok>\n\(more)").one(text)).first
  }

  @Test func `patterns with names are fields`() throws {
    #expect(
      try Self.record("%{MAC:mac_address} %{IP:ip_address}", "this.wont.match DEAD.BEEF.1234 127.0.0.1")
        == #"{"mac_address":"DEAD.BEEF.1234","ip_address":"127.0.0.1"}"#)
    #expect(try Self.record("%{WORD:[a][b]} %{WORD:@c.d}", "x y") == #"{"a.b":"x","@c.d":"y"}"#)
    #expect(
      try Self.record("\\[(?<date>%{DATE} %{TIME} (?:AM|PM))\\]", "[2/16/2018 10:19:34 AM]")
        == #"{"date":"2/16/2018 10:19:34 AM"}"#)
  }

  @Test func `types convert`() throws {
    #expect(try Self.record("%{INT:n:integer} paid %{NUMBER:f:float}", "12345 paid 6789.10") == #"{"n":12345,"f":6789.1}"#)
    #expect(try Self.record("%{GREEDYDATA:m:array}", "a,b,c") == #"{"m":["a","b","c"]}"#)
    #expect(try Self.record("%{GREEDYDATA:m:array:|}", "a|b") == #"{"m":["a","b"]}"#)
    #expect(try Self.record("%{WORD:b:bool}", "true") == #"{"b":true}"#)
  }

  static let access = #"127.0.0.1 192.168.0.1 - [28/Feb/2013:12:00:00 +0900] "GET /a?b=1 HTTP/1.1" 200 777 "-" "Opera/12.0""#

  @Test func `the first pattern that matches counts; times, names and failures`() throws {
    let parser = try Self.parser(
      """
      grok_name_key which
      grok_failure_key failure
      <grok>
        name access
        pattern %{COMBINEDAPACHELOG}
        time_key timestamp
        time_format %d/%b/%Y:%H:%M:%S %z
      </grok>
      <grok>
        pattern ^%{TIMESTAMP_ISO8601:time} %{LOGLEVEL:level} %{GREEDYDATA:message}$
        timezone +09:00
        time_format %Y-%m-%dT%H:%M:%S
        keep_time_key true
      </grok>
      """)
    let result = parser.lines(Self.access + "\n2020-01-02T03:04:05 WARN hot\nelse\n2020-01-02T03:04:05 what\n")
    #expect(
      result.events == [
        #"1362020400 {"clientip":"127.0.0.1","ident":"192.168.0.1","auth":"-","verb":"GET","request":"/a?b=1","httpversion":"1.1","response":"200","#
          + #""bytes":"777","referrer":"\"-\"","agent":"\"Opera/12.0\"","which":"access"}"#,
        #"1577901845 {"time":"2020-01-02T03:04:05","level":"WARN","message":"hot","which":1}"#,
        #"\#(testNow.seconds) {"message":"else","failure":"No grok pattern matched"}"#,
        #"\#(testNow.seconds) {"message":"2020-01-02T03:04:05 what","failure":"No grok pattern matched"}"#,
      ])
  }

  @Test func `a match whose time cannot be read is refused`() throws {
    let result = try Self.parser("grok_pattern ^%{WORD:time} x\ntime_format %Y").one("abc x")
    #expect(result.events == [] && result.rejects.count == 1)
  }

  @Test(arguments: [
    (
      "%{SYSLOGLINE}", "Feb  8 10:05:09 host sshd[12]: Accepted",
      #"{"timestamp":"Feb  8 10:05:09","logsource":"host","program":"sshd","pid":"12","message":"Accepted"}"#
    ),
    (
      "%{SYSLOG5424LINE}", "<34>1 2003-10-11T22:14:15.003Z host su - ID47 - failed",
      #"{"syslog5424_pri":"34","syslog5424_ver":"1","syslog5424_ts":"2003-10-11T22:14:15.003Z","syslog5424_host":"host","syslog5424_app":"su","syslog5424_msgid":"ID47","syslog5424_msg":"failed"}"#
    ),
    (
      "%{CRONLOG}", "Feb  8 10:05:01 host CRON[7]: (root) CMD (run)",
      #"{"timestamp":"Feb  8 10:05:01","logsource":"host","program":"CRON","pid":"7","user":"root","action":"CMD","message":"run"}"#
    ),
    (
      "%{JAVASTACKTRACEPART}", "\tat a.b.C$D.<init>(C.java:12)",
      #"{"class":"a.b.C$D","method":"<init>","file":"C.java","line":"12"}"#
    ),
    (
      "%{HTTPD_ERRORLOG}", "[Mon Aug 15 10:00:00 2005] [error] [client 10.0.0.1] no file",
      #"{"timestamp":"Mon Aug 15 10:00:00 2005","loglevel":"error","clientip":"10.0.0.1","message":"no file"}"#
    ),
    (
      "%{URI:u}", "see http://user:pw@example.org:8080/a/b?c=d now",
      #"{"u":"http://user:pw@example.org:8080/a/b?c=d","port":"8080"}"#
    ),
    (
      "%{QS:q} %{UUID:id} %{EMAILADDRESS:m}", #""a \"b\"" 123e4567-e89b-12d3-a456-426614174000 a.b@example.org"#,
      #"{"q":"\"a \\\"b\\\"\"","id":"123e4567-e89b-12d3-a456-426614174000","m":"a.b@example.org"}"#
    ),
    ("%{DATESTAMP_RFC2822:d}", "at Mon, 15 Aug 2005 15:52:01 +0000", #"{"d":"Mon, 15 Aug 2005 15:52:01 +0000"}"#),
  ])
  func `known log lines`(pattern: String, text: String, expected: String) throws {
    #expect(try Self.record(pattern, text) == expected)
  }

  @Test func `addresses are what the system takes for addresses`() throws {
    let parser = try Self.parser("grok_pattern ^%{IPV6:a}$")
    func matches(_ text: String) -> Bool { records(parser.one(text)).first?.hasPrefix(#"{"a":"#) ?? false }
    var random = SeededRandom(seed: 7)
    var agreed = (yes: 0, no: 0)
    for _ in 0..<4000 {
      var groups = (0..<Int.random(in: 1...9, using: &random)).map { _ in
        String(Int.random(in: 0...0xffff, using: &random), radix: 16)
      }
      if Bool.random(using: &random) { groups[Int.random(in: 0..<groups.count, using: &random)] = "" }
      if Int.random(in: 0..<4, using: &random) == 0 { groups.append("10.0.\(Int.random(in: 0...300, using: &random)).1") }
      var text = groups.joined(separator: ":")
      if text.hasPrefix(":") { text = ":" + text }
      if text.hasSuffix(":") { text += ":" }
      var bytes = in6_addr()
      let isAddress = inet_pton(AF_INET6, text, &bytes) == 1
      #expect(matches(text) == isAddress, "\(text)")
      if isAddress { agreed.yes += 1 } else { agreed.no += 1 }
    }
    #expect(agreed.yes > 200 && agreed.no > 200)
    for text in ["::", "::1", "1::", "fe80::1%eth0", "::ffff:1.2.3.4", "1:2:3:4:5:6:7:8", "1::8", "1:2:3:4:5:6:1.2.3.4"] {
      #expect(matches(text), "\(text)")
    }
  }

  @Test func `patterns of one's own, from a file or a folder`() throws {
    let folder = FileManager.default.temporaryDirectory.appending(path: "agg-grok-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    try "# mine\nMINE  %{WORD} is %{OTHER}\n\n".write(to: folder.appending(path: "a"), atomically: true, encoding: .utf8)
    try "OTHER (?:awesome|good)\nLOOP %{LOOP2}\nLOOP2 x%{LOOP}\n".write(
      to: folder.appending(path: "b"), atomically: true, encoding: .utf8)
    let path = "custom_pattern_path \(folder.path)"
    #expect(try Self.record("%{MINE:message}", "this is good!", path) == #"{"message":"this is good"}"#)
    #expect(try Self.record("%{OTHER:o}", "so good", path + "/b") == #"{"o":"good"}"#)
    let error = #expect(throws: ConfigErrors.self) { try Self.record("%{LOOP:x}", "", path) }
    #expect(error?.description.contains("names itself") ?? false)
  }

  @Test(arguments: [
    ("", "no grok patterns"), ("<grok>\npattern %{NOPE:x}\n</grok>", "test.conf:2: grok pattern not found: %{NOPE}"),
    ("grok_pattern %{TIMESTAMP_ISO8610:t}", "did you mean 'TIMESTAMP_ISO8601'"),
    ("grok_pattern %{WORD}", "names no field"), ("grok_pattern (%{WORD:a}", "no regular expression"),
    ("grok_pattern_series ecs-v1\ngrok_pattern %{WORD:a}", "ecs-v1"),
    ("grok_pattern %{WORD:a}\ncustom_pattern_path /nonexistent/x", "does not exist"),
  ])
  func `mistakes are told`(config: String, message: String) {
    let error = #expect(throws: ConfigErrors.self) { try Self.parser(config) }
    #expect(error?.description.contains(message) ?? false, "\(error?.description ?? "")")
  }

  @Test func `events of several lines`() throws {
    let parser = try PluginDriver().make(
      MultilineGrokParser.self,
      "grok_pattern %{TIMESTAMP_ISO8601:time} %{LOGLEVEL:level} %{GREEDYDATA:message}\nmultiline_start_regexp /^\\d{4}-/\ntime_format %Y-%m-%d %H:%M:%S\nutc true"
    )
    let text = Array("2020-01-02 03:04:05 INFO a\n b\nx\n2020-01-02 03:04:06 WARN c\n".utf8)
    #expect(parser.hasFirstLine)
    #expect(text.withUnsafeBytes { parser.eventStarts($0) } == [0, 32])
    #expect(parser.one("2020-01-02 03:04:05 INFO a\n b\nx").events == [#"1577934245 {"level":"INFO","message":"a\n b\nx"}"#])
  }
}
