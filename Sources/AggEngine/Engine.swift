public import AggCore
import Glibc
import Synchronization

/// Runs one topology: opens its buffers, starts its inputs, stops everything in order.
public final class Engine: Sendable {
  public let topology: Topology
  private let host: EngineHost
  private let commitLog: CommitLog?
  private let gateway: Gateway
  private struct State {
    var inputs: [Task<Void, Never>] = []
    var outputs: [Task<Void, Never>] = []
    var background: [Task<Void, Never>] = []
    /// Of holding filters, in file order.
    var holding: [Task<Void, Never>] = []
    /// Of outputs that report on a timer.
    var timed: [Task<Void, Never>] = []
    /// What `agg dlq` asks for.
    var desks: [Task<Void, Never>] = []
    var failure: (any Error)?
  }
  private let state = Mutex(State())
  private let requests: DirectoryBell

  public init(_ topology: Topology) {
    requests = DirectoryBell(suffix: DeadLetterRequest.suffix, pool: topology.host.pool)
    self.topology = topology
    host = topology.host
    commitLog = topology.commitLogPath.map {
      CommitLog(
        path: $0, durability: topology.fileBuffers.contains { $0.durability == .fsync } ? .fsync : .os,
        directoryPermission: topology.system.directoryPermission.map { Int($0.mode) } ?? 0o755, pool: topology.host.pool,
        log: topology.host.log)
    }
    gateway = Gateway(commitLog: commitLog, log: host.log)
    host.register(topology.monitor)
  }

  /// Opens what earlier runs left, starts outputs, then inputs. Throws when an input cannot begin; call `stop` then.
  public func start() async throws {
    var desks: [ObjectIdentifier: DeadLetterDesk] = [:]
    for runner in topology.runners {
      guard let store = runner.deadLetters else { continue }
      desks[ObjectIdentifier(runner)] = DeadLetterDesk(
        runner, store, gateway: gateway, timers: host.timers, log: host.log.with(source: runner.id))
    }
    let left = try await host.pool { [self, desks] in
      findCommitLog()
      try commitLog?.open()
      var isDecided = true
      for runner in topology.runners {
        let desk = desks[ObjectIdentifier(runner)]
        let finished = try runner.deadLetters?.open { [requests] in if let desk { requests.watch($0, desk.bell) } } ?? [:]
        if try !runner.buffer.open(committed: { commitLog?.isCommitted($0) ?? false }, finished: finished) { isDecided = false }
      }
      pointToCommitLog()
      let found = leftovers(commitLog?.keys(Self.bufferKeys) ?? [])
      if isDecided, !found.contains(where: { $0.staged > 0 }) { commitLog?.forgetEarlier() }
      return found
    }
    if let commitLog { await remember(left, in: commitLog) }
    for runner in topology.runners { if let store = runner.deadLetters { await runner.resume(store.notes()) } }
    host.memory.setLimit(topology.system.memoryLimit?.bytes ?? .max, log: host.log)
    gateway.setErrorLabel(topology.routers["@ERROR"])
    topology.gateway.withLock { $0 = gateway }
    for runner in topology.runners {
      do { try await runner.output.prepare() } catch { throw OutputFailure(id: runner.id, reason: "\(error)") }
    }
    for secondary in topology.secondaries { try await secondary.prepare() }
    for runner in topology.runners {
      let flush = Task(executorPreference: host.pool) { await runner.run() }
      let background = Task(executorPreference: host.pool) { await runner.output.run() }
      state.withLock {
        $0.outputs.append(flush)
        $0.background.append(background)
      }
    }
    for secondary in topology.secondaries {
      let task = Task(executorPreference: host.pool) { await secondary.run() }
      state.withLock { $0.background.append(task) }
    }
    for desk in desks.values {
      let task = Task(executorPreference: host.pool) { await desk.run() }
      state.withLock { $0.desks.append(task) }
    }
    startHolding()
    for (_, output) in topology.timed {
      let task = Task(executorPreference: host.pool) { await output.run() }
      state.withLock { $0.timed.append(task) }
    }
    try await startInputs()
  }

  private func startHolding() {
    for entry in topology.holding {
      let held = (commitLog?.keys(entry.id) ?? []).map { key in (key: key, state: commitLog?.state(entry.id, key) ?? []) }
      entry.filter.restore(held)
      let emitter = HoldEmitter(HoldExit(topology: topology, entry: entry))
      let task = Task(executorPreference: host.pool) { await entry.filter.run(emitter) }
      state.withLock { $0.holding.append(task) }
    }
  }

  private func startInputs() async throws {
    let inputs = topology.inputs
    if inputs.isEmpty { return }
    // Each input reports once: ready, ended, or failed.
    let (reports, report) = AsyncStream<(any Error)?>.makeStream()
    for entry in inputs {
      let first = FirstTime()
      let once: @Sendable ((any Error)?) -> Void = { error in if first.take() { report.yield(error) } }
      let entrance = Entrance(topology: topology, label: entry.label, id: entry.id, counters: entry.counters, countsInput: true) { once(nil) }
      let log = host.log.with(source: entry.id)
      let task = Task(executorPreference: host.pool) {
        do {
          try await entry.input.run(Emitter(entrance))
          once(nil)
        } catch is CancellationError { once(nil) } catch {
          log.error("\(error)")
          once(InputFailure(id: entry.id, reason: "\(error)"))
        }
      }
      state.withLock { $0.inputs.append(task) }
    }
    var left = inputs.count
    for await error in reports {
      if let error { throw error }
      left -= 1
      if left == 0 { break }
    }
  }

  public struct InputFailure: Error, CustomStringConvertible {
    public var id: String
    public var reason: String
    public var description: String { "\(id): cannot start: \(reason)" }
  }

  public struct OutputFailure: Error, CustomStringConvertible {
    public var id: String
    public var reason: String
    public var description: String { "\(id): cannot start: \(reason)" }
  }

  /// Everything buffered is delivered now (USR1).
  public func flush() { for runner in topology.runners { runner.flush() } }

  /// agg's own log lines as `fluent.LEVEL` events: to `@FLUENT_LOG`, else to the top level where a match takes them.
  /// What a full buffer refuses is dropped: the line is in the log.
  public func emitLog(_ lines: [(level: LogLevel, time: EventTime, message: String)]) async {
    let label = topology.routers["@FLUENT_LOG"] ?? topology.routers["@ROOT"]
    guard let label else { return }
    var batches: [EventBatch] = []
    for line in lines {
      let tag = Tag("fluent.\(line.level.name)")
      guard label.pipeline(for: tag).sink != nil else { continue }
      var builder = BatchBuilder(capacity: 256)
      builder.begin()
      builder.writer.putMapHeader(1)
      builder.writer.putString("message" as StaticString)
      builder.writer.putString(line.message)
      builder.commit(time: line.time)
      batches.append(builder.finish(tag: tag))
    }
    for batch in batches { try? await gateway.emit([batch], covering: [], to: label, plugin: "fluent_log") }
  }

  /// Inputs, batches in flight, buffers as configured, outputs; within `shutdown_timeout`. What memory still holds then is counted.
  public func stop() async {
    let (inputs, outputs, background, holding, timed) = state.withLock { ($0.inputs, $0.outputs, $0.background, $0.holding, $0.timed) }
    let deadline = MonotonicTime.now().adding(nanoseconds: Int64(topology.system.shutdownTimeout.nanoseconds))
    let desks = state.withLock { $0.desks }
    for task in inputs + desks { task.cancel() }
    await wait(for: inputs, until: deadline, what: "inputs")
    await wait(for: desks, until: deadline, what: "requests for dead letters")
    requests.close()
    for (task, entry) in zip(holding, topology.holding) {
      task.cancel()
      await wait(for: [task], until: deadline, what: entry.id)
    }
    for (task, entry) in zip(timed, topology.timed) {
      task.cancel()
      await wait(for: [task], until: deadline, what: entry.id)
    }
    await stopEmitting(outputs, background, until: deadline)
    for runner in topology.runners {
      runner.stop(flushing: runner.buffer.config.flushAtShutdown ?? !runner.buffer.isPersistent)
    }
    await wait(for: outputs, until: deadline, what: "outputs")
    gateway.close()
    for task in outputs + background { task.cancel() }
    await wait(for: background, until: deadline.adding(nanoseconds: 1_000_000_000), what: "background work")
    for runner in topology.runners {
      await runner.output.close()
      if !runner.buffer.isPersistent { runner.buffer.countLostAtShutdown() }
      runner.buffer.close()
      runner.deadLetters?.close()
    }
    commitLog?.close()
  }

  /// Outputs that emit end one after the other before the rest, so that what they make still reaches its outputs.
  private func stopEmitting(_ outputs: [Task<Void, Never>], _ background: [Task<Void, Never>], until deadline: MonotonicTime) async {
    let emitting = topology.emitting.withLock { $0 }
    for (index, runner) in topology.runners.enumerated() where emitting.contains(runner.id) && index < min(outputs.count, background.count) {
      runner.stop(flushing: runner.buffer.config.flushAtShutdown ?? !runner.buffer.isPersistent)
      await wait(for: [outputs[index]], until: deadline, what: runner.id)
      background[index].cancel()
      await wait(for: [background[index]], until: deadline, what: runner.id)
    }
  }

  private func wait(for tasks: [Task<Void, Never>], until deadline: MonotonicTime, what: String) async {
    if tasks.isEmpty { return }
    let countdown = Countdown(tasks.count, host.timers)
    for task in tasks {
      Task(executorPreference: host.pool) {
        await task.value
        countdown.one()
      }
    }
    while countdown.left > 0 {
      if MonotonicTime.now() >= deadline {
        host.log.error("stopping: \(countdown.left) of \(tasks.count) \(what) did not end within shutdown_timeout")
        return
      }
      await countdown.waker.wait(until: deadline)
    }
  }
}

/// Counts tasks that have not ended.
private final class Countdown: Sendable {
  private let count: Mutex<Int>
  let waker: Waker
  init(_ n: Int, _ timers: TimerQueue) {
    count = Mutex(n)
    waker = Waker(timers)
  }
  var left: Int { count.withLock { $0 } }
  func one() {
    let left = count.withLock { n in
      n -= 1
      return n
    }
    if left == 0 { waker.wakeAll() }
  }
}

private final class FirstTime: Sendable {
  private let done = Mutex(false)
  func take() -> Bool {
    done.withLock { done in
      defer { done = true }
      return !done
    }
  }
}
