import AggCore
import AggEngine
import AggTesting
import Testing

@Suite struct ChunkDividerTests {
  /// Times around a change of Berlin's clocks, 2026-10-25 01:00 UTC, and around midnights there and in UTC.
  @Test(arguments: [1, 60, 1800, 3600, 7200, 86400], ["+00:00", "Europe/Berlin", "Asia/Kolkata"])
  func `slices are the same whether the times' bounds are known or not`(length: Int64, zone: String) throws {
    var keys = ChunkKeys()
    keys.time = true
    keys.timekey = length
    keys.timekeyZone = zone
    let divider = try ChunkDivider(keys)
    var random = SeededRandom(seed: UInt64(length))
    let change: Int64 = 1_792_890_000
    for span: UInt64 in [1, 50, 4000, 200_000] {
      for _ in 0..<60 {
        let start = change - 100_000 + Int64(random.next() % 200_000)
        var builder = BatchBuilder()
        for n in 0..<5 {
          builder.begin()
          builder.writer.putMapHeader(1)
          builder.writer.putString("n" as StaticString)
          builder.writer.putInt(Int64(n))
          builder.commit(time: EventTime(seconds: start + Int64(random.next() % span)))
        }
        let known = builder.finish(tag: Tag("t"))
        #expect(known.times.isKnown)
        let unknown = EventBatch(unchecked: known.block, range: known.range, count: known.count, tag: known.tag)
        let (a, b) = (divider.divide(known), divider.divide(unknown))
        #expect(a.map(\.metadata) == b.map(\.metadata))
        #expect(a.map(\.batch.jsonRecords) == b.map(\.batch.jsonRecords))
        #expect(a.map { $0.metadata.timekey } == Self.slices(known, divider))
      }
    }
  }
  private static func slices(_ batch: EventBatch, _ divider: ChunkDivider) -> [Int64?] {
    var all: [Int64] = []
    batch.forEachEvent { time, _ in if let slice = divider.timekey(time.seconds), !all.contains(slice) { all.append(slice) } }
    return all
  }
}
