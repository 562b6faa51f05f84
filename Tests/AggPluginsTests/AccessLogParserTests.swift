import AggCore
import AggPlugins
import AggTesting
import Testing

@Suite struct AccessLogParserTests {
  @Test func `nginx lines, with and without forwarded addresses`() throws {
    let parser = try PluginDriver().make(NginxParser.self, "")
    let parsed = parser.lines(
      #"""
      203.0.113.5 - alice [10/Mar/2024:06:07:08 +0000] "GET /i.html?x=%20 HTTP/2.0" 200 512 "-" "curl/8"
      203.0.113.6 - - [10/Mar/2024:06:07:09 +0000] "" 400 0 "-" "-"
      1.2.3.4 - - [10/Mar/2024:06:07:10 +0000] "GET /a b  HTTP/1.1" 200 5
      1.2.3.4 - - [10/Mar/2024:06:07:10 +0100] "GET /" 200 5 "r" "a" "10.0.0.1, 10.0.0.2"
      1.2.3.4 - - [10/Mar/2024:06:07:10 +0100] "GET /" 200 5 "r" "a" -
      nope
      """#)
    #expect(parsed.events == [
      #"1710050828 {"remote":"203.0.113.5","host":"-","user":"alice","method":"GET","path":"/i.html?x=%20","code":"200","size":"512","referer":"-","agent":"curl/8"}"#,
      #"1710050830 {"remote":"1.2.3.4","host":"-","user":"-","method":"GET","path":"/a b","code":"200","size":"5"}"#,
      #"1710047230 {"remote":"1.2.3.4","host":"-","user":"-","method":"GET","path":"/","code":"200","size":"5","referer":"r","agent":"a","http_x_forwarded_for":"10.0.0.1, 10.0.0.2"}"#,
      #"1710047230 {"remote":"1.2.3.4","host":"-","user":"-","method":"GET","path":"/","code":"200","size":"5","referer":"r","agent":"a","http_x_forwarded_for":"-"}"#,
    ])
    #expect(parsed.rejects.count == 2)
  }

  @Test func `apache2 lines have numbers and nulls`() throws {
    let parser = try PluginDriver().make(Apache2Parser.self, "keep_time_key true")
    let parsed = parser.lines(
      #"""
      192.168.0.1 - - [28/Feb/2024:12:00:00 +0900] "GET /a/b?q=1 HTTP/1.1" 200 777
      10.0.0.2 ident bob [28/Feb/2024:12:00:01 +0900] "POST /x HTTP/1.0" 404 - "http://ref.example/" "Agent \"1\" (x; y)"
      ::1 - - [28/Feb/2024:12:00:02 +0000] "-" 408 0
      - - - [28/Feb/2024:12:00:03 +0000] "GET /sp ace HTTP/1.1" 0x 12b "-" "-"
      a - - [no time] "GET / HTTP/1.1" 200 1
      not apache
      """#)
    #expect(parsed.events == [
      #"1709089200 {"host":"192.168.0.1","user":null,"method":"GET","path":"/a/b?q=1","code":200,"size":777,"referer":null,"agent":null,"time":"28/Feb/2024:12:00:00 +0900"}"#,
      #"1709089201 {"host":"10.0.0.2","user":"bob","method":"POST","path":"/x","code":404,"size":null,"referer":"http://ref.example/","agent":"Agent \\\"1\\\" (x; y)","time":"28/Feb/2024:12:00:01 +0900"}"#,
      #"1709121602 {"host":"::1","user":null,"method":"-","path":null,"code":408,"size":0,"referer":null,"agent":null,"time":"28/Feb/2024:12:00:02 +0000"}"#,
      #"1709121603 {"host":null,"user":null,"method":"GET","path":"/sp ace","code":null,"size":12,"referer":null,"agent":null,"time":"28/Feb/2024:12:00:03 +0000"}"#,
    ])
    #expect(parsed.rejects.count == 2)
  }

  @Test func `apache and apache_error lines`() throws {
    let apache = try PluginDriver().make(ApacheParser.self, "types code:integer")
    #expect(apache.lines(#"1.1.1.1 - u [28/Feb/2024:12:00:00 +0900] "GET / HTTP/1.1" 200 777 "-" "x""#).events == [
      #"1709089200 {"host":"1.1.1.1","user":"u","method":"GET","path":"/","code":200,"size":"777","referer":"-","agent":"x"}"#
    ])
    let errors = try PluginDriver().make(ApacheErrorParser.self, "")
    #expect(records(errors.lines("[Wed Oct 11 14:32:52 2023] [error] [client 127.0.0.1] client denied\n[Thu Oct 12 01:02:03.123456 2023] [core:notice] [pid 4321:tid 99] AH00094")) == [
      #"{"level":"error","client":"127.0.0.1","message":"client denied"}"#, #"{"level":"core:notice","pid":"4321:tid 99","message":"AH00094"}"#,
    ])
  }

  /// Lines made of pieces that are each legal or nearly so.
  static func lines(_ seed: UInt64, _ count: Int) -> [String] {
    var random = SeededRandom(seed: seed)
    func pick(_ list: [String]) -> String { list[Int(random.next() % UInt64(list.count))] }
    let words = ["-", "a", "1.2.3.4", "", "x\"y", "b\\", "é", "[", "]", "\t", "200", "\"", "a b"]
    let requests = [
      "GET /x HTTP/1.1", "GET /x", "GET  /a b  HTTP/1.1", "-", "", "GET /q\"z HTTP/1.1", "GET /\\\" HTTP/1.1", "G\tT /x y", "GET ", "GET /x\tHTTP/1.1",
      "GET /x HTTP/1.1 ", "POST /a\\", " GET /x y", "GET /x \"y",
    ]
    let times = ["10/Mar/2024:06:07:08 +0000", "10/Mar/2024:06:07:09 +0900", "bad", "10/Mar/2024:06:07:08 +0000]"]
    let tails = ["", "-", "curl/8", "a \"b\"", "x\\\"y", "z\\", "é ü", "\t"]
    let ends = ["", "", "", " \"10.0.0.1\"", " -", "  ", " \"", " \"a\" b", "\r", " x\"", "x", "\t\"y"]
    return (0..<count).map { _ in
      var line = "\(pick(words)) \(pick(words)) \(pick(words)) [\(pick(times))] \"\(pick(requests))\" \(pick(words)) \(pick(words))"
      if random.next() % 4 != 0 { line += " \"\(pick(tails))\" \"\(pick(tails))\"\(pick(ends))" }
      if random.next() % 16 == 0, !line.isEmpty { line.remove(at: line.index(line.startIndex, offsetBy: Int(random.next() % UInt64(line.count)))) }
      return line
    }
  }

  @Test(arguments: [1, 2, 3] as [UInt64]) func `what nginx's scanner takes is what the expression takes`(seed: UInt64) throws {
    let scanner = try PluginDriver().make(NginxParser.self, "keep_time_key true")
    let text = Self.lines(seed, 4000).joined(separator: "\n")
    // A source that differs in form only keeps the scanner out.
    let expression = try PluginDriver().make(NginxParser.self, "keep_time_key true\nexpression /(?:)\(NginxParser.standard)/")
    let (a, b) = (scanner.lines(text), expression.lines(text))
    #expect(a.events.count > 400)
    #expect(zip(a.events, b.events).first { $0 != $1 } == nil)
    #expect(a == b)
  }

  @Test(arguments: [4, 5, 6] as [UInt64]) func `what apache2's scanner takes is what the expression takes`(seed: UInt64) throws {
    let parser = try PluginDriver().make(Apache2Parser.self, "")
    let regexp = try Regexp(Apache2Parser.standard)
    let times = try TimeParser(format: "%d/%b/%Y:%H:%M:%S %z", zone: .utc)
    var taken = 0
    for line in Self.lines(seed, 4000) {
      let record = records(parser.lines(line)).first
      var bytes = line
      let expected: String? = bytes.withUTF8 { text in
        var matcher = regexp.matcher()
        guard matcher.match(UnsafeRawBufferPointer(text)) else { return nil }
        func group(_ i: Int) -> String? { matcher.range(of: i).map { String(decoding: text[$0], as: UTF8.self) } }
        guard let time = group(3), times.parse(time) != nil else { return nil }
        func value(_ text: String?) -> Value { text.map { $0 == "-" ? .null : Value($0) } ?? .null }
        func number(_ text: String?) -> Int64 { Int64(String((text ?? "").prefix { $0.isASCII && $0.isNumber })) ?? 0 }
        let code = number(group(6))
        let pairs: [(String, Value)] = [
          ("host", value(group(1))), ("user", value(group(2))), ("method", group(4).map { Value($0) } ?? .null), ("path", group(5).map { Value($0) } ?? .null),
          ("code", code == 0 ? .null : .int(code)), ("size", group(7) == "-" ? .null : .int(number(group(7)))), ("referer", value(group(8))),
          ("agent", value(group(9))),
        ]
        var out = ByteWriter()
        Value.map(FieldMap(pairs.map { .init(key: Value($0), value: $1) })).encode(into: &out)
        var json = ByteWriter()
        guard let base = out.bytes.baseAddress else { return nil }
        _ = JSONFormatter.write(ValueView(unchecked: base), into: &json)
        return json.string
      }
      if record != nil { taken += 1 }
      #expect(record == expected, "\(line)")
    }
    #expect(taken > 400)
  }
}
