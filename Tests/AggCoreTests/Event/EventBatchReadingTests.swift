import AggCore
import AggTesting
import Testing

@Suite struct EventBatchReadingTests {
  private let tag = Tag("t.x")

  private func batch(_ n: Int) -> EventBatch {
    var builder = BatchBuilder()
    for i in 0..<n {
      builder.begin()
      (["i": .int(Int64(i)), "s": "text", "nested": ["list": [1, ["k": "v"]]]] as Value).encode(into: &builder.writer)
      builder.commit(time: EventTime(seconds: Int64(1000 + i), nanoseconds: 5))
    }
    return builder.finish(tag: tag)
  }
  private func numbers(_ batch: EventBatch) -> [Int64] {
    var result: [Int64] = []
    batch.forEachEvent { _, record in result.append(record.find("i")?.int64 ?? -1) }
    return result
  }
  private func entries(_ values: Value...) -> [UInt8] {
    var writer = ByteWriter()
    for value in values { value.encode(into: &writer) }
    return writer.array
  }
  private func validated(_ bytes: [UInt8], zeroTime: EventTime? = nil) -> ValidatedBatch {
    bytes.withUnsafeBytes { EventBatch.validating($0, tag: tag, zeroTime: zeroTime) }
  }
  private func times(_ batch: EventBatch) -> [EventTime] {
    var result: [EventTime] = []
    batch.forEachEvent { time, _ in result.append(time) }
    return result
  }

  @Test func `events are read in place`() throws {
    let batch = batch(3)
    #expect(numbers(batch) == [0, 1, 2])
    #expect(times(batch).map(\.seconds) == [1000, 1001, 1002])
    var seen = 0
    batch.forEachEvent { time, record in
      seen += 1
      #expect(time.nanoseconds == 5)
      #expect(record.fieldCount == 3)
      #expect(record.find("s")?.string == "text")
      #expect(record.find("absent") == nil)
      #expect(record.find("nested")?.map?.find("list")?.element(1)?.map?.find("k")?.equals("v") == true)
      var keys: [String] = []
      record.forEachField { key, _ in keys.append(key.string ?? "") }
      #expect(keys == ["i", "s", "nested"])
    }
    #expect(seen == 3)
    EventBatch.empty(tag).forEachEvent { _, _ in Issue.record("no event") }
  }

  @Test func `filtering shares the block where one run is kept`() {
    let batch = batch(10)
    let all = batch.filtered { _, _ in true }
    #expect(all.block === batch.block && all.range == batch.range && all.count == 10)
    let tail = batch.filtered { time, _ in time.seconds >= 1004 }
    #expect(tail.block === batch.block && numbers(tail) == [4, 5, 6, 7, 8, 9])
    let even = batch.filtered { time, _ in time.seconds % 2 == 0 }
    #expect(even.count == 5 && numbers(even) == [0, 2, 4, 6, 8])
    #expect(numbers(tail.filtered { time, _ in time.seconds % 3 == 0 }) == [5, 8])
    #expect(batch.filtered { _, _ in false }.isEmpty)
  }

  @Test func `a batch is split by position and by event`() {
    let batch = batch(10)
    let (first, rest) = batch.split(at: 3)
    #expect(numbers(first) == [0, 1, 2] && numbers(rest) == [3, 4, 5, 6, 7, 8, 9])
    #expect(numbers(rest.prefix(2)) == [3, 4])
    #expect(batch.prefix(0).isEmpty && batch.prefix(99).count == 10 && batch.dropFirst(10).isEmpty)
    let (odd, even) = batch.split { time, _ in time.seconds % 2 == 1 }
    #expect(numbers(odd) == [1, 3, 5, 7, 9] && numbers(even) == [0, 2, 4, 6, 8])
  }

  @Test func `a batch is rewritten event by event`() {
    let result = batch(3).rewritten { time, record, builder in
      guard record.find("i")?.int64 != 1 else { return }
      var fields = FieldMap(record)
      fields["nested"] = nil
      fields["new"] = "x"
      builder.begin()
      fields.encode(into: &builder.writer)
      builder.commit(time: time)
    }
    #expect(numbers(result) == [0, 2])
    result.forEachEvent { _, record in #expect(Value(record)["new"] == "x" && record.find("nested") == nil) }
    #expect(times(batch(2).retimed { _, _ in EventTime(seconds: 7) }).map(\.seconds) == [7, 7])
  }

  @Test func `times outside the 32 bits of EventTime stay what they are, in whole seconds`() {
    var builder = BatchBuilder()
    for seconds in [-5, 0, Int64(UInt32.max), Int64(UInt32.max) + 1] as [Int64] {
      builder.begin()
      builder.writer.putMapHeader(1)
      builder.writer.putString("n" as StaticString)
      builder.writer.putInt(seconds)
      builder.commit(time: EventTime(seconds: seconds, nanoseconds: 7))
    }
    let batch = builder.finish(tag: Tag("t"))
    var times: [Int64] = []
    batch.forEachEvent { time, record in
      times.append(time.seconds)
      #expect(record.find("n" as StaticString)?.int64 == time.seconds)
    }
    #expect(times == [-5, 0, Int64(UInt32.max), Int64(UInt32.max) + 1])
    let again = batch.withBytes { EventBatch.validating($0, tag: Tag("t")) }
    #expect(again.rejected == 0 && again.batch.count == 4)
  }

  @Test func `normal entries become a batch without a copy`() {
    let block = batch(5).block
    let result = EventBatch.validating(block, tag: tag, zeroTime: .now())
    #expect(result.batch.block === block && result.batch.count == 5 && result.rejected == 0 && result.reason == nil)
    let bytes = entries([1_700_000_000, ["i": 1]], [.ext(type: 0, [0, 0, 0, 9, 0, 0, 0, 1]), ["i": 2]])
    #expect(numbers(validated(bytes).batch) == [1, 2])
    #expect(times(validated(bytes).batch) == [EventTime(seconds: 1_700_000_000), EventTime(seconds: 9, nanoseconds: 1)])
  }

  @Test func `other forms of entries are normalised`() {
    let now = EventTime(seconds: 42, nanoseconds: 1)
    let bytes = entries(
      [[.ext(type: 0, [0, 0, 0, 9, 0, 0, 0, 1]), ["meta": 1]], ["i": 1]], [1.5, ["i": 2]], [0, ["i": 3]], [nil, ["i": 4]],
      [-5, ["i": 5]], [7, ["i": 6], "option"])
    let result = validated(bytes + [0xdc, 0, 2, 8, 0x81, 0xd9, 1, 0x69, 7], zeroTime: now)
    #expect(result.rejected == 0)
    #expect(numbers(result.batch) == [1, 2, 3, 4, 5, 6, 7])
    #expect(
      times(result.batch) == [
        EventTime(seconds: 9, nanoseconds: 1), EventTime(seconds: 1, nanoseconds: 500_000_000), now, now, EventTime(seconds: -5),
        EventTime(seconds: 7), EventTime(seconds: 8),
      ])
  }

  @Test func `wrong entries are rejected one by one`() {
    let bytes = entries([5, ["i": 1]], [5, "no map"], "no array", [5], ["no time", ["i": 0]], [5, ["i": 2]], [], [5, nil])
    let result = validated(bytes)
    #expect(numbers(result.batch) == [1, 2])
    #expect(result.rejected == 6)
    #expect(result.reason == "a record is no map")
  }

  @Test func `a broken structure rejects the rest`() {
    let good = entries([5, ["i": 1]])
    for bad in [[0x92, 0x05, 0x81, 0xc1], [0x92, 0x05, 0x81], [0xc1], [0x92, 0xd7, 0x00, 0, 0, 0]] as [[UInt8]] {
      let result = validated(good + bad)
      #expect(numbers(result.batch) == [1] && result.rejected == 1 && result.reason != nil)
    }
    let deep = validated(good + [0x92, 0x05, 0x81, 0xa0] + [UInt8](repeating: 0x91, count: 200) + [0xc0])
    #expect(deep.batch.count == 1 && deep.rejected == 1)
    #expect(validated([]).batch.isEmpty)
  }

  @Test func `mutated batches never lead a reader astray`() {
    var random = SeededRandom(seed: 2)
    let original = batch(4).withBytes { Array($0) }
    for _ in 0..<20_000 {
      var bytes = original
      for _ in 0..<Int.random(in: 1...4, using: &random) {
        bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
      }
      bytes.removeLast(Int.random(in: 0...3, using: &random))
      let result = validated(bytes)
      var seen = 0
      result.batch.forEachEvent { _, record in
        seen += 1
        _ = Value(record)
      }
      #expect(seen == result.batch.count)
    }
  }
}
