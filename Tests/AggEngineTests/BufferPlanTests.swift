import AggCore
import AggEngine
import AggTesting
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

  @Test(arguments: [BufferConfig.FlushMode.interval, .lazy]) func `no more of those that are due are closed than queued_chunks_limit_size says, and the rest grow`(
    _ mode: BufferConfig.FlushMode
  ) throws {
    var limits = BufferPlan.Limits()
    limits.mode = mode
    limits.flushInterval = 5_000_000_000
    limits.timekey = 60
    limits.timekeyWait = 10
    limits.queuedChunks = 2
    var plan = BufferPlan(limits: limits)
    let slice: Int64? = mode == .lazy ? 0 : nil
    for n in 0..<5 { _ = plan.finished(place(&plan, "t\(n)", timekey: slice, clock(0)), kept: true) }
    let due = clock(100, wall: 100)
    guard case .chunk(let first) = plan.take(due) else { throw ConfigValueError("not due") }
    #expect((plan.queuedCount, plan.stagedCount) == (1, 3))
    // Another of the same tag goes into the chunk that was due.
    let more = place(&plan, "t4", timekey: slice, due)
    #expect(!more.isNew)
    _ = plan.finished(more, kept: true)
    plan.removed(first.id)
    var records = [first.records]
    while case .chunk(let chunk) = plan.take(due) {
      records.append(chunk.records)
      plan.removed(chunk.id)
    }
    #expect(records == [1, 1, 1, 1, 2])
  }

  @Test func `in immediate mode staged chunks of other keys are for another flush task`() throws {
    var limits = BufferPlan.Limits()
    limits.mode = .immediate
    var plan = BufferPlan(limits: limits)
    for n in 0..<2 { _ = plan.finished(place(&plan, "t\(n)", clock(0)), kept: true) }
    guard case .chunk = plan.take(clock(1)) else { throw ConfigValueError("none") }
    #expect(plan.queuedCount == 0 && plan.hasMore)
    guard case .chunk = plan.take(clock(1)) else { throw ConfigValueError("none") }
    #expect(!plan.hasMore)
  }

  private func place(_ plan: inout BufferPlan, _ tag: String, timekey: Int64? = nil, _ clock: BufferPlan.Clock) -> BufferPlan.Ticket {
    _ = plan.reserve(10)
    return plan.place(ChunkMetadata(tag: Tag(tag), timekey: timekey), bytes: 10, records: 1, clock)
  }

  @Test func `the oldest of too many staged chunks are sealed before their time and come in their order`() throws {
    var limits = BufferPlan.Limits()
    limits.stagedChunks = 10
    var plan = BufferPlan(limits: limits)
    let tickets = (0..<25).map { place(&plan, "t\($0)", timekey: Int64($0), clock(UInt64($0))) }
    #expect(plan.crowded(most: 100).isEmpty)  // all are being appended to
    for ticket in tickets.dropFirst() { _ = plan.finished(ticket, kept: true) }
    let crowd = plan.crowded(most: 100)
    #expect(crowd.map(\.id) == tickets[1...15].map(\.chunk))
    #expect(plan.crowded(most: 100).isEmpty && plan.stagedCount == 10)
    // One more for a tag whose chunk is being sealed goes into a new chunk.
    let later = place(&plan, "t1", clock(25))
    #expect(later.isNew)
    _ = plan.finished(later, kept: true)
    for (n, chunk) in crowd.enumerated() { plan.sealed(chunk.id, done: n != 3) }
    #expect((plan.chunkCount, plan.queuedCount, plan.stagedCount) == (26, 15, 11))
    #expect((plan.stagedBytes, plan.queuedBytes, plan.records) == (110, 150, 26))
    #expect(plan.timekeys == (0..<25).map { Int64($0) } && plan.oldest == clock(0).now)
    #expect(crowd.allSatisfy { plan.holds($0.id) })
    _ = plan.finished(tickets[0], kept: true)
    for n in 0..<15 {
      guard case .chunk(let chunk) = plan.take(clock(26)) else { throw ConfigValueError("none") }
      #expect((chunk.id, chunk.bytes, chunk.records, chunk.since) == (crowd[n].id, 10, 1, clock(UInt64(n + 1)).now))
      #expect(chunk.arrivals.ages(of: 1, now: clock(26).now).count == 1)
      plan.removed(chunk.id)
    }
    #expect(plan.timekeys == [0] + (16..<25).map { Int64($0) })
    plan.closeAll()
    var rest = 0
    while case .chunk(let chunk) = plan.take(clock(26)) {
      plan.removed(chunk.id)
      rest += 1
    }
    #expect(rest == 11 && plan.isEmpty && plan.records == 0 && plan.totalBytes == 0 && plan.oldest == nil && plan.timekeys.isEmpty)
  }

  /// As when a disk was full: what is kept later must not wait in a chunk that nobody looks at any more.
  @Test(arguments: [BufferConfig.FlushMode.interval, .immediate, .lazy]) func `a chunk that was emptied leaves at its time, and what comes next is told as new`(
    mode: BufferConfig.FlushMode
  ) throws {
    var limits = BufferPlan.Limits()
    limits.mode = mode
    limits.flushInterval = 5_000_000_000
    limits.timekey = 2
    limits.timekeyWait = 3
    var plan = BufferPlan(limits: limits)
    _ = plan.finished(place(&plan, "t", timekey: 0, clock(0, wall: 0)), kept: false)
    guard case .chunk(let empty) = plan.take(clock(6, wall: 6)) else { throw ConfigValueError("stays") }
    #expect(empty.records == 0)
    plan.removed(empty.id)
    let later = place(&plan, "t", timekey: 0, clock(7, wall: 7))
    #expect(later.isNew)
    _ = plan.finished(later, kept: true)
    guard case .chunk(let chunk) = plan.take(clock(12, wall: 12)) else { throw ConfigValueError("not due") }
    #expect(chunk.id == later.chunk && chunk.records == 1)
  }

  @Test func `chunks of an earlier run come first, and are as old as the start`() throws {
    var plan = BufferPlan(limits: .init())
    let found = (0..<3).map { FileChunkStore.Recovered(id: .random(), bytes: 5, records: 2, timekey: $0 < 2 ? 60 : nil) }
    plan.recovered(found, now: clock(100).now)
    _ = plan.finished(place(&plan, "t", clock(101)), kept: true)
    #expect((plan.chunkCount, plan.queuedCount, plan.queuedBytes, plan.records) == (4, 3, 15, 7))
    #expect(plan.oldest == clock(100).now && plan.timekeys == [60])
    guard case .chunk(let first) = plan.take(clock(102)) else { throw ConfigValueError("none") }
    #expect(first.id == found[0].id && first.arrivals.entries.isEmpty)
    plan.failed(first.id)
    for n in [0, 1, 2] {
      guard case .chunk(let chunk) = plan.take(clock(102)) else { throw ConfigValueError("none") }
      #expect(chunk.id == found[n].id)
      plan.removed(chunk.id)
    }
    #expect(plan.oldest == clock(101).now && plan.timekeys == [] && plan.chunkCount == 1)
  }

  /// Against a list of what is where.
  @Test(arguments: [BufferConfig.FlushMode.interval, .immediate, .lazy], 0..<UInt64(20))
  func `whatever is done to a plan, its sums are those of its chunks`(mode: BufferConfig.FlushMode, seed: UInt64) {
    var random = SeededRandom(seed: seed)
    var limits = BufferPlan.Limits()
    limits.mode = mode
    limits.chunkBytes = 60
    limits.stagedChunks = 5
    limits.timekey = 10
    limits.timekeyWait = 5
    limits.flushInterval = 7_000_000_000
    var plan = BufferPlan(limits: limits)
    var held: [ChunkID: Int] = [:]
    var open: [BufferPlan.Ticket] = []
    var flying: [BufferPlan.Chunk] = []
    var crowd: [ChunkID] = []
    var delivered = 0
    var kept = 0
    func take(_ chunk: BufferPlan.Chunk) {
      #expect(held[chunk.id] == chunk.records)
      flying.append(chunk)
    }
    for second in 0..<UInt64(4000) {
      let now = clock(second / 4, wall: Int64(second / 4))
      switch Int.random(in: 0..<8, using: &random) {
      case 0..<3:
        let ticket = place(&plan, "t\(Int.random(in: 0..<20, using: &random))", timekey: Int64(second / 40) * 10, now)
        held[ticket.chunk, default: 0] += 1
        open.append(ticket)
      case 3, 4:
        guard let n = open.indices.randomElement(using: &random) else { break }
        let ticket = open.remove(at: n)
        let isKept = Int.random(in: 0..<5, using: &random) > 0
        if isKept { kept += 1 } else { held[ticket.chunk, default: 0] -= 1 }
        _ = plan.finished(ticket, kept: isKept)
      case 5: if case .chunk(let chunk) = plan.take(now) { take(chunk) }
      case 6:
        if let chunk = flying.popLast() {
          if Bool.random(using: &random) { plan.failed(chunk.id) } else {
            plan.removed(chunk.id)
            delivered += held.removeValue(forKey: chunk.id) ?? 0
          }
        }
      default:
        if crowd.isEmpty { crowd = plan.crowded(most: 100).map(\.id) } else { plan.sealed(crowd.removeFirst(), done: Bool.random(using: &random)) }
      }
      #expect(plan.records == held.values.reduce(0, +))
      #expect(plan.totalBytes == 10 * plan.records)
    }
    for ticket in open {
      _ = plan.finished(ticket, kept: true)
      kept += 1
    }
    for id in crowd { plan.sealed(id, done: true) }
    for chunk in flying { plan.failed(chunk.id) }
    plan.closeAll()
    while case .chunk(let chunk) = plan.take(clock(100_000, wall: 100_000)) {
      #expect(held[chunk.id] == chunk.records)
      delivered += chunk.records
      plan.removed(chunk.id)
    }
    #expect(delivered == kept && plan.isEmpty && plan.oldest == nil && plan.timekeys.isEmpty && plan.totalBytes == 0)
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
