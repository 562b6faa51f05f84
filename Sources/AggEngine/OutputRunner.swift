public import AggCore
import Synchronization

/// Delivers one buffered output's chunks: flush tasks, retry, secondary. It is the sink that batches are routed to.
public final class OutputRunner: Sink {
  public let id: String
  public let buffer: Buffer
  let output: any Output
  private let secondary: (any Output)?
  /// Where events go that are given up; nil: they are dropped and counted.
  let deadLetters: DeadLetterStore?
  private let policy: RetryPlan.Policy
  private let counters: Counters
  private let log: Log
  private let timers: TimerQueue
  private let gate: Waker
  /// An attempt that takes longer is counted and logged; nanoseconds.
  private let slowWrite: Int64

  private struct Held {
    /// Nil for one that is in the queue as the others.
    var chunk: BufferPlan.Chunk?
    var refused: [Rejection]?
    var error: WriteError
    var isNoted = false
  }
  private struct State {
    var retry: RetryPlan?
    var breaker = Breaker()
    var stopping = false
    /// An attempt failed after the stop had begun, and the chunks are kept: nobody waits for another one.
    var failedAtStop = false
    var lastError = ""
    var lastDelivery: MonotonicTime?
    /// Chunks that wait because the dead letters take no more, and what was refused of those that are delivered otherwise.
    var held: [ChunkID: Held] = [:]
    var isHolding = false
  }
  private let state = Mutex(State())
  /// How long a chunk waits until the dead letters are tried again; nanoseconds.
  private static let holdTime: Int64 = 10_000_000_000

  public init(
    id: String, buffer: Buffer, output: any Output, secondary: (any Output)?, policy: RetryPlan.Policy, counters: Counters, log: Log,
    timers: TimerQueue, slowWrite: TimeSpan = TimeSpan(seconds: 20), deadLetters: DeadLetterStore? = nil
  ) {
    self.deadLetters = deadLetters
    self.slowWrite = Int64(slowWrite.nanoseconds)
    self.id = id
    self.buffer = buffer
    self.output = output
    self.secondary = secondary
    self.policy = policy
    self.counters = counters
    self.log = log
    self.timers = timers
    gate = Waker(timers)
  }

  public func take(_ batch: EventBatch, _ transaction: inout Transaction) throws(EmitError) { transaction.deliver(batch, to: self) }

  /// Runs the flush tasks until `stop` and everything due is delivered.
  func run() async {
    await withTaskGroup(of: Void.self) { group in
      for _ in 0..<buffer.config.flushThreadCount { group.addTask { await self.flushLoop() } }
    }
  }

  /// From here on each chunk gets one more attempt; what then fails stays in the buffer.
  func stop(flushing: Bool) {
    state.withLock { $0.stopping = true }
    output.stopping()
    if flushing { buffer.flush() }
    buffer.stopWhenIdle()
    gate.wakeAll()
  }

  /// USR1: everything now, failing chunks included.
  public func flush() {
    state.withLock { $0.breaker.hurry() }
    buffer.flush()
    gate.wakeAll()
  }

  private func flushLoop() async {
    while let chunk = await buffer.next() {
      guard let permit = await permit() else {
        buffer.failed(chunk)
        return
      }
      let delivered = await deliver(chunk, permit)
      if !delivered, state.withLock({ $0.stopping }) { return }
    }
  }

  /// Waits until an attempt may begin: at once while the destination works, else one at a time. Nil when there is none to come.
  private func permit() async -> Breaker.Permit? {
    while !Task.isCancelled {
      // Several may be told to wait for the same probe; its end wakes each of them, also those that do not wait yet.
      let mark = gate.mark
      let answer = state.withLock { s -> Breaker.Answer? in s.failedAtStop ? nil : s.breaker.ask(now: .now(), hurrying: s.stopping) }
      switch answer {
      case .go(let permit)?: return permit
      case .wait(let until)?: await gate.wait(until: until, after: mark)
      case nil: return nil
      }
    }
    return nil
  }

  /// The attempt says nothing of the destination.
  private func giveBack(_ permit: Breaker.Permit) {
    state.withLock { $0.breaker.gaveBack(permit) }
    if permit.isProbe { gate.wakeAll() }
  }

  /// One attempt; false when it failed, and at a stop no other one is worth while.
  private func deliver(_ taken: BufferPlan.Chunk, _ permit: Breaker.Permit) async -> Bool {
    var chunk = taken
    Faults.add(.inFlight, 1)
    defer { Faults.add(.inFlight, -1) }
    let view: ChunkView
    do throws(StoreError) { view = try buffer.view(&chunk) } catch {
      return await retryLater(chunk, nil, WriteError.retry("chunk \(chunk.id) cannot be read: \(error)"), permit)
    }
    if view.count == 0 {
      giveBack(permit)
      buffer.delivered(chunk, count: 0)
      return true
    }
    // Delivered before, but for what the dead letters had no room for.
    if let held = state.withLock({ $0.held.removeValue(forKey: taken.id) }), let refused = held.refused {
      giveBack(permit)
      return await giveUp(chunk, view, refused, reason: "refused", held.error, isNoted: held.isNoted)
    }
    let useSecondary = state.withLock { $0.retry?.nextIsSecondary(now: .now()) ?? false }
    let begun = MonotonicTime.now()
    defer { wrote(chunk, in: MonotonicTime.now().since(begun)) }
    do throws(WriteError) {
      if useSecondary, let secondary, secondary.canTake(view) {
        counters.add(.secondaryWrites, 1)
        var view = view
        view.primaryFormatter = output.chunkFormatter
        try await secondary.write(view)
      } else {
        try await output.write(view)
      }
      succeeded()
      buffer.delivered(chunk, count: view.count)
      return true
    } catch {
      switch error.kind {
      case .cancelled:
        giveBack(permit)
        buffer.failed(chunk)
        return false
      case .discard(let reason):
        giveBack(permit)
        return await discard(chunk, view, reason: reason, error)
      case .partial(let rejected):
        succeeded()
        log.warn("the destination refused \(rejected.count) of \(view.count) events: \(rejected.first?.reason ?? error.description)")
        return await giveUp(chunk, view, rejected, reason: "refused", error)
      case .retry:
        return await retryLater(chunk, view, error, permit)
      }
    }
  }

  private func wrote(_ chunk: BufferPlan.Chunk, in nanoseconds: Int64) {
    counters.wrote(in: nanoseconds)
    guard nanoseconds > slowWrite else { return }
    counters.add(.slowWrites, 1)
    log.warn(
      "buffer flush took longer time than slow_flush_log_threshold: elapsed_time=\((Double(nanoseconds) / 1e9).rounded(toPlaces: 3)) "
        + "slow_flush_log_threshold=\(Double(slowWrite) / 1e9) chunk=\(chunk.id)")
  }

  private func succeeded() {
    let failures = state.withLock { s in
      s.retry = nil
      s.failedAtStop = false
      s.lastDelivery = .now()
      return s.breaker.succeeded()
    }
    if let failures {
      log.info("retry succeeded after \(failures) failures")
      gate.wakeAll()
    }
  }

  /// The chunk stays, for the next probe or one after it; true when it was given up, or when the attempt began before the destination
  /// last worked and so says nothing of it. `view` is nil for a chunk that cannot be read.
  ///
  /// Only the first failure and those of probes are steps of the retry plan, and only the first is told at the level of warnings.
  private func retryLater(_ chunk: BufferPlan.Chunk, _ view: ChunkView?, _ error: WriteError, _ permit: Breaker.Permit) async -> Bool {
    var after: Int64?
    if case .retry(let wait?) = error.kind {
      let (seconds, attoseconds) = wait.components
      after = seconds.multipliedReportingOverflow(by: 1_000_000_000).partialValue &+ attoseconds / 1_000_000_000
    }
    let now = MonotonicTime.now()
    let (verdict, steps, isFirst, stopping, isStale) = state.withLock { s -> (RetryPlan.Verdict, Int, Bool, Bool, Bool) in
      if s.breaker.isStale(permit) { return (.retry(at: now), 0, false, s.stopping, true) }
      s.lastError = error.description
      if s.stopping, buffer.isPersistent { s.failedAtStop = true }
      var verdict = RetryPlan.Verdict.retry(at: now.adding(nanoseconds: after ?? 0))
      if s.breaker.isStep(permit) {
        if s.retry == nil { s.retry = RetryPlan(policy, now: now) }
        verdict = s.retry?.failed(now: now, chance: .random(in: 0..<1), atLeast: after) ?? .giveUp
      }
      let steps = s.retry?.steps ?? 0
      var next = now
      if case .retry(let at) = verdict { next = at } else { s.retry = nil }
      return (verdict, steps, s.breaker.failed(permit, now: now, next: next), s.stopping, false)
    }
    counters.add(.retries, 1)
    counters.add(.writeErrors, 1)
    if isFirst { counters.add(.breakerOpens, 1) }
    if permit.isProbe || stopping { gate.wakeAll() }
    if isStale {
      log.debug("failed to flush the buffer, in an attempt from before the last success: \(error.description)")
      buffer.failed(chunk)
      return true
    }
    if case .retry(let at) = verdict {
      let line = "failed to flush the buffer (attempt \(steps)); next in \((Double(max(0, at.since(now))) / 1e9).rounded(toPlaces: 1)) s: \(error.description)"
      if isFirst { log.warn(line) } else { log.debug(line) }
      buffer.failed(chunk)
      return false
    }
    if stopping, buffer.isPersistent {
      buffer.failed(chunk)
      return false
    }
    log.error("gave up after \(steps) attempts; \(chunk.records) events \(fate): \(error.description)")
    guard let view else {
      buffer.setAside(chunk, reason: "chunk_unreadable")
      return true
    }
    return await giveUp(chunk, view, nil, reason: "retry_exhausted", error)
  }

  private func discard(_ chunk: BufferPlan.Chunk, _ view: ChunkView, reason: String, _ error: WriteError) async -> Bool {
    if let secondary, secondary.canTake(view) {
      var view = view
      view.primaryFormatter = output.chunkFormatter
      do throws(WriteError) {
        try await secondary.write(view)
        log.warn("not retried, sent to the secondary: \(error.description)")
        buffer.delivered(chunk, count: view.count)
        return true
      } catch { log.error("the secondary failed too: \(error.description)") }
    }
    log.error("not retried; \(chunk.records) events \(fate) (\(reason)): \(error.description)")
    return await giveUp(chunk, view, nil, reason: reason, error)
  }

  // MARK: Dead letters

  private var fate: String { deadLetters == nil ? "dropped" : "become dead letters" }

  /// Puts events aside for good: `refused` of a chunk whose other events are delivered, or all of it for `reason`. False only
  /// when the chunk stays for a stop.
  private func giveUp(
    _ chunk: BufferPlan.Chunk, _ view: ChunkView, _ refused: [Rejection]?, reason: String, _ error: WriteError, isNoted: Bool = false
  ) async -> Bool {
    guard let deadLetters else {
      if let refused {
        counters.drop(refused.count, reason, from: .buffered)
        buffer.deliveredPartly(chunk, refused: refused.count, count: view.count)
      } else {
        buffer.drop(chunk, reason: reason)
      }
      return true
    }
    let group = DeadLetterGroup(
      view, refused, reason: reason, status: error.status, message: error.description, attempts: max(1, chunk.attempts))
    do {
      try await deadLetters.add(group) { [buffer] in buffer.deadLettered(chunk, letters: group.count, count: view.count) }
      state.withLock { $0.isHolding = false }
      if isNoted { await deadLetters.forget(chunk.id) }
    } catch let failure {
      var isNoted = isNoted
      if let refused, !isNoted, buffer.isPersistent {
        let note = DeadLetterNote(refused: refused, status: error.status, message: error.description)
        do {
          try await deadLetters.keep(note, of: chunk.id)
          isNoted = true
        } catch { log.error("what was refused of chunk \(chunk.id) cannot be noted; after a restart all of it is sent again: \(error)") }
      }
      hold(Held(chunk: chunk, refused: refused, error: error, isNoted: isNoted), chunk, deadLetters, failure)
    }
    return true
  }

  /// What an earlier run noted: these chunks are delivered but for some events.
  func resume(_ notes: [ChunkID: DeadLetterNote]) async {
    for (chunk, note) in notes {
      if !buffer.holds(chunk) {
        await deadLetters?.forget(chunk)
        continue
      }
      let error = WriteError(.discard(reason: "refused"), note.message, status: note.status)
      state.withLock { $0.held[chunk] = Held(chunk: nil, refused: note.refused, error: error, isNoted: true) }
    }
  }

  /// The chunk stays, out of the way of the others, and comes again after a while or when there is room.
  private func hold(_ held: Held, _ chunk: BufferPlan.Chunk, _ store: DeadLetterStore, _ error: any Error) {
    counters.add(.deadLettersRefused, 1)
    let isFirst = state.withLock { s in
      s.held[chunk.id] = held
      defer { s.isHolding = true }
      return !s.isHolding
    }
    if isFirst {
      let why =
        error is DeadLetterStore.Full
        ? "the dead letters are full (\(store.bytes) of \(store.options.limit) bytes in \(store.options.directory)); `agg dlq` replays or drops them"
        : "the dead letters cannot be written: \(error)"
      log.error("\(why). Chunks that would be given up stay in the buffer and are tried again")
    }
    timers.schedule(at: .now().adding(nanoseconds: Self.holdTime)) { [weak self] in self?.release([chunk]) }
  }

  /// Letters were dropped or replayed.
  func deadLettersHaveRoom() { release(state.withLock { $0.held.values.compactMap(\.chunk) }) }

  private func release(_ chunks: [BufferPlan.Chunk]) {
    for chunk in chunks {
      // Once: from here on it may be in the hands of a flush task again.
      let isParked = state.withLock { s in s.held[chunk.id]?.chunk.take() != nil }
      if isParked { buffer.requeue(chunk) }
    }
  }

  public struct Status: Sendable {
    public var retryCount: Int
    public var lastError: String
    public var nextAttempt: MonotonicTime?
    public var lastDelivery: MonotonicTime?
    /// When the first of the failures was; nil while it works.
    public var retryStarted: MonotonicTime?
    public var breaker: Breaker.State
  }
  public var status: Status {
    state.withLock {
      Status(
        retryCount: $0.retry?.steps ?? 0, lastError: $0.lastError, nextAttempt: $0.breaker.opened == nil ? nil : $0.breaker.nextProbe,
        lastDelivery: $0.lastDelivery, retryStarted: $0.breaker.opened, breaker: $0.breaker.state)
    }
  }
}

extension Output {
  /// A chunk that Fluentd formatted holds no events for an output that needs them.
  func canTake(_ chunk: ChunkView) -> Bool { chunk.formatted == nil || Self.takesFormatted }
  var takesFormattedChunks: Bool { Self.takesFormatted }
}

extension Double {
  func rounded(toPlaces n: Int) -> Double {
    var factor = 1.0
    for _ in 0..<n { factor *= 10 }
    return (self * factor).rounded() / factor
  }
}
