import AggCore
import AggTesting
import Testing

/// A line that is an array makes an event of each object in it.
@Suite struct JSONArrayLineTests {
  static func run(_ text: String) -> (records: [String], rejects: [JSONTranscoder.Rejection]) {
    var input = ByteWriter(capacity: text.utf8.count)
    input.append(text)
    var builder = BatchBuilder(capacity: 64)
    var transcoder = JSONTranscoder()
    var rejects: [JSONTranscoder.Rejection] = []
    transcoder.transcodeLines(
      input.bytes, into: &builder, timeKey: Array("t".utf8), keepTimeKey: false,
      time: { value in value.map { $0.int64.map { EventTime(seconds: $0) } } ?? EventTime(seconds: 1) },
      rejects: { _, why in rejects.append(why) })
    return (builder.finish(tag: Tag("x")).jsonRecords, rejects)
  }

  @Test func `objects, blanks and nesting`() {
    let (records, rejects) = Self.run("[{\"a\":1,\"t\":5} , {\"b\":[{\"c\":2}]},{}]\r\n{\"d\":3}\n[]\n[ ]")
    #expect(records == ["{\"a\":1}", "{\"b\":[{\"c\":2}]}", "{}", "{\"d\":3}"])
    #expect(rejects.isEmpty)
  }

  @Test(arguments: ["[{\"a\":1},]", "[{\"a\":1}", "[{\"a\":1}]x", "[{\"a\":1}{\"b\":2}]", "[{\"a\":1},{\"b\":", "[,]", "[", "[{\"a\":1},{bad}]"])
  func `a broken array makes no event and takes nothing else with it`(text: String) {
    let (records, rejects) = Self.run("{\"x\":1}\n\(text)\n{\"y\":2}\n")
    #expect(records == ["{\"x\":1}", "{\"y\":2}"])
    #expect(rejects.count == 1)
    if case .invalid? = rejects.first {} else { Issue.record("\(rejects)") }
  }

  @Test func `what is no object is left out alone`() {
    let (records, rejects) = Self.run("[{\"a\":1},2,[{\"b\":1}],\"s\",{\"c\":3}]")
    #expect(records == ["{\"a\":1}", "{\"c\":3}"])
    #expect(rejects.count == 1)
  }

  @Test func `many objects and keys that come twice`() {
    let objects = (0..<3000).map { "{\"id\":\($0),\"ts\":\"a\",\"k\":1,\"k\":\($0)}" }
    let (records, rejects) = Self.run("[" + objects.joined(separator: ",") + "]")
    #expect(records == (0..<3000).map { "{\"id\":\($0),\"ts\":\"a\",\"k\":\($0)}" })
    #expect(rejects.isEmpty)
  }
}
