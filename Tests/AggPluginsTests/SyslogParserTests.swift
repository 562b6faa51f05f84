import AggCore
import AggPlugins
import AggTesting
import Testing

/// Texts and results of Fluentd's test_parser_syslog.rb where they are not this suite's own.
@Suite struct SyslogParserTests {
  private func syslog(_ text: String) throws -> SyslogParser { try PluginDriver().make(SyslogParser.self, text + "\ntimezone +00:00") }
  private func year() -> Int64 { Zone.utc.civil(at: testNow.seconds).year }

  @Test(arguments: ["regexp", "string"]) func `RFC 3164 lines take the current year`(engine: String) throws {
    let parser = try syslog("parser_engine \(engine)")
    let time = CivilTime(year: 2023, month: 2, day: 28, hour: 12).epochSeconds
    #expect(parser.lines("Feb 28 12:00:00 192.168.0.1 fluentd[11111]: [error] Syslog test").events == [
      #"\#(time) {"host":"192.168.0.1","ident":"fluentd","pid":"11111","message":"[error] Syslog test"}"#
    ])
    #expect(records(parser.lines("Feb 28 12:00:00 192.168.0.1 fluentd: [error] Syslog test")) == [#"{"host":"192.168.0.1","ident":"fluentd","message":"[error] Syslog test"}"#])
    #expect(records(parser.lines("Feb  5 17:32:18 10.0.0.99 Use the BFG!")).count == 1)
    let pri = try syslog("parser_engine \(engine)\nwith_priority true\nkeep_time_key true")
    #expect(records(pri.lines("<6>Feb  5 12:00:00 192.168.0.1 fluentd[11111]: [error] Syslog test\r")) == [
      engine == "regexp"
        ? #"{"pri":6,"time":"Feb 5 12:00:00","host":"192.168.0.1","ident":"fluentd","pid":"11111","message":"[error] Syslog test"}"#
        : #"{"host":"192.168.0.1","pri":6,"ident":"fluentd","pid":"11111","message":"[error] Syslog test","time":"Feb 5 12:00:00"}"#
    ])
    #expect(pri.lines("Feb 28 12:00:00 192.168.0.1 fluentd: x\n<>Feb 28 12:00:00 h i: x\n<6>Feb\n").events == [])
  }

  /// Within an hour only minutes and seconds are read: the same as where each line is read on its own.
  @Test(arguments: ["+00:00", "Europe/Berlin", "Australia/Lord_Howe"]) func `times of a block are those of its lines`(zone: String) throws {
    let parser: SyslogParser = try PluginDriver().make(SyslogParser.self, "timezone \(zone)")
    var random = SeededRandom(seed: 5)
    var lines: [String] = []
    for _ in 0..<2000 {
      func two(_ below: UInt64) -> String { String(100 + random.next() % below).dropFirst().description }
      let day = ["Mar 29", "Oct 25", "Oct  4", "Apr  5", "Feb 30", "Xxx 10"][Int(random.next() % 6)]
      // 24, 60 and 61 are no hours, minutes or seconds that all accept.
      lines.append("\(day) \(two(random.next() % 4 == 0 ? 25 : 3)):\(two(61)):\(two(62)) h a: x")
    }
    // In order too, so that an hour comes more than once in a row.
    for order in [lines, lines.sorted()] {
      #expect(parser.lines(order.joined(separator: "\n")).events == order.flatMap { parser.lines($0).events })
    }
  }

  @Test func `the engines differ on what an ident is`() throws {
    let line = "Feb 28 12:00:00 192.168.0.1 check wells: the \"Feb 28 12:00:00 192.168.0.1 fluentd[11111]: [error] Syslog test\""
    #expect(records(try syslog("").lines(line)) == [
      #"{"host":"192.168.0.1","ident":"check","message":"the \"Feb 28 12:00:00 192.168.0.1 fluentd[11111]: [error] Syslog test\""}"#
    ])
    #expect(records(try syslog("parser_type string").lines("Feb 28 12:00:00 h fluentd[1] [error] x\nFeb 28 12:00:00 h single\nFeb 28 12:00:00 h a b: c")) == [
      #"{"host":"h","ident":"fluentd","pid":"1","message":"[error] x"}"#, #"{"host":"h","message":"single"}"#, #"{"host":"h","ident":"a","message":"b: c"}"#,
    ])
    #expect(records(try syslog("parser_type string\nsupport_colonless_ident false").lines("Feb 28 12:00:00 h a b: c")) == [#"{"host":"h","message":"a b: c"}"#])
  }

  @Test(arguments: ["regexp", "string"]) func `RFC 5424 lines`(engine: String) throws {
    let parser = try syslog("message_format rfc5424\nwith_priority true\nparser_engine \(engine)")
    func record(_ sd: String, _ message: String?) -> String {
      let tail = #""extradata":"\#(sd)""# + (message.map { #","message":"\#($0)""# } ?? "") + "}"
      return (engine == "regexp" ? #"{"pri":16,"host":"192.168.0.1","ident":"fluentd","pid":"11111","msgid":"ID24224","#
        : #"{"host":"192.168.0.1","ident":"fluentd","pid":"11111","msgid":"ID24224","pri":16,"#) + tail
    }
    let head = "<16>1 2017-02-06T13:14:15.003Z 192.168.0.1 fluentd 11111 ID24224 "
    #expect(parser.lines(head + "- Hi, from Fluentd!").events == ["1486386855.3000000 " + record("-", "Hi, from Fluentd!")])
    #expect(records(parser.lines(head + #"[ex@1 iut="3" x="Hi\"]"] Hi"#)).count == 1)
    #expect(records(parser.lines(head + "[ex@1 a=\"3\"][b@2 c=\"d\"] Hi, from")) == [record(#"[ex@1 a=\"3\"][b@2 c=\"d\"]"#, "Hi, from")])
    #expect(records(parser.lines(head + "-")) == [record("-", nil)])
    #expect(records(parser.lines(head + "[a b=\"c\"]")) == [record(#"[a b=\"c\"]"#, nil)])
    #expect(parser.lines("<16>1 2017-02-06T13:14:15Z h i 1 m - x").events.first?.hasPrefix("1486386855 ") == true)
    #expect(parser.lines("<16>1 2017-02-06T13:14:15Z h i\n16 x\n<16>1 nonsense h i p m - x\n").events == [])
    #expect(records(parser.one(head + "- two\nlines\n")) == [record("-", #"two\nlines"#)])
  }

  @Test func `a backslash stays with the regexp engine and goes with the string engine`() throws {
    let line = #"<14>1 2024-05-05T05:05:05Z host app 1 id [x@1 a="1 \" 2"] escaped sd"#
    #expect(records(try syslog("message_format rfc5424\nwith_priority true").lines(line)).first?.contains(#""extradata":"[x@1 a=\"1 \\\" 2\"]""#) == true)
    #expect(records(try syslog("message_format rfc5424\nwith_priority true\nparser_engine string").lines(line)).first?.contains(#""extradata":"[x@1 a=\"1 \" 2\"]""#) == true)
  }

  @Test func `auto reads each line by its look`() throws {
    let parser = try syslog("message_format auto\nwith_priority true")
    #expect(records(parser.lines("<1>Feb 28 12:00:00 h fluentd[1]: [error] x\n<16>1 2017-02-06T13:14:15.003Z h fluentd - - - Hi")) == [
      #"{"pri":1,"host":"h","ident":"fluentd","pid":"1","message":"[error] x"}"#,
      #"{"pri":16,"host":"h","ident":"fluentd","pid":"-","msgid":"-","extradata":"-","message":"Hi"}"#,
    ])
  }

  @Test func `other time formats have other numbers of words`() throws {
    let parser = try syslog("time_format %Y-%m-%dT%H:%M:%S.%L%z\nwith_priority true")
    #expect(parser.lines("<6>2016-03-03T10:14:29.123Z h fluentd[1]: x").events == [#"1457000069.123000000 {"pri":6,"host":"h","ident":"fluentd","pid":"1","message":"x"}"#])
    let words = try syslog("time_format %b %d %Y %H:%M:%S")
    #expect(words.lines("Feb  5 2024 12:00:00 h i: x").events == [#"1707134400 {"host":"h","ident":"i","message":"x"}"#])
  }

  @Test(arguments: [7, 8, 9] as [UInt64]) func `the scanners take what Fluentd's expressions take`(seed: UInt64) throws {
    let bsd = try Regexp(#"(?<host>[^ ]*) (?<ident>[^ :\[]*)(?:\[(?<pid>[0-9]+)\])?(?:[^\:]*\:)? *(?<message>.*)$"#)
    let ietf = try Regexp(
      #"(?<host>[!-~]{1,255}) (?<ident>[!-~]{1,48}) (?<pid>[!-~]{1,128}) (?<msgid>[!-~]{1,32}) (?<extradata>(?:\-|(?:\[.*?(?<!\\)\])))(?: (?<message>.+))?\z"#,
      options: .multiline)
    var random = SeededRandom(seed: seed)
    func pick(_ list: [String]) -> String { list[Int(random.next() % UInt64(list.count))] }
    let words = ["host", "a[1]:", "b:", "c", "", "[12]", "d[x]:", "é", "-", "[s a=\"1\"]", "[s a=\"\\]\"]", "e:f", String(repeating: "l", count: 60), "]", "[q", "x\r", "\\"]
    let old = try syslog("")
    let new = try syslog("message_format rfc5424\ntime_format %s")
    for _ in 0..<4000 {
      let body = (0..<Int(random.next() % 9)).map { _ in pick(words) }.joined(separator: " ")
      check(old, "Feb 28 12:00:00 ", body, bsd)
      check(new, "1700000000 ", body, ietf)
    }
  }

  private func check(_ parser: SyslogParser, _ head: String, _ body: String, _ regexp: Regexp) {
    var text = head + body
    let expected: String? = text.withUTF8 { bytes in
      var matcher = regexp.matcher()
      guard matcher.match(UnsafeRawBufferPointer(bytes), from: head.utf8.count) else { return nil }
      let pairs = regexp.names.enumerated().compactMap { i, name -> FieldMap.Field? in
        guard let range = matcher.range(ofName: i) else { return nil }
        var value = Array(bytes[range])
        if name == "message", value.last == 0x0d { value.removeLast() }
        return FieldMap.Field(key: Value(name), value: .string(value))
      }
      var out = ByteWriter()
      FieldMap(pairs).encode(into: &out)
      var json = ByteWriter()
      guard let base = out.bytes.baseAddress else { return nil }
      _ = JSONFormatter.write(ValueView(unchecked: base), into: &json)
      return json.string
    }
    #expect(records(parser.one(text)).first == expected, "\(text)")
  }
}
