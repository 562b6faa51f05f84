import AggCore
import AggEngine
import Testing

@Suite struct BreakerTests {
  private func at(_ seconds: UInt64) -> MonotonicTime { MonotonicTime(nanoseconds: seconds * 1_000_000_000) }
  private func goes(_ answer: Breaker.Answer) -> Breaker.Permit? { if case .go(let permit) = answer { permit } else { nil } }

  @Test func `while the destination works every attempt may begin`() {
    var breaker = Breaker()
    for _ in 0..<3 { #expect(goes(breaker.ask(now: at(0))) == .attempt) }
    #expect(breaker.succeeded() == nil)
  }

  @Test func `while it fails one probe at a time goes, and no sooner than its time`() {
    var breaker = Breaker()
    #expect(breaker.isStep(.attempt))
    #expect(breaker.failed(.attempt, now: at(0), next: at(5)))
    guard case .wait(let until) = breaker.ask(now: at(4)) else { return #expect(Bool(false), "goes before its time") }
    #expect(until == at(5))
    #expect(goes(breaker.ask(now: at(5))) == .probe)
    guard case .wait(nil) = breaker.ask(now: at(100)) else { return #expect(Bool(false), "two probes at once") }
    #expect(breaker.isStep(.probe))
    #expect(!breaker.failed(.probe, now: at(6), next: at(9)))
    #expect(goes(breaker.ask(now: at(8))) == nil)
    #expect(goes(breaker.ask(now: at(9))) == .probe)
    #expect(breaker.succeeded() == 2)
    #expect(goes(breaker.ask(now: at(9))) == .attempt)
    #expect(goes(breaker.ask(now: at(9))) == .attempt)
  }

  @Test func `failures of attempts that began before it opened are no further steps`() {
    var breaker = Breaker()
    #expect(breaker.failed(.attempt, now: at(0), next: at(1)))
    #expect(!breaker.isStep(.attempt))
    // It was told to wait longer.
    #expect(!breaker.failed(.attempt, now: at(0), next: at(3)))
    #expect(goes(breaker.ask(now: at(2))) == nil)
    #expect(goes(breaker.ask(now: at(3))) == .probe)
    // One that ends while a probe is under way does not end that one.
    #expect(!breaker.failed(.attempt, now: at(3), next: at(4)))
    #expect(goes(breaker.ask(now: at(10))) == nil)
    #expect(breaker.succeeded() == 3)
  }

  @Test func `a probe that says nothing makes room for the next`() {
    var breaker = Breaker()
    _ = breaker.failed(.attempt, now: at(0), next: at(1))
    #expect(goes(breaker.ask(now: at(1))) == .probe)
    breaker.gaveBack(.probe)
    #expect(breaker.state == .open)
    #expect(goes(breaker.ask(now: at(1))) == .probe)
  }

  @Test func `who hurries waits for no time, but for the probe`() {
    var breaker = Breaker()
    _ = breaker.failed(.attempt, now: at(0), next: at(60))
    #expect(goes(breaker.ask(now: at(1), hurrying: true)) == .probe)
    #expect(goes(breaker.ask(now: at(1), hurrying: true)) == nil)
    _ = breaker.failed(.probe, now: at(1), next: at(60))
    breaker.hurry()
    #expect(goes(breaker.ask(now: at(1))) == .probe)
  }
}
