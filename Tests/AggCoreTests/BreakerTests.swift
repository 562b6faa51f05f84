import AggCore
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
    for _ in 0..<3 { #expect(bench.ask(0)?.isProbe == false) }
    #expect(bench.succeed() == nil)
  }

  @Test func `while it fails one probe at a time goes, and no sooner than its time`() throws {
    let bench = Bench()
    let first = try #require(bench.ask(0))
    #expect(bench.breaker.isStep(first))
    #expect(bench.fail(first, 0, next: 5))
    #expect(bench.waits(4) == 5)
    let probe = try #require(bench.ask(5))
    #expect(probe.isProbe)
    #expect(bench.ask(100) == nil)
    #expect(bench.waits(100) == nil)
    #expect(bench.breaker.isStep(probe))
    #expect(!bench.fail(probe, 6, next: 9))
    #expect(bench.ask(8) == nil)
    #expect(bench.ask(9)?.isProbe == true)
    #expect(bench.succeed() == 2)
    for _ in 0..<2 { #expect(bench.ask(9)?.isProbe == false) }
  }

  @Test func `failures of attempts that began before it opened are no further steps`() throws {
    let bench = Bench()
    let first = try #require(bench.ask(0))
    let second = try #require(bench.ask(0))
    let third = try #require(bench.ask(0))
    #expect(bench.fail(first, 0, next: 1))
    #expect(!bench.breaker.isStep(second))
    // It was told to wait longer.
    #expect(!bench.fail(second, 0, next: 3))
    #expect(bench.ask(2) == nil)
    #expect(bench.ask(3)?.isProbe == true)
    // One that ends while a probe is under way does not end that one.
    #expect(!bench.fail(third, 3, next: 4))
    #expect(bench.ask(10) == nil)
    #expect(bench.succeed() == 3)
  }

  @Test func `a failure of an attempt that began before it closed does not open it again`() throws {
    let bench = Bench()
    let first = try #require(bench.ask(0))
    let late = try #require(bench.ask(0))
    let later = try #require(bench.ask(0))
    #expect(bench.fail(first, 1, next: 2))
    let probe = try #require(bench.ask(2))
    #expect(bench.succeed() == 1)
    #expect(!bench.breaker.isStep(late))
    #expect(!bench.fail(late, 3, next: 4))
    #expect(bench.breaker.state == .closed)
    // The probe of the time before, which a late success overtook.
    #expect(!bench.fail(probe, 3, next: 4))
    let now = try #require(bench.ask(3))
    #expect(!now.isProbe)
    // The next outage is another one: its probe is not theirs.
    #expect(bench.fail(now, 4, next: 5))
    #expect(bench.ask(5)?.isProbe == true)
    bench.breaker.gaveBack(probe)
    #expect(!bench.fail(later, 5, next: 6))
    #expect(bench.breaker.state == .halfOpen)
    #expect(bench.succeed() == 1)
  }

  @Test func `a probe that says nothing makes room for the next`() throws {
    let bench = Bench()
    _ = bench.fail(try #require(bench.ask(0)), 0, next: 1)
    let probe = try #require(bench.ask(1))
    bench.breaker.gaveBack(probe)
    #expect(bench.breaker.state == .open)
    #expect(bench.ask(1)?.isProbe == true)
  }

  @Test func `who hurries waits for no time, but for the probe`() throws {
    let bench = Bench()
    _ = bench.fail(try #require(bench.ask(0)), 0, next: 60)
    let probe = try #require(bench.ask(1, hurrying: true))
    #expect(probe.isProbe)
    #expect(bench.ask(1, hurrying: true) == nil)
    _ = bench.fail(probe, 1, next: 60)
    bench.breaker.hurry()
    #expect(bench.ask(1)?.isProbe == true)
  }
}
