import AggCore
import AggPlugins
import AggTesting
import Testing

@Suite struct SampleInputTests {
  /// Runs the input until it has made `count` events, and takes that many.
  static func run(_ config: String, _ count: Int) async throws -> [String] {
    let driver = PluginDriver()
    let input = try driver.make(SampleInput.self, config)
    let task = Task { try await input.run(Emitter(driver.sink)) }
    while driver.sink.batches.reduce(0, { $0 + $1.count }) < count { try await Task.sleep(for: .milliseconds(5)) }
    task.cancel()
    try await task.value
    return Array(driver.sink.batches.flatMap(\.jsonRecords).prefix(count))
  }

  @Test func `samples take turns and a counter keeps its place`() async throws {
    let records = try await Self.run(#"tag t\#nrate 20\#nauto_increment_key id\#nsample [{"a":1},{"id":"x","b":[2]}]"#, 3)
    #expect(records == [#"{"a":1,"id":0}"#, #"{"id":1,"b":[2]}"#, #"{"a":1,"id":2}"#])
  }

  @Test func `rate times size events a second, under the older names`() async throws {
    #expect(try await Self.run(#"tag t\#nrate 10\#nsize 3\#ndummy {"a":1}"#, 3) == Array(repeating: #"{"a":1}"#, count: 3))
    #expect(try await Self.run("tag t\nrate 100", 1) == [#"{"message":"sample"}"#])
  }

  @Test(arguments: ["tag t\nsample 1", "tag t\nsample [1]", "tag t\nsample []", "sample {}"])
  func `what is no record is an error`(config: String) {
    #expect(throws: ConfigErrors.self) { try PluginDriver().make(SampleInput.self, config) }
  }
}
