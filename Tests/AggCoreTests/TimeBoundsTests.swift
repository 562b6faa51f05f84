import AggCore
import AggTesting
import Testing

@Suite struct TimeBoundsTests {
  private static func batch(_ seconds: [Int64]) -> EventBatch {
    var builder = BatchBuilder()
    for (n, second) in seconds.enumerated() {
      builder.begin()
      builder.writer.putMapHeader(1)
      builder.writer.putString("n" as StaticString)
      builder.writer.putInt(Int64(n))
      builder.commit(time: EventTime(seconds: second, nanoseconds: 5))
    }
    return builder.finish(tag: Tag("t"))
  }
  private static func bounds(_ batch: EventBatch) -> [Int64]? { batch.times.isKnown ? [Int64(batch.times.low), Int64(batch.times.high)] : nil }

  @Test func `a builder knows the times that it was given`() {
    #expect(Self.bounds(Self.batch([7, 3, 5])) == [3, 7])
    #expect(Self.bounds(Self.batch([0, 0])) == [0, 0])
    #expect(Self.bounds(Self.batch([])) == nil)
    #expect(Self.bounds(Self.batch([0, Int64(UInt32.max)])) == nil)
  }
  @Test func `times that EventTime cannot hold leave nothing known`() {
    for wide: Int64 in [-1, Int64(UInt32.max) + 1] {
      #expect(Self.bounds(Self.batch([7, wide, 5])) == nil)
      #expect(Self.bounds(Self.batch([wide])) == nil)
    }
  }
  @Test func `parts of a batch lie within its bounds`() {
    let batch = Self.batch([7, 3, 5, 9])
    #expect(Self.bounds(batch.tagged(Tag("u"))) == [3, 9])
    #expect(Self.bounds(batch.prefix(1)) == [3, 9])
    #expect(Self.bounds(batch.dropFirst(1)) == [3, 9])
    #expect(Self.bounds(batch.filtered { time, _ in time.seconds != 3 }) == [3, 9])
    #expect(Self.bounds(batch.filtered { time, _ in time.seconds == 3 }) == [3, 9])
    #expect(Self.bounds(batch.retimed { time, _ in EventTime(seconds: time.seconds + 10) }) == [13, 19])
    #expect(Self.bounds(batch.rewritten { _, _, _ in }) == nil)
  }
  @Test func `validated entries tell their times, in each form`() throws {
    var out = ByteWriter()
    func entry(_ time: [UInt8]) {
      out.append(0x92 as UInt8)
      out.append(time)
      out.append([0x81, 0xa1, 0x61, 0x01])
    }
    entry([0xd7, 0, 0, 0, 0, 9, 0, 0, 0, 1])
    entry([0xce, 0, 0, 0, 4])
    entry([0xc7, 8, 0, 0, 0, 0, 6, 0, 0, 0, 1])
    let known = EventBatch.validating(out.bytes, tag: Tag("t"))
    #expect(known.batch.count == 3 && known.rejected == 0)
    #expect(Self.bounds(known.batch) == [4, 9])
    // One that has to be normalised: a float.
    entry([0xcb, 0x40, 0, 0, 0, 0, 0, 0, 0])
    let normalised = EventBatch.validating(out.bytes, tag: Tag("t"))
    #expect(normalised.batch.count == 4)
    #expect(Self.bounds(normalised.batch) == [2, 9])
    entry([0xd3, 0, 0, 1, 0, 0, 0, 0, 0])
    #expect(Self.bounds(EventBatch.validating(out.bytes, tag: Tag("t")).batch) == nil)
  }
}
