public import AggCore
import Synchronization

/// Takes batches in: routes them, stores them at all their outputs or none, commits, and only then returns.
public final class Gateway: Sendable {
  let commitLog: CommitLog?
  private let errorLabel: Mutex<(any Sink)?> = Mutex(nil)
  private let closed = Mutex(false)
  private let sequence = Mutex<UInt64>(1)
  private let hints = GateHints()
  private let log: Log
  private let storing: Trouble
  private let takingBack: Trouble
  /// A reload wants whoever waits for room out of the way.
  private let isMoving: @Sendable () -> Bool

  public init(commitLog: CommitLog?, log: Log, isMoving: @escaping @Sendable () -> Bool = { false }) {
    storing = Trouble(log)
    takingBack = Trouble(log)
    self.commitLog = commitLog
    self.log = log
    self.isMoving = isMoving
  }
  func setErrorLabel(_ sink: (any Sink)?) { errorLabel.withLock { $0 = sink } }
  /// The shutdown deadline has passed: refuse what still comes.
  func close() { closed.withLock { $0 = true } }

  func emit(_ batches: [EventBatch], covering spans: [SourceSpan], to root: any Sink, plugin: String) async throws(EmitError) {
    if closed.withLock({ $0 }) { throw .closed }
    let arrived = MonotonicTime.now()
    let hint = hints.gates(root, batches)
    for gate in hint { await gate.acquire() }
    var taken = hint
    defer { for gate in taken { gate.release() } }
    var hasWaited = false
    while true {
      // The wait for a gate may have been long.
      if closed.withLock({ $0 }) { throw .closed }
      if hasWaited, isMoving() { throw .moved }
      var transaction = Transaction()
      transaction.gates = taken
      do throws(EmitError) {
        for batch in batches { try root.take(batch, &transaction) }
        guard let full = try await complete(&transaction, covering: spans, plugin: plugin, arrived) else { return }
        transaction.refused()
        await wait(for: full, without: taken)
        hasWaited = true
      } catch {
        transaction.refused()
        if transaction.missing.isEmpty { throw error }
        taken = await Self.extend(taken, with: transaction.missing)
        hints.learn(root, batches, taken)
      }
    }
  }

  /// Emits what a holding filter lets go.
  func emit(from filter: any HoldingFilter, _ id: String, covering make: @Sendable () -> HoldEmission?, route: (EventBatch, inout Transaction) throws(EmitError) -> Void)
    async throws(EmitError) -> HoldEmission?
  {
    if closed.withLock({ $0 }) { throw .closed }
    let arrived = MonotonicTime.now()
    var taken = [filter.gate]
    await filter.gate.acquire()
    defer { for gate in taken { gate.release() } }
    var hasWaited = false
    while true {
      if closed.withLock({ $0 }) { throw .closed }
      if hasWaited, isMoving() { throw .moved }
      guard let emission = make() else { return nil }
      var transaction = Transaction()
      transaction.gates = taken
      transaction.onRefusal(emission.onRefusal)
      transaction.onCommit(emission.onCommit)
      for span in emission.spans { transaction.keep(span, of: id) }
      do throws(EmitError) {
        for batch in emission.batches { try route(batch, &transaction) }
        guard let full = try await complete(&transaction, covering: [], plugin: id, arrived) else { return emission }
        transaction.refused()
        await wait(for: full, without: taken)
        hasWaited = true
      } catch {
        transaction.refused()
        if transaction.missing.isEmpty { throw error }
        taken = await Self.extend(taken, with: transaction.missing)
      }
    }
  }

  /// Gives the gates back and takes them again with the missing ones, in the order that excludes a circle of waiting.
  private static func extend(_ taken: [HoldGate], with missing: [HoldGate]) async -> [HoldGate] {
    for gate in taken { gate.release() }
    var all = taken
    for gate in missing where !all.contains(where: { $0 === gate }) { all.append(gate) }
    all.sort { $0.order < $1.order }
    for gate in all { await gate.acquire() }
    return all
  }

  /// Waits for room without the gates: what makes room may itself have to come through one of them.
  private func wait(for full: OutputRunner, without gates: [HoldGate]) async {
    for gate in gates { gate.release() }
    await full.buffer.waitForRoom()
    for gate in gates { await gate.acquire() }
  }

  /// Stores what was routed. Not nil: nothing was stored, since that output has no room and this emit holds gates.
  private func complete(
    _ transaction: inout Transaction, covering spans: [SourceSpan], plugin: String, _ arrived: MonotonicTime
  ) async throws(EmitError) -> OutputRunner? {
    try routeFailures(&transaction)
    // Somebody on the way (a store with ignore_error) took the refusal for the store's own.
    if !transaction.missing.isEmpty { throw EmitError.failed("a filter that holds events is busy") }
    let spans = spans.map { (plugin, $0) } + transaction.spans
    if let full = try await store(transaction.deliveries, covering: spans, mayWait: transaction.gates.isEmpty, arrived) { return full }
    transaction.committed()
    return nil
  }

  /// Events that failed go to `@ERROR`; a failure there is logged and counted, never routed again.
  private func routeFailures(_ transaction: inout Transaction) throws(EmitError) {
    let failures = transaction.failures
    if failures.isEmpty { return }
    transaction.removeAllFailures()
    for failure in failures { try reject(failure.batch, failure.reason, failure.plugin, &transaction) }
    transaction.removeAllFailures()
  }
  private func reject(_ batch: EventBatch, _ reason: String, _ plugin: String, _ transaction: inout Transaction) throws(EmitError) {
    guard let sink = errorLabel.withLock({ $0 }) else {
      log.warn("\(plugin): dump an error event: tag=\(batch.tag) count=\(batch.count) error=\(reason)")
      return
    }
    do throws(EmitError) { try sink.take(batch, &transaction) } catch {
      // Routing starts again when a gate is missing; anything else under @ERROR refuses nothing.
      if !transaction.missing.isEmpty { throw error }
      log.error("@ERROR: \(error)")
    }
  }

  /// Throws only `moved`.
  func reject(_ batch: EventBatch, reason: String, plugin: String) async throws(EmitError) {
    let sink = FailureSink { [self] (batch, transaction) throws(EmitError) in try reject(batch, reason, plugin, &transaction) }
    do throws(EmitError) { try await emit([batch], covering: [], to: sink, plugin: plugin) } catch {
      if case .moved = error { throw error }
      log.error("\(plugin): \(batch.count) rejected events could not be stored under @ERROR: \(error)")
    }
  }

  /// How far back an output is looked for; of more outputs, one comes more than once.
  private static let remembered = 16

  /// What each output gets, so that many small batches, as of syslog's tags, cost it as little as one.
  private static func byOutput(_ deliveries: [Transaction.Delivery])
    -> (shares: [(runner: OutputRunner, ignoresError: Bool, batches: [EventBatch])], direct: [(DirectSink, EventBatch)])
  {
    var shares: [(runner: OutputRunner, ignoresError: Bool, batches: [EventBatch])] = []
    var direct: [(DirectSink, EventBatch)] = []
    for delivery in deliveries {
      guard let runner = delivery.destination as? OutputRunner else {
        if let sink = delivery.destination as? DirectSink { direct.append((sink, delivery.batch)) }
        continue
      }
      let known = shares.indices.suffix(remembered).last { shares[$0].runner === runner && shares[$0].ignoresError == delivery.ignoresError }
      if let known { shares[known].batches.append(delivery.batch) } else { shares.append((runner, delivery.ignoresError, [delivery.batch])) }
    }
    return (shares, direct)
  }

  private func store(
    _ deliveries: [Transaction.Delivery], covering spans: [(plugin: String, span: SourceSpan)], mayWait: Bool,
    _ arrived: MonotonicTime
  ) async throws(EmitError) -> OutputRunner? {
    var appends: [(runner: OutputRunner, batches: [EventBatch], append: Buffer.Append)] = []
    let (shares, direct) = Self.byOutput(deliveries)
    if mayWait { for (runner, _, _) in shares { await runner.buffer.pace() } }
    // 1. Room everywhere, before anything is written.
    reserving: while true {
      for (runner, ignoresError, batches) in shares {
        var append = runner.buffer.reserve(batches, arrived: arrived)
        if append == nil, runner.buffer.config.overflowAction == .dropOldestChunk {
          while append == nil, runner.buffer.dropOldest() {
            runner.buffer.counters.add(.oldestDropped, 1)
            append = runner.buffer.reserve(batches, arrived: arrived)
          }
        }
        if let append {
          appends.append((runner, batches, append))
          continue
        }
        if ignoresError || runner.buffer.config.overflowAction == .dropOldestChunk {
          let count = batches.reduce(0) { $0 + $1.count }
          runner.buffer.counters.add(.offered, count)
          runner.buffer.counters.drop(count, "overflow_dropped")
          continue
        }
        for (runner, _, append) in appends { runner.buffer.release(append) }
        appends.removeAll()
        if runner.buffer.config.overflowAction == .throwException { throw .full(runner.id) }
        if !mayWait { return runner }
        if isMoving() { throw .moved }
        await runner.buffer.waitForRoom()
        if closed.withLock({ $0 }) { throw .closed }
        continue reserving
      }
      break
    }
    // 2. Frames everywhere.
    let persistent = commitLog != nil && appends.contains { $0.runner.buffer.isPersistent }
    let id: BatchID
    if persistent, let commitLog { id = commitLog.begin() } else {
      id = BatchID(epoch: 0, sequence: sequence.withLock { $0 += 1; return $0 })
    }
    Faults.add(.uncommitted, 1)
    defer { Faults.add(.uncommitted, -1) }
    for index in appends.indices {
      do throws(StoreError) { try await appends[index].runner.buffer.append(appends[index].batches, &appends[index].append, id: id) } catch {
        await undo(appends, id: id, persistent: persistent)
        throw unavailable("\(appends[index].runner.id): \(error)")
      }
    }
    // 3. One record says so.
    Faults.hit(.commit)
    if let commitLog, persistent || !spans.isEmpty {
      let record = persistent ? id : commitLog.begin()
      do { try await commitLog.commit(record, spans) } catch {
        if !persistent { commitLog.abort(record) }
        await undo(appends, id: id, persistent: persistent)
        throw unavailable("\(error)")
      }
    }
    storing.worked("events are stored again")
    Faults.hit(.committed)
    for (runner, _, append) in appends { runner.buffer.finish(append, kept: true) }
    Faults.hit(.finished)
    // 4. Outputs without a buffer have no part in the commit.
    for (sink, batch) in direct {
      do throws(WriteError) {
        try sink.output.process(batch)
        sink.counters.offered(batch.count, bytes: batch.byteCount, to: .delivered)
      } catch {
        sink.counters.add(.offered, batch.count)
        sink.counters.drop(batch.count, "write_error")
        sink.log.error("\(batch.count) events were not written: \(error)")
      }
    }
    return nil
  }

  /// A full or failing disk is told once; what comes meanwhile waits at its source, or is refused there.
  private func unavailable(_ why: String) -> EmitError {
    storing.failed("events cannot be stored; inputs wait, or refuse them, until they can: \(why)")
    return .unavailable(why)
  }

  private func undo(_ appends: [(runner: OutputRunner, batches: [EventBatch], append: Buffer.Append)], id: BatchID, persistent: Bool) async {
    var open: [(buffer: Buffer, append: Buffer.Append)] = []
    for item in appends {
      do {
        try await item.runner.buffer.void(item.append, id: id)
        item.runner.buffer.finish(item.append, kept: false)
      } catch {
        takingBack.failed("\(item.runner.id): a refused batch cannot be taken back yet; its chunks wait: \(error)")
        open.append((item.runner.buffer, item.append))
      }
      if item.append.isCounted { item.runner.buffer.counters.add(.offered, .buffered, -item.append.count) }
    }
    if open.isEmpty {
      if persistent { commitLog?.abort(id) }
    } else {
      takeBack(open, id)
    }
  }

  /// Frames of a refused batch that cannot be voided: their chunks are kept from being delivered until they are. Should agg end before
  /// that, recovery leaves them out, since they were never committed.
  private func takeBack(_ open: [(buffer: Buffer, append: Buffer.Append)], _ id: BatchID) {
    Task {
      var open = open
      while !open.isEmpty {
        try? await Task.sleep(for: .seconds(1))
        if closed.withLock({ $0 }) { return }
        var rest: [(buffer: Buffer, append: Buffer.Append)] = []
        for item in open {
          do { try await item.buffer.void(item.append, id: id) } catch {
            takingBack.failed("")
            rest.append(item)
            continue
          }
          item.buffer.finish(item.append, kept: false)
        }
        open = rest
      }
      commitLog?.abort(id)
      takingBack.worked("refused batches are taken back")
    }
  }
}

/// Routes a batch by a closure, as `@ERROR` takes the events that an input refused.
private final class FailureSink: Sink {
  let id = "@ERROR"
  private let route: @Sendable (EventBatch, inout Transaction) throws(EmitError) -> Void
  init(_ route: @escaping @Sendable (EventBatch, inout Transaction) throws(EmitError) -> Void) { self.route = route }
  func take(_ batch: EventBatch, _ transaction: inout Transaction) throws(EmitError) { try route(batch, &transaction) }
}
