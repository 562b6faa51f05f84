import AggCore
import AggPlugins
import AggTesting
import Testing

/// Damaged syslog lines are parsed or refused, and never read past their end.
@Suite(.serialized) struct SyslogFuzzTests {
  static let lines = [
    "<6>Feb 28 12:00:00 192.168.0.1 fluentd[11111]: [error] Syslog test",
    "<34>Oct  1 22:14:15 mymachine su: 'su root' failed for lonvick on /dev/pts/8",
    "<165>1 2003-10-11T22:14:15.003Z mymachine.example.com evntslog 1024 ID47 [exampleSDID@32473 iut=\"3\" x=\"a\\]b\"][b c=\"d\"] \u{feff}An event",
    "<13>1 2003-08-24T05:14:15.000003-07:00 192.0.2.1 myproc - - - no data",
    "<0>1 - - - - - -", "<191>Jan 1 1:2:3 h ident[: x", "<999>Feb 31 25:61:61 : ", "no priority at all",
  ]

  @Test func syslog() throws {
    let driver = PluginDriver(builtins)
    var parsers: [any Parser] = []
    for format in ["rfc3164", "rfc5424", "auto"] {
      for engine in ["regexp", "string"] {
        for priority in [true, false] {
          let section = try driver.element(
            "@type syslog\nmessage_format \(format)\nparser_engine \(engine)\nwith_priority \(priority)\nsupport_colonless_ident true", name: "parse")
          parsers.append(try driver.context(section).parser(section))
        }
      }
    }
    let corpus = Self.lines.map { Array($0.utf8) } + [Array(Self.lines.joined(separator: "\n").utf8)]
    Fuzzer("syslog", corpus: corpus, words: ["<", ">", "[", "]", "\"", "\\", ": ", "  ", "Feb 29 23:59:60", "1 ", "-", "\n", "\u{feff}"], short: 4000).run { bytes in
      // A parser may read 64 bytes past the text.
      let padded = bytes + [UInt8](repeating: 0xaa, count: 64)
      padded.withUnsafeBytes { raw in
        for parser in parsers {
          var builder = BatchBuilder()
          var context = ParseContext()
          parser.parseLines(UnsafeRawBufferPointer(rebasing: raw[..<bytes.count]), into: &builder, &context)
          let batch = builder.finish(tag: Tag("fuzz"))
          let again = batch.withBytes { EventBatch.validating($0, tag: Tag("fuzz")) }
          #expect(again.rejected == 0 && again.batch.count == batch.count)
          for reject in context.rejects { #expect(reject.range.lowerBound >= 0 && reject.range.upperBound <= bytes.count) }
        }
      }
    }
  }
}
