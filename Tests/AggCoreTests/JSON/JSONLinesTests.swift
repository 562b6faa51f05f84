import AggCore
import AggTesting
import Testing

@Suite struct JSONLinesTests {
  private struct Parsed: Equatable {
    var records: [Value] = []
    var times: [EventTime] = []
    var rejected: [String] = []
  }
  private func parse(
    _ text: String, timeKey: String? = nil, keep: Bool = false, padding: UInt8 = 0x20,
    time: (ValueView?) -> EventTime? = { $0?.eventTime }
  ) -> Parsed {
    let input = Array(text.utf8)
    return (input + [UInt8](repeating: padding, count: 64)).withUnsafeBytes { buffer in
      let block = UnsafeRawBufferPointer(rebasing: buffer[..<input.count])
      var builder = BatchBuilder(capacity: 64)
      var transcoder = JSONTranscoder()
      var parsed = Parsed()
      func reject(_ range: Range<Int>, _ why: JSONTranscoder.Rejection) {
        parsed.rejected.append("\(why): " + String(decoding: block[range], as: UTF8.self))
      }
      if let timeKey {
        transcoder.transcodeLines(
          block, into: &builder, timeKey: Array(timeKey.utf8), keepTimeKey: keep, time: time, rejects: reject)
      } else {
        transcoder.transcodeLines(block, into: &builder, time: EventTime(seconds: 5), rejects: reject)
      }
      let batch = builder.finish(tag: Tag("t"))
      batch.withBytes { #expect(EventBatch.validating($0, tag: Tag("t")).batch.count == batch.count) }
      batch.forEachEvent {
        parsed.times.append($0)
        parsed.records.append(Value($1))
      }
      #expect(parsed.records.count == batch.count)
      return parsed
    }
  }

  @Test func `a line is a record and a bad line is rejected alone`() {
    let lines = [
      #"{"a":1}"#, "{}{}", #"{"a":1} x"#, #"{"a":"#, "1}", "", "  \t", #" {"b":2} "# + "\r", "\"str\"", "nonsense", #"{"c":3}"#,
    ]
    for padding in Array("0\"}{ \n".utf8) {
      let parsed = parse(lines.joined(separator: "\n"), padding: padding)
      #expect(parsed.records == [["a": 1], ["b": 2], ["c": 3]])
      #expect(parsed.times == [EventTime](repeating: EventTime(seconds: 5), count: 3))
      #expect(
        parsed.rejected == [
          "invalid: {}{}", #"invalid: {"a":1} x"#, #"invalid: {"a":"#, "invalid: 1}", "notAnObject: \"str\"", "invalid: nonsense",
        ])
    }
  }

  @Test func `a last line counts with and without its newline`() {
    #expect(parse("{}\n{}").records.count == 2)
    #expect(parse("{}\n{}\n").records.count == 2)
    #expect(parse("{}\n{").rejected == ["invalid: {"])
    #expect(parse("") == Parsed())
    #expect(parse("\n\n") == Parsed())
  }

  @Test func `an array of objects makes an event of each`() {
    let parsed = parse(#"[{"a":1,"time":7},2,{"a":3,"time":8}]"#, timeKey: "time")
    #expect(parsed.records == [["a": 1], ["a": 3]])
    #expect(parsed.times.map(\.seconds) == [7, 8])
    #expect(parsed.rejected.count == 1)
    #expect(parse("[]").rejected.isEmpty)
  }

  @Test func `blocks of the smallest and of the worst lines do not overflow`() {
    #expect(parse(String(repeating: "{}\n", count: 100_000)).records.count == 100_000)
    let worst = "{\"\":[" + repeatElement("1e1", count: 20).joined(separator: ",") + "]}\n"
    #expect(parse(String(repeating: worst, count: 3000)).records.count == 3000)
    #expect(parse(String(repeating: "\u{01}\n", count: 10_000)).rejected.count == 10_000)
    #expect(parse(String(repeating: "{\"a\":false,\"b\":false}\n", count: 10_000)).records.count == 10_000)
  }

  @Test func `the time key's value becomes the time and is removed`() {
    let lines = #"""
      {"time":1700000000,"v":1}
      {"v":2,"time":1700000001.5}
      {"v":{"time":3}}
      {"v":4,"time":{"no":"time"}}
      {"a":1,"time":1,"b":2,"time":9}
      {"a":[1,2,{"time":1}],"time":10,"c":"x"}
      """#
    let estimated = EventTime(seconds: 99)
    let parsed = parse(lines, timeKey: "time") { view in view.map { $0.eventTime } ?? estimated }
    #expect(
      parsed.records == [["v": 1], ["v": 2], ["v": ["time": 3]], ["a": 1, "b": 2], ["a": [1, 2, ["time": 1]], "c": "x"]])
    #expect(parsed.times.map(\.doubleValue) == [1_700_000_000, 1_700_000_001.5, 99, 9, 10])
    #expect(parsed.rejected == [#"badTime: {"v":4,"time":{"no":"time"}}"#])
    let kept = parse(#"{"time":5,"v":1}"#, timeKey: "time", keep: true)
    #expect(kept.records == [["time": 5, "v": 1]] && kept.times == [EventTime(seconds: 5)])
  }

  @Test func `removing the time key narrows the header again`() {
    for n in [1, 2, 15, 16, 17, 65_536] {
      for place in Set([0, n / 2, n - 1]) {
        var fields = (0..<n - 1).map { "\"key\($0)\":\($0)" }
        fields.insert("\"ts\":77", at: place)
        let parsed = parse("{\(fields.joined(separator: ","))}\n{}", timeKey: "ts") { $0?.eventTime ?? EventTime(seconds: 1) }
        #expect(parsed.times.map(\.seconds) == [77, 1])
        #expect(parsed.records.first?.map?.count == n - 1)
        #expect(parsed.records.first == .map(FieldMap((0..<n - 1).map { .init(key: Value("key\($0)"), value: .int(Int64($0))) })))
      }
    }
  }

  @Test func `mutated lines neither crash nor disturb the lines after them`() {
    var random = SeededRandom(seed: 3)
    let line = Array(#"{"a":"é\n\u00e9日本","b":[1,-2.5e3,{"c":null}],"d":12345678901234567890,"e":true,"time":17}"#.utf8)
    let good = Array("\n{\"good\":1}\n".utf8)
    for _ in 0..<20_000 {
      var bytes = line
      for _ in 0..<Int.random(in: 1...4, using: &random) {
        let at = Int.random(in: 0..<bytes.count, using: &random)
        switch Int.random(in: 0..<4, using: &random) {
        case 0: bytes[at] = UInt8.random(in: 0...255, using: &random)
        case 1: bytes.remove(at: at)
        case 2: bytes.insert(Array("{}[]\",:\\0e.-".utf8).randomElement(using: &random)!, at: at)
        default: bytes[at] = bytes[Int.random(in: 0..<bytes.count, using: &random)]
        }
      }
      bytes += good
      var last: Value?
      var padded = bytes
      for _ in 0..<64 { padded.append(UInt8.random(in: 0...255, using: &random)) }
      padded.withUnsafeBytes {
        var builder = BatchBuilder(capacity: 64)
        var transcoder = JSONTranscoder()
        transcoder.transcodeLines(
          UnsafeRawBufferPointer(rebasing: $0[..<bytes.count]), into: &builder, timeKey: Array("time".utf8), keepTimeKey: false,
          time: { _ in EventTime(seconds: 1) }, rejects: { _, _ in })
        let batch = builder.finish(tag: Tag("t"))
        let checked = batch.withBytes { EventBatch.validating($0, tag: Tag("t")) }
        #expect(checked.rejected == 0 && checked.batch.count == batch.count)
        batch.forEachEvent { last = Value($1) }
        // What was read is printed and read again: the text is a fixpoint.
        var first = ByteWriter()
        JSONFormatter.writeLines(batch, into: &first) { _ in }
        var again = BatchBuilder()
        var second = ByteWriter()
        transcoder.transcodeLines(first.bytes, into: &again, time: EventTime(seconds: 1)) { _, _ in
          Issue.record("printed text is JSON")
        }
        JSONFormatter.writeLines(again.finish(tag: Tag("t")), into: &second) { _ in }
        let (printed, reprinted) = (first.array, second.array)
        #expect(printed == reprinted)
      }
      #expect(last == ["good": 1])
    }
  }
}
