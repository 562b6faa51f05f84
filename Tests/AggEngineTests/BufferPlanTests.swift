import AggCore
import AggEngine
import Testing

@Suite struct BufferPlanTests {
  private func clock(_ seconds: UInt64, wall: Int64 = 0) -> BufferPlan.Clock {
    BufferPlan.Clock(now: MonotonicTime(nanoseconds: seconds * 1_000_000_000), wall: wall)
  }
  private func append(_ plan: inout BufferPlan, _ bytes: Int, _ n: Int, _ clock: BufferPlan.Clock) -> BufferPlan.Ticket? {
    guard plan.reserve(bytes) else { return nil }
    return plan.place(ChunkMetadata(), bytes: bytes, records: n, clock)
  }

  @Test func `a chunk with an open ticket is never taken`() throws {
    var limits = BufferPlan.Limits()
    limits.mode = .immediate
    var plan = BufferPlan(limits: limits)
    let firstAppend = append(&plan, 10, 1, clock(0))
    let first = try #require(firstAppend)
    _ = plan.finished(first, kept: true)
    let secondAppend = append(&plan, 10, 1, clock(0))
    let second = try #require(secondAppend)
    #expect(second.chunk == first.chunk)
    if case .chunk = plan.take(clock(1)) { Issue.record("taken while an append is open") }
    let ready = plan.finished(second, kept: true)
    #expect(ready)
    guard case .chunk(let chunk) = plan.take(clock(1)) else { throw ConfigValueError("not taken") }
    #expect(chunk.records == 2)
  }

  @Test func `a voided append is uncharged`() throws {
    var plan = BufferPlan(limits: .init())
    let ticketAppend = append(&plan, 100, 3, clock(0))
    let ticket = try #require(ticketAppend)
    _ = plan.finished(ticket, kept: false)
    #expect(plan.totalBytes == 0)
    #expect(plan.records == 0)
    #expect(plan.reservedBytes == 0)
  }

  @Test func `a buffer at its limit refuses until a chunk is gone`() throws {
    var limits = BufferPlan.Limits()
    limits.totalBytes = 100
    limits.mode = .immediate
    var plan = BufferPlan(limits: limits)
    let ticketAppend = append(&plan, 100, 1, clock(0))
    let ticket = try #require(ticketAppend)
    let refused = append(&plan, 1, 1, clock(0))
    #expect(refused == nil)
    _ = plan.finished(ticket, kept: true)
    guard case .chunk(let chunk) = plan.take(clock(0)) else { throw ConfigValueError("not taken") }
    plan.removed(chunk.id)
    let taken = append(&plan, 1, 1, clock(0))
    #expect(taken != nil)
  }

  @Test func `an interval buffer gives its chunk at its age and says when`() throws {
    var limits = BufferPlan.Limits()
    limits.flushInterval = 5_000_000_000
    var plan = BufferPlan(limits: limits)
    let ticketAppend = append(&plan, 1, 1, clock(10))
    let ticket = try #require(ticketAppend)
    _ = plan.finished(ticket, kept: true)
    guard case .wait(let until) = plan.take(clock(12)) else { throw ConfigValueError("too early") }
    #expect(until == MonotonicTime(nanoseconds: 15_000_000_000))
    guard case .chunk = plan.take(clock(15)) else { throw ConfigValueError("not due") }
  }

  @Test func `a failed chunk is the next one again`() throws {
    var limits = BufferPlan.Limits()
    limits.chunkRecords = 1
    var plan = BufferPlan(limits: limits)
    for _ in 0..<3 { let ticket = append(&plan, 1, 1, clock(0))
      _ = plan.finished(try #require(ticket), kept: true) }
    guard case .chunk(let first) = plan.take(clock(0)) else { throw ConfigValueError("none") }
    plan.failed(first.id)
    guard case .chunk(let again) = plan.take(clock(0)) else { throw ConfigValueError("none") }
    #expect(first.id == again.id)
    #expect(plan.queuedCount == 2)
  }

  @Test func `a lazy chunk waits for its slice's end and timekey_wait`() throws {
    var limits = BufferPlan.Limits()
    limits.mode = .lazy
    limits.timekey = 60
    limits.timekeyWait = 10
    var plan = BufferPlan(limits: limits)
    let reserved = plan.reserve(1)
    #expect(reserved)
    let ticket = plan.place(ChunkMetadata(timekey: 120), bytes: 1, records: 1, clock(0, wall: 130))
    _ = plan.finished(ticket, kept: true)
    if case .chunk = plan.take(clock(1, wall: 189)) { Issue.record("too early") }
    guard case .chunk = plan.take(clock(2, wall: 190)) else { throw ConfigValueError("not due") }
  }

  @Test func `a lazy chunk is not kept longer than a slice and timekey_wait when the wall clock was set back`() throws {
    var limits = BufferPlan.Limits()
    limits.mode = .lazy
    limits.timekey = 60
    limits.timekeyWait = 10
    var plan = BufferPlan(limits: limits)
    let reserved = plan.reserve(1)
    #expect(reserved)
    let ticket = plan.place(ChunkMetadata(timekey: 120), bytes: 1, records: 1, clock(0, wall: 130))
    _ = plan.finished(ticket, kept: true)
    if case .chunk = plan.take(clock(69, wall: -100_000)) { Issue.record("too early") }
    guard case .wait(let next?) = plan.take(clock(69, wall: -100_000)) else { throw ConfigValueError("nothing to wait for") }
    #expect(next == clock(70, wall: 0).now)
    guard case .chunk = plan.take(clock(70, wall: -99_999)) else { throw ConfigValueError("not due") }
  }
}

@Suite struct RetryPlanTests {
  private func at(_ seconds: Double) -> MonotonicTime { MonotonicTime(nanoseconds: UInt64(seconds * 1e9)) }

  @Test func `waits double until the timeout, then one last try`() {
    var policy = RetryPlan.Policy()
    policy.randomize = false
    policy.timeout = 10_000_000_000
    var plan = RetryPlan(policy, now: at(0))
    do {
      let verdict = plan.failed(now: at(0), chance: 0)
      #expect(verdict == .retry(at: at(1)))
    }
    do {
      let verdict = plan.failed(now: at(1), chance: 0)
      #expect(verdict == .retry(at: at(3)))
    }
    do {
      let verdict = plan.failed(now: at(3), chance: 0)
      #expect(verdict == .retry(at: at(7)))
    }
    do {
      let verdict = plan.failed(now: at(7), chance: 0)
      #expect(verdict == .retry(at: at(10)))
    }
    do {
      let verdict = plan.failed(now: at(10), chance: 0)
      #expect(verdict == .giveUp)
    }
  }
  @Test func `a retry_max_times below zero gives up at once, also with a secondary`() {
    var policy = RetryPlan.Policy()
    policy.randomize = false
    policy.hasSecondary = true
    policy.maximumTimes = -1
    var plan = RetryPlan(policy, now: at(0))
    let verdict = plan.failed(now: at(1), chance: 0)
    #expect(verdict == .giveUp)
  }
  @Test func `retry_max_times ends it`() {
    var policy = RetryPlan.Policy()
    policy.randomize = false
    policy.maximumTimes = 2
    var plan = RetryPlan(policy, now: at(0))
    do {
      let verdict = plan.failed(now: at(0), chance: 0)
      #expect(verdict != .giveUp)
    }
    do {
      let verdict = plan.failed(now: at(1), chance: 0)
      #expect(verdict != .giveUp)
    }
    do {
      let verdict = plan.failed(now: at(3), chance: 0)
      #expect(verdict == .giveUp)
    }
  }
  @Test func `the secondary takes over at its share of the retry time`() {
    var policy = RetryPlan.Policy()
    policy.randomize = false
    policy.hasSecondary = true
    policy.timeout = 10_000_000_000
    var plan = RetryPlan(policy, now: at(0))
    _ = plan.failed(now: at(1), chance: 0)
    let early = plan.nextIsSecondary(now: at(7.9))
    let late = plan.nextIsSecondary(now: at(8))
    #expect(!early)
    #expect(late)
  }
}
