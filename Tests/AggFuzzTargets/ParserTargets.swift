import AggCore
import AggPlugins
import AggTesting
import Synchronization

/// Every parser plugin: a line is parsed or refused, gives only sound events, and nothing is read past the text.
enum ParserTargets {
  static let all = [syslog, ltsv, csv, tsv, access, regexp, structured, multiline, grok]

  private static func parsers(_ sections: [String]) -> [any Parser] {
    let driver = PluginDriver(
      PluginSet(parsers: [
        .init(SyslogParser.self), .init(LTSVParser.self), .init(CSVParser.self), .init(TSVParser.self), .init(ApacheParser.self),
        .init(Apache2Parser.self),
        .init(ApacheErrorParser.self), .init(NginxParser.self), .init(RegexpParser.self), .init(NoneParser.self),
        .init(JSONParser.self), .init(MessagePackParser.self),
        .init(MultiFormatParser.self), .init(MultilineTextParser.self), .init(GrokParser.self), .init(MultilineGrokParser.self),
      ]))
    return sections.map { text in
      do {
        let section = try driver.element(text, name: "parse")
        return try driver.context(section).parser(section)
      } catch { fatalError("\(text): \(error)") }  // a mistake in this file
    }
  }

  static func check(_ batch: EventBatch) throws {
    let again = batch.withBytes { EventBatch.validating($0, tag: Tag("fuzz")) }
    try Failure.unless(again.rejected == 0 && again.batch.count == batch.count, "not sound MessagePack")
  }

  private static func target(_ name: String, words: [String], short: Int = 4000, texts: [String], _ sections: [String])
    -> FuzzTarget
  {
    let parsers = Lazy { self.parsers(sections) }
    return FuzzTarget(name, words: words, short: short, texts: texts + [texts.joined(separator: "\n")]) { bytes in
      // A parser may read 64 bytes past the text, whatever they are.
      let padded = bytes + [UInt8](repeating: 0xaa, count: 64)
      try padded.withUnsafeBytes { raw in
        let text = UnsafeRawBufferPointer(rebasing: raw[..<bytes.count])
        for parser in parsers.value {
          var builder = BatchBuilder()
          var context = ParseContext(now: EventTime(seconds: 1_700_000_000))
          if bytes.count & 1 == 0 { context.timeOfUntimed = context.now }
          parser.parseLines(text, into: &builder, &context)
          for reject in context.rejects {
            try Failure.unless(
              reject.range.lowerBound >= 0 && reject.range.upperBound <= bytes.count, "a refused text outside: \(reject.range)")
          }
          let lines = builder.count
          try Failure.unless(context.untimed.allSatisfy { $0 < lines }, "an event that is not there has no time")
          let before = builder.byteCount
          // A record has no line end, unless the format says so.
          let takesLines = parser.isStream || parser is any MultilineParser
          let record = takesLines ? text : UnsafeRawBufferPointer(rebasing: text.prefix { $0 != 0x0a })
          if case .rejected = parser.parse(record, into: &builder, &context) {
            try Failure.unless(
              parser.isStream || (builder.count == lines && builder.byteCount == before), "something is left of a refused text")
          }
          if let parser = parser as? any MultilineParser {
            for start in parser.eventStarts(text) {
              try Failure.unless(start >= 0 && start <= bytes.count, "an event starts outside: \(start)")
            }
          }
          if parser.isStream, let complete = parser.completeLength(text) {
            try Failure.unless(complete <= bytes.count, "complete: \(complete)")
          }
          try check(builder.finish(tag: Tag("fuzz")))
        }
      }
    }
  }

  static let syslog = target(
    "syslog", words: ["<", ">", "[", "]", "\"", "\\", ": ", "  ", "Feb 29 23:59:60", "1 ", "-", "\n", "\u{feff}"],
    texts: [
      "<6>Feb 28 12:00:00 192.168.0.1 fluentd[11111]: [error] Syslog test",
      "<34>Oct  1 22:14:15 mymachine su: 'su root' failed for lonvick on /dev/pts/8",
      "<165>1 2003-10-11T22:14:15.003Z mymachine.example.com evntslog 1024 ID47 [exampleSDID@32473 iut=\"3\" x=\"a\\]b\"][b c=\"d\"] \u{feff}An event",
      "<13>1 2003-08-24T05:14:15.000003-07:00 192.0.2.1 myproc - - - no data", "<0>1 - - - - - -", "<191>Jan 1 1:2:3 h ident[: x",
      "<999>Feb 31 25:61:61 : ",
      "no priority at all",
    ],
    ["rfc3164", "rfc5424", "auto"].flatMap { format in
      ["regexp", "string"].flatMap { engine in
        ["true", "false"].map {
          "@type syslog\nmessage_format \(format)\nparser_engine \(engine)\nwith_priority \($0)\nsupport_colonless_ident true"
        }
      }
    })

  private static let types =
    "types n:integer,f:float,b:bool,t:time,a:array:;,s:string\ntime_key t\nkeep_time_key true\nnull_empty_string true"
  static let ltsv = target(
    "ltsv", words: ["\t", ":", "n:", "t:", "\n", ";"],
    texts: [
      "n:1\tf:2.5\tb:true\tt:2020-01-02 03:04:05\ta:x;y\ts:z", "time:1700000000\tmessage:a:b", "a", "\t\t:",
      "n:99999999999999999999",
    ],
    [
      "@type ltsv", "@type ltsv\n\(types)", "@type ltsv\ndelimiter_pattern /[\\s;]+/\nlabel_delimiter =",
      "@type ltsv\ndelimiter ab\nlabel_delimiter \"\\t\"",
    ])
  static let csv = target(
    "csv", words: [",", "\"", "\"\"", "\n", ";"],
    texts: ["1,2.5,true,2020-01-02 03:04:05,x;y,z", "\"a \"\"quoted\"\" b\",\"c,d\"", "\"open", "a,b,c,d,e,f,g,h,i", ",,,"],
    [
      "@type csv\nkeys n,f,b,t,a,s\n\(types)", "@type csv\nkeys a,b,c\nparser_engine fast",
      "@type csv\nkeys a,b\ndelimiter \"||\"",
    ])
  static let tsv = target(
    "tsv", words: ["\t", "\n", ";"], texts: ["1\t2.5\ttrue\t2020-01-02 03:04:05\tx;y\tz", "a", "\t\t\t", "1e999\t-0\tno"],
    ["@type tsv\nkeys n,f,b,t,a,s\n\(types)", "@type tsv\nkeys a,b\ndelimiter ,"])
  static let access = target(
    "access-log", words: ["[", "]", "\"", " - ", "10/Oct/2000:13:55:36 -0700", "HTTP/1.1", "200 ", "\\\""],
    texts: [
      "127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] \"GET /apache_pb.gif HTTP/1.0\" 200 2326 \"http://www.example.com/start.html\" \"Mozilla/4.08 [en] (Win98; I ;Nav)\"",
      "127.0.0.1 192.168.0.1 - [28/Feb/2013:12:00:00 +0900] \"GET / HTTP/1.1\" 200 777 \"-\" \"Opera/12.0\" -",
      "::1 - - [28/Feb/2013:12:00:00 +0900] \"-\" 408 - \"\\\"x\\\"\" \"\"",
      "[Wed Oct 11 14:32:52 2000] [error] [client 127.0.0.1] client denied by server configuration",
      "h - - [] \"\" 999999999999999999999 99999999999999999999",
    ], ["@type apache", "@type apache2", "@type apache_error", "@type nginx", "@type nginx\ntypes code:integer,size:integer"])
  static let regexp = target(
    "regexp-parser", words: ["=", " ", "2020-01-02 03:04:05", "\n"],
    texts: ["n=1 f=2.5 t=2020-01-02 03:04:05", "n= f= t=", "n=abc f=1e400 t=now"],
    [
      "@type regexp\nexpression /^n=(?<n>[^ ]*) f=(?<f>[^ ]*) t=(?<t>.*)$/\n\(types)",
      "@type regexp\nexpression /(?<a>\\w+)|(?<b>\\W+)/i", "@type none", "@type none\nmessage_key m\n\(types)",
    ])
  static let structured = target(
    "json-parser", words: ["{", "}", "\"t\":", ",", "1e400", "\\u0000", "null"],
    texts: [
      "{\"t\":\"2020-01-02 03:04:05\",\"n\":\"1\"}", "{\"t\":1700000000.5}", "{\"t\":9223372036854775807}", "[{\"a\":1}]",
      "{\"t\":-1e18}",
    ],
    [
      "@type json", "@type json\n\(types)", "@type json\ntime_key t\ntime_type float",
      "@type json\ntime_key t\ntime_type unixtime_millis", "@type msgpack",
      "@type msgpack\n\(types)",
      "@type multi_format\nformat_key f\n<pattern>\nformat json\n</pattern>\n<pattern>\nformat ltsv\n</pattern>\n<pattern>\nformat none\n</pattern>",
    ])
  static let multiline = target(
    "multiline", words: ["\n", "start ", " at ", "\r\n", "2020-01-02"],
    texts: ["2020-01-02 start one\n  at a\n  at b\n2020-01-03 start two", "no start\n\n", "2020-01-02 start"],
    [
      "@type multiline\nformat_firstline /^\\d{4}/\nformat1 /^(?<d>[^ ]*) start (?<m>.*)/",
      "@type multiline\nformat1 /(?<a>.)/\nunmatched_lines true",
    ])
  static let grok = target(
    "grok", words: [" ", "10/Oct/2000:13:55:36 -0700", "127.0.0.1", "\"", "\n", "[", "%{"], short: 1500,
    texts: [
      "127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] \"GET /a HTTP/1.0\" 200 2326 \"r\" \"a\"",
      "55.3.244.1 GET /index.html 15824 0.043", "2020-01-02T03:04:05Z WARN x",
    ],
    [
      "@type grok\ngrok_pattern %{COMBINEDAPACHELOG}",
      "@type grok\n<grok>\npattern %{IP:c} %{WORD:m} %{URIPATHPARAM:r} %{NUMBER:b:integer} %{NUMBER:d:float}\n</grok>\n<grok>\npattern %{TIMESTAMP_ISO8601:t} %{LOGLEVEL:l} %{GREEDYDATA:g}\n</grok>",
      "@type multiline_grok\ngrok_pattern %{IP:c}%{GREEDYDATA:m}\nmultiline_start_regexp /^\\d/",
    ])
}

/// Made when it is first asked for.
final class Lazy<T: Sendable>: Sendable {
  private let made: Mutex<T?> = Mutex(nil)
  private let make: @Sendable () -> T
  init(_ make: @escaping @Sendable () -> T) { self.make = make }
  var value: T {
    made.withLock { made in
      if let made { return made }
      let value = make()
      made = value
      return value
    }
  }
}
