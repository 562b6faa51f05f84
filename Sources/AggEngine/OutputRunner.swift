public import AggCore
import Synchronization

/// Delivers one buffered output's chunks: flush tasks, retry, secondary. It is the sink that batches are routed to.
public final class OutputRunner: Sink {
  public let id: String
  public let buffer: Buffer
  let output: any Output
  private let secondary: (any Output)?
  private let policy: RetryPlan.Policy
  private let counters: Counters
  private let log: Log
  private let timers: TimerQueue
  private let gate: Waker
  /// An attempt that takes longer is counted and logged; nanoseconds.
  private let slowWrite: Int64

  private struct State {
    var retry: RetryPlan?
    var breaker = Breaker()
    var stopping = false
    /// An attempt failed after the stop had begun, and the chunks are kept: nobody waits for another one.
    var failedAtStop = false
    var lastError = ""
    var lastDelivery: MonotonicTime?
  }
  private let state = Mutex(State())

  public init(
    id: String, buffer: Buffer, output: any Output, secondary: (any Output)?, policy: RetryPlan.Policy, counters: Counters, log: Log,
    timers: TimerQueue, slowWrite: TimeSpan = TimeSpan(seconds: 20)
  ) {
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
      let answer = state.withLock { s -> Breaker.Answer? in s.failedAtStop ? nil : s.breaker.ask(now: .now(), hurrying: s.stopping) }
      switch answer {
      case .go(let permit)?: return permit
      case .wait(let until)?: await gate.wait(until: until)
      case nil: return nil
      }
    }
    return nil
  }

  /// The attempt says nothing of the destination.
  private func giveBack(_ permit: Breaker.Permit) {
    state.withLock { $0.breaker.gaveBack(permit) }
    if permit == .probe { gate.wakeAll() }
  }

  /// One attempt; true when the chunk is off this buffer.
  private func deliver(_ taken: BufferPlan.Chunk, _ permit: Breaker.Permit) async -> Bool {
    var chunk = taken
    Faults.add(.inFlight, 1)
    defer { Faults.add(.inFlight, -1) }
    let view: ChunkView
    do throws(StoreError) { view = try buffer.view(&chunk) } catch {
      return retryLater(chunk, WriteError.retry("chunk \(chunk.id) cannot be read: \(error)"), permit)
    }
    if view.count == 0 {
      giveBack(permit)
      buffer.delivered(chunk, count: 0)
      return true
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
        return await giveUp(chunk, view, reason: reason, error)
      case .partial(let rejected):
        succeeded()
        log.warn("the destination refused \(rejected.count) of \(view.count) events: \(rejected.first?.reason ?? error.description)")
        counters.drop(rejected.count, "refused", from: .buffered)
        buffer.deliveredPartly(chunk, refused: rejected.count, count: view.count)
        return true
      case .retry:
        return retryLater(chunk, error, permit)
      }
    }
  }

  private func wrote(_ chunk: BufferPlan.Chunk, in nanoseconds: Int64) {
    counters.add(.writes, 1)
    counters.add(.writeMilliseconds, Int(nanoseconds / 1_000_000))
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

  /// The chunk stays, for the next probe or one after it; true when it was given up.
  ///
  /// Only the first failure and those of probes are steps of the retry plan, and only the first is told at the level of warnings.
  private func retryLater(_ chunk: BufferPlan.Chunk, _ error: WriteError, _ permit: Breaker.Permit) -> Bool {
    var after: Int64?
    if case .retry(let wait?) = error.kind {
      let (seconds, attoseconds) = wait.components
      after = seconds.multipliedReportingOverflow(by: 1_000_000_000).partialValue &+ attoseconds / 1_000_000_000
    }
    let now = MonotonicTime.now()
    let (verdict, steps, isFirst, stopping) = state.withLock { s -> (RetryPlan.Verdict, Int, Bool, Bool) in
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
      return (verdict, steps, s.breaker.failed(permit, now: now, next: next), s.stopping)
    }
    counters.add(.retries, 1)
    counters.add(.writeErrors, 1)
    if isFirst { counters.add(.breakerOpens, 1) }
    if permit == .probe || stopping { gate.wakeAll() }
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
    log.error("gave up after \(steps) attempts; \(chunk.records) events dropped: \(error.description)")
    buffer.drop(chunk, reason: "retry_exhausted")
    return true
  }

  private func giveUp(_ chunk: BufferPlan.Chunk, _ view: ChunkView, reason: String, _ error: WriteError) async -> Bool {
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
    log.error("not retried; \(chunk.records) events dropped (\(reason)): \(error.description)")
    buffer.drop(chunk, reason: reason)
    return true
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

/// An output without a buffer.
public final class DirectSink: Sink {
  public let id: String
  let output: any DirectOutput
  let counters: Counters
  let log: Log
  public init(id: String, output: any DirectOutput, counters: Counters, log: Log) {
    self.id = id
    self.output = output
    self.counters = counters
    self.log = log
  }
  public func take(_ batch: EventBatch, _ transaction: inout Transaction) throws(EmitError) { transaction.deliver(batch, to: self) }
}

/// copy, relabel, roundrobin: the plugin decides where batches go on.
public final class RoutingSink: Sink {
  public let id: String
  let output: any RoutingOutput
  let counters: Counters
  public init(id: String, output: any RoutingOutput, counters: Counters) {
    self.id = id
    self.output = output
    self.counters = counters
  }
  public func take(_ batch: EventBatch, _ transaction: inout Transaction) throws(EmitError) {
    transaction.depth += 1
    defer { transaction.depth -= 1 }
    guard transaction.depth <= Transaction.maximumDepth else {
      throw EmitError.failed("\(id): events are routed in a circle; a label relabels back to itself")
    }
    let (counters, count, bytes) = (counters, batch.count, batch.byteCount)
    transaction.onCommit { counters.offered(count, bytes: bytes, to: .delivered) }
    try output.route(batch, &transaction)
  }
}
