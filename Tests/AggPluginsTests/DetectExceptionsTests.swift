import AggCore
import AggPlugins
import AggTesting
import Foundation
import Testing

@Suite struct DetectExceptionsTests {
  /// One record a line, with its line break where `breaks`.
  static func records(_ texts: [String], field: String = "message", breaks: Bool = true, more: String = "") throws -> [String] {
    try texts.flatMap { $0.components(separatedBy: "\n") }.enumerated().map { index, line in
      try Self.record(line + (breaks ? "\n" : ""), index, field, more)
    }
  }
  static func record(_ text: String, _ n: Int, _ field: String = "message", _ more: String = "") throws -> String {
    let encoded = String(decoding: try JSONEncoder().encode(text), as: UTF8.self).replacingOccurrences(of: "\\/", with: "/")
    return #"{"n":\#(n),"\#(field)":\#(encoded)\#(more)}"#
  }
  static func texts(_ records: [String], field: String = "message") throws -> [String] {
    try records.map { try #require((JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any])?[field] as? String) }
  }
  static func bench(_ config: String = "") throws -> HoldingBench { try HoldingBench(DetectExceptionsFilter.self, config) }

  @Test(arguments: StackTraces.all.map { [$0.language, $0.trace] }) func `a trace is one event, between others`(_ pair: [String])
    throws
  {
    let (language, trace) = (pair[0], pair[1])
    for languages in [language, "all", "go,\(language.uppercased())"] {
      let bench = try Self.bench("languages \(languages)")
      let result = try bench.add(Self.records(["before", trace, "after", trace, trace, "after"]))
      let expected = ["before", trace, "after", trace, trace, "after"].map { $0 + "\n" }
      #expect(try Self.texts(result) == expected, "\(languages)")
      #expect(bench.stored.isEmpty)
    }
  }

  @Test func `traces of other languages stay lines`() throws {
    let bench = try Self.bench("languages ruby")
    let input = try Self.records([StackTraces.java, StackTraces.python, StackTraces.go])
    #expect(try bench.add(input) == input)
  }

  @Test func `a joined event has time and fields of its first line`() throws {
    let bench = try Self.bench("message log")
    let lines = try Self.records([StackTraces.php, "after"], field: "log", more: #","k":"v""#)
    let result = try bench.add(lines.enumerated().map { (Int64($0.offset), $0.element) })
    #expect(result.count == 2)
    #expect(result[0].hasPrefix(#"0 {"n":0,"log":"PHP Fatal error:"#) && result[0].hasSuffix(#","k":"v"}"#))
    #expect(result[1].hasPrefix("5 "))
  }

  @Test func `message, then log, is the field where none is named`() throws {
    for field in ["message", "log"] {
      #expect(
        try Self.texts(Self.bench().add(Self.records([StackTraces.python], field: field)), field: field) == [
          StackTraces.python + "\n"
        ])
    }
    let other = try Self.records([StackTraces.python], field: "text")
    #expect(try Self.bench().add(other) == other)
    #expect(try Self.bench("message missing").add(other) == other)
  }

  @Test func `lines without a break get one on request`() throws {
    let input = try Self.records([StackTraces.python], breaks: false)
    #expect(try Self.texts(Self.bench().add(input)) == [StackTraces.python.replacingOccurrences(of: "\n", with: "")])
    #expect(try Self.texts(Self.bench("force_line_breaks true").add(input)) == [StackTraces.python])
  }

  @Test func `streams do not disturb each other`() throws {
    let a = try Self.records([StackTraces.python], more: #","s":"a""#)
    let b = try Self.records([StackTraces.php], more: #","s":"b""#)
    var mixed: [String] = []
    for index in 0..<max(a.count, b.count) { mixed += [a, b].compactMap { index < $0.count ? $0[index] : nil } }
    let result = try Self.texts(Self.bench("stream s").add(mixed))
    #expect(Set(result) == [StackTraces.python + "\n", StackTraces.php + "\n"])
    #expect(try Self.bench().add(mixed).count > 2)
  }

  @Test func `a trace is let go at its limits, and what follows begins anew`() throws {
    let lines = StackTraces.java.components(separatedBy: "\n").map { $0 + "\n" }
    let input = try Self.records([StackTraces.java])
    #expect(
      try Self.texts(Self.bench("max_lines 3").add(input + [#"{"message":"x\n"}"#])).dropLast() == [
        lines[0...2].joined(), lines[3], lines[4...6].joined(), lines[7], lines[8],
      ])
    let size = lines[0...1].joined().utf8.count
    #expect(
      try Self.texts(Self.bench("max_bytes \(size)").add(input + [#"{"message":"x\n"}"#])).prefix(2) == [
        lines[0...1].joined(), lines[2],
      ])
  }

  @Test func `an event without the field ends a trace and is not lost`() throws {
    let input = try Self.records([StackTraces.go])
    let result = try Self.bench().add(Array(input[0..<4]) + [#"{"other":1}"#] + [input[4]])
    #expect(result.count == 3 && result[1] == #"{"other":1}"#)
  }

  @Test func `a trace goes on over batches, refusals and a restart`() async throws {
    let input = try Self.records([StackTraces.java, "after"])
    for cut in 1..<input.count - 1 {
      let first = try Self.bench()
      #expect(try first.add(Array(input[..<cut])) == [])
      let again = input[cut...].map { (Int64(1), $0) }
      #expect(try first.add(again, refusing: true).count == 2)
      let second = try Self.bench()
      second.filter.restore(first.stored)
      var sink = FilterSink()
      let rest = try second.filter.filter(.json(Array(input[cut...])), &sink)
      #expect(try Self.texts(rest.jsonRecords) == [StackTraces.java + "\n", "after\n"], "\(cut)")
      #expect(sink.held == -1)
      #expect(try first.add(again).count == 2)
    }
    let last = try Self.bench()
    _ = try last.add(Array(input[..<3]))
    #expect(await last.end().count == 1)
    #expect(last.routes == [.downstream])
  }

  @Test func `the output takes the prefix off the tag and lets go to its label`() async throws {
    let driver = PluginDriver()
    let output = try driver.make(DetectExceptionsOutput.self, "remove_tag_prefix raw\nlanguages python")
    let bench = HoldingBench(output, driver.counters)
    func route(_ records: [String], tag: String) throws -> [String] {
      var transaction = Transaction()
      var missing = transaction
      #expect(throws: EmitError.self) { try output.route(.json(["{}"]), &missing) }
      #expect(missing.missing.count == 1)
      transaction.gates = [output.gate]
      try output.route(.json(records, tag: tag), &transaction)
      transaction.committed()
      return transaction.deliveries.flatMap { delivery in
        delivery.batch.jsonRecords.map { _ in "\(delivery.destination.id) \(delivery.batch.tag)" }
      }
    }
    let lines = try Self.records([StackTraces.python])
    #expect(try route(["{}"] + lines, tag: "raw.app") == ["@ROOT app", "@ROOT app"])
    #expect(try route(lines, tag: "rawer.app") == ["@ROOT rawer.app"])
    #expect(try route(Array(lines[..<3]), tag: "raw.app") == [])
    #expect(driver.counters.snapshot()[.held] == 1)
    #expect(driver.counters.snapshot()[.merged] == (lines.count - 1) * 2 + 2)
    let released = await HoldingEnd.end(bench)
    #expect(released.map { $0.prefix(4) } == ["app "])
    #expect(bench.routes == [.label("@ROOT")])
  }

  @Test(arguments: ["languages cobol", "max_lines -1", "multiline_flush_interval 0"]) func `options that mean nothing are errors`(
    config: String
  ) {
    #expect(throws: ConfigErrors.self) { try Self.bench(config) }
    #expect(throws: ConfigErrors.self) { try PluginDriver().make(DetectExceptionsOutput.self, "languages java") }
  }
}

/// Lets go what was held without the bench having seen the batches.
private enum HoldingEnd {
  static func end(_ bench: HoldingBench) async -> [String] {
    let recorder = Recorder()
    let task = Task { await bench.filter.run(HoldEmitter(recorder)) }
    task.cancel()
    await task.value
    bench.note(recorder.routes)
    return recorder.lines
  }
  private final class Recorder: HoldService, @unchecked Sendable {  // used by one task
    var lines: [String] = []
    var routes: [HoldEmitter.Route] = []
    func emit(to route: HoldEmitter.Route, _ make: @Sendable () -> HoldEmission?) async throws(EmitError) {
      guard let emission = make() else { return }
      routes.append(route)
      for batch in emission.batches { lines += batch.jsonRecords.map { "\(batch.tag) \($0)" } }
      emission.onCommit()
    }
  }
}
