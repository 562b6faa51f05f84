import AggCore
import AggEngine
import Testing

@Suite struct BreakerTests {
  /// A breaker and a clock in seconds.
  private final class Bench {
    var breaker = Breaker()
    private func at(_ seconds: UInt64) -> MonotonicTime { MonotonicTime(nanoseconds: seconds * 1_000_000_000) }
    /// What may begin now; nil: it has to wait.
    func ask(_ now: UInt64, hurrying: Bool = false) -> Breaker.Permit? {
      if case .go(let permit) = breaker.ask(now: at(now), hurrying: hurrying) { permit } else { nil }
    }
    /// How long to wait, in seconds; nil: for the probe.
    func waits(_ now: UInt64) -> UInt64? {
      if case .wait(let until?) = breaker.ask(now: at(now)) { until.nanoseconds / 1_000_000_000 } else { nil }
    }
    func fail(_ permit: Breaker.Permit, _ now: UInt64, next: UInt64) -> Bool { breaker.failed(permit, now: at(now), next: at(next)) }
    func succeed() -> Int? { breaker.succeeded() }
  }

  @Test func `while the destination works every attempt may begin`() {
    let bench = Bench()
    for _ in 0..<3 { #expect(bench.ask(0) == .attempt) }
    #expect(bench.succeed() == nil)
  }

  @Test func `while it fails one probe at a time goes, and no sooner than its time`() {
    let bench = Bench()
    #expect(bench.breaker.isStep(.attempt))
    #expect(bench.fail(.attempt, 0, next: 5))
    #expect(bench.waits(4) == 5)
    #expect(bench.ask(5) == .probe)
    #expect(bench.ask(100) == nil)
    #expect(bench.waits(100) == nil)
    #expect(bench.breaker.isStep(.probe))
    #expect(!bench.fail(.probe, 6, next: 9))
    #expect(bench.ask(8) == nil)
    #expect(bench.ask(9) == .probe)
    #expect(bench.succeed() == 2)
    for _ in 0..<2 { #expect(bench.ask(9) == .attempt) }
  }

  @Test func `failures of attempts that began before it opened are no further steps`() {
    let bench = Bench()
    #expect(bench.fail(.attempt, 0, next: 1))
    #expect(!bench.breaker.isStep(.attempt))
    // It was told to wait longer.
    #expect(!bench.fail(.attempt, 0, next: 3))
    #expect(bench.ask(2) == nil)
    #expect(bench.ask(3) == .probe)
    // One that ends while a probe is under way does not end that one.
    #expect(!bench.fail(.attempt, 3, next: 4))
    #expect(bench.ask(10) == nil)
    #expect(bench.succeed() == 3)
  }

  @Test func `a probe that says nothing makes room for the next`() {
    let bench = Bench()
    _ = bench.fail(.attempt, 0, next: 1)
    #expect(bench.ask(1) == .probe)
    bench.breaker.gaveBack(.probe)
    #expect(bench.breaker.state == .open)
    #expect(bench.ask(1) == .probe)
  }

  @Test func `who hurries waits for no time, but for the probe`() {
    let bench = Bench()
    _ = bench.fail(.attempt, 0, next: 60)
    #expect(bench.ask(1, hurrying: true) == .probe)
    #expect(bench.ask(1, hurrying: true) == nil)
    _ = bench.fail(.probe, 1, next: 60)
    bench.breaker.hurry()
    #expect(bench.ask(1) == .probe)
  }
}
