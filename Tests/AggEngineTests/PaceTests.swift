import AggCore
package import AggEngine
import Testing

@Suite struct PaceTests {
  private static func at(_ milliseconds: UInt64) -> MonotonicTime { MonotonicTime(nanoseconds: milliseconds * 1_000_000) }
  /// Whether it is fast after one delivery of `bytes` every `step` milliseconds, `n` times, from `start` on.
  private static func pace(_ bytes: Int, every step: UInt64, _ n: UInt64, from start: UInt64 = 1000) -> Pace {
    var pace = Pace()
    for i in 0..<n { pace.delivered(bytes, at: at(start + i * step)) }
    return pace
  }

  @Test func `what empties fast is waited for`() {
    #expect(Self.pace(1 << 20, every: 10, 10).isFast(at: Self.at(1100)))
  }
  @Test func `what is slow has its buffer for itself`() {
    #expect(!Self.pace(1 << 20, every: 50, 10).isFast(at: Self.at(1500)))
    // One delivery says nothing, however large.
    #expect(!Self.pace(1 << 30, every: 1, 1).isFast(at: Self.at(1001)))
  }
  @Test func `what has stopped is not waited for, and begins anew`() {
    var pace = Self.pace(8 << 20, every: 10, 10)
    #expect(pace.isFast(at: Self.at(1290)))
    #expect(!pace.isFast(at: Self.at(1291)))
    pace.delivered(8 << 20, at: Self.at(5000))
    #expect(!pace.isFast(at: Self.at(5001)))
    // The pause is not a part of its time.
    pace.delivered(8 << 20, at: Self.at(5030))
    #expect(pace.isFast(at: Self.at(5031)))
  }
}
