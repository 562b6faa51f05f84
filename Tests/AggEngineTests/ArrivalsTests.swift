import AggCore
import AggEngine
import Testing

@Suite struct ArrivalsTests {
  private func at(_ milliseconds: UInt64) -> MonotonicTime { MonotonicTime(nanoseconds: milliseconds * 1_000_000) }

  @Test func `a histogram counts each thing once, under the first bound that is not passed`() {
    var histogram = LatencyHistogram()
    histogram.add(nanoseconds: -5)
    histogram.add(2, nanoseconds: 1_000_000)
    histogram.add(3, nanoseconds: 1_000_001)
    histogram.add(nanoseconds: 100_000_000_000_000)
    var other = LatencyHistogram()
    other.add(LatencyHistogram())
    #expect(other == LatencyHistogram() && other.cumulative.last?.count == 0)
    other.add(histogram)
    #expect(other == histogram && other.count == 7)
    #expect(abs(other.sum - 100_000.005_000_003) < 1e-6)
    let cumulative = other.cumulative
    #expect(cumulative.count == LatencyHistogram.bounds.count + 1 && cumulative[0].count == 3 && cumulative[1].count == 6)
    #expect(cumulative[cumulative.count - 2].count == 6 && cumulative[cumulative.count - 1] == (.infinity, 7))
    #expect(zip(LatencyHistogram.bounds, LatencyHistogram.bounds.dropFirst()).allSatisfy { $0 < $1 })
  }

  @Test func `reasons of drops are labels, and bounded`() {
    let counters = Counters(plugin: "p", type: "t", kind: "output")
    for n in 0..<1000 { counters.drop(1, "reason_\(n)") }
    counters.drop(5, "reason_3")
    let snapshot = counters.snapshot()
    #expect(snapshot.droppedTotal == 1005 && snapshot.dropped["reason_3"] == 6)
    #expect(snapshot.dropped.count == 65 && snapshot.dropped["other"] == 936)
  }

  @Test func `few batches are kept exactly`() {
    var arrivals = Arrivals()
    for n in 1...5 { arrivals.add(n, at: at(UInt64(n) * 1000)) }
    let ages = arrivals.ages(of: 15, now: at(6000))
    // 1 for 5 s, 2 for 4 s, 3 for 3 s, 4 for 2 s, 5 for 1 s.
    #expect(ages.count == 15 && abs(ages.sum - 35) < 1e-9)
    // Fewer than came: what is missing is among the latest.
    #expect(abs(arrivals.ages(of: 3, now: at(6000)).sum - 13) < 1e-9)
    #expect(arrivals.ages(of: 100, now: at(6000)).count == 15)
    arrivals.remove(6)
    #expect(arrivals.entries.map(\.count) == [1, 2, 3, 3])
    arrivals.remove(100)
    #expect(arrivals.entries.isEmpty)
  }

  @Test func `many batches take bounded room, and no age is told too short`() {
    var random = SystemRandomNumberGenerator()
    for _ in 0..<50 {
      var arrivals = Arrivals()
      var now: UInt64 = 0
      var exact = LatencyHistogram()
      var all: [(UInt64, Int)] = []
      for _ in 0..<Int.random(in: 1...3000, using: &random) {
        now += UInt64.random(in: 0...50, using: &random)
        let n = Int.random(in: 1...20, using: &random)
        all.append((now, n))
        arrivals.add(n, at: at(now))
        #expect(arrivals.entries.count <= Arrivals.limit)
      }
      now += UInt64.random(in: 1...1000, using: &random)
      for (time, n) in all { exact.add(n, nanoseconds: Int64(now - time) * 1_000_000) }
      let told = arrivals.ages(of: .max, now: at(now))
      #expect(told.count == exact.count)
      #expect(told.sum >= exact.sum - 1e-6 && told.sum <= exact.sum * 1.4 + 0.002 * Double(exact.count))
      for (a, b) in zip(told.cumulative, exact.cumulative) { #expect(a.count <= b.count) }
    }
  }

  @Test func `a chunk's events are measured from when their batches were taken in`() throws {
    var limits = BufferPlan.Limits()
    limits.mode = .immediate
    var plan = BufferPlan(limits: limits)
    let clock = BufferPlan.Clock(now: at(10_000), wall: 0)
    for (n, arrived) in [(2, UInt64(4_000)), (1, 9_000), (7, 9_500)] {
      let hasRoom = plan.reserve(10)
      #expect(hasRoom)
      let ticket = plan.place(ChunkMetadata(), bytes: 10, records: n, clock, arrived: at(arrived))
      _ = plan.finished(ticket, kept: n != 7)
    }
    guard case .chunk(let chunk) = plan.take(clock) else { throw ConfigValueError("not taken") }
    #expect(chunk.records == 3)
    #expect(abs(chunk.arrivals.ages(of: 3, now: at(10_000)).sum - 13) < 1e-9)
  }
}
