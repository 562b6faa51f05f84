import AggCore
import AggPlugins
import AggTesting
import Foundation
import Testing

@Suite struct TailMultilineTests {
  /// What in_tail makes of a file, once it has `count` events.
  private func tail(_ text: String, _ parse: String, _ more: String = "", count: Int) async throws -> [String] {
    let directory = FileManager.default.temporaryDirectory.appending(path: "agg-tail-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: directory) }
    let file = directory.appending(path: "in.log")
    try text.write(to: file, atomically: false, encoding: .utf8)
    let driver = PluginDriver(PluginSet(parsers: [.init(MultilineTextParser.self)]))
    let input = try driver.make(TailInput.self, "path \(file.path)\ntag t\nread_from_head true\n\(more)\n<parse>\n@type multiline\n\(parse)\n</parse>")
    let sink = driver.sink
    // It blocks its thread between passes.
    let task = Task(executorPreference: BlockingPool()) { try await input.run(Emitter(sink)) }
    for _ in 0..<200 where sink.batches.reduce(0, { $0 + $1.count }) < count { try await Task.sleep(for: .milliseconds(20)) }
    task.cancel()
    _ = try? await task.value
    return sink.batches.flatMap(\.jsonRecords)
  }

  @Test func `lines before the first event are dropped, or looked at one by one`() async throws {
    let text = "lost\nk=early\n>a\n1\n2\n>b\n>c\n"
    let parse = "format_firstline /^>/\nformat1 /^(?<h>>\\w)(?:\\n(?<rest>.*))?$/"
    #expect(try await tail(text, parse, count: 2) == [#"{"h":">a","rest":"1\n2"}"#, #"{"h":">b"}"#])
    #expect(try await tail(text, parse, "emit_unmatched_lines true", count: 4) == [
      #"{"unmatched_line":"lost"}"#, #"{"unmatched_line":"k=early"}"#, #"{"h":">a","rest":"1\n2"}"#, #"{"h":">b"}"#,
    ])
  }

  @Test func `without a first line, lines are joined until they match, and no event comes twice`() async throws {
    #expect(try await tail("b 1\ne 2\nb 3\ne 4\n", "format1 /^b (?<x>\\d)\\ne (?<y>\\d)/", count: 2) == [#"{"x":"1","y":"2"}"#, #"{"x":"3","y":"4"}"#])
    #expect(try await tail("a tail\na other\n", "format1 /^(?<k>a) /", count: 2) == [#"{"k":"a"}"#, #"{"k":"a"}"#])
  }
}
