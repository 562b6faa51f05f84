public import AggCore
import Glibc
import Synchronization

/// Runs a topology: opens its buffers, starts its inputs, exchanges it for another one, stops everything in order.
public final class Engine: Sendable {
  public var topology: Topology { state.withLock { $0.topology } }
  /// Inputs, outputs, holding filters and outputs on a timer, by the plugin's id; background work of outputs and secondaries beside.
  struct Tasks {
    var inputs: [String: Task<Void, Never>] = [:]
    var outputs: [String: Task<Void, Never>] = [:]
    var background: [String: Task<Void, Never>] = [:]
    var holding: [String: Task<Void, Never>] = [:]
    var timed: [String: Task<Void, Never>] = [:]
    /// What `agg dlq` asks of an output.
    var desks: [String: Task<Void, Never>] = [:]
    var ids: Set<String> { Set([inputs, outputs, background, holding, timed, desks].flatMap(\.keys)) }
  }
  struct State {
    var topology: Topology
    var commitLog: CommitLog?
    var gateway: Gateway
    var tasks = Tasks()
    /// By the output's id; of outputs that are open and do not run yet.
    var desks: [String: DeadLetterDesk] = [:]
  }
  let state: Mutex<State>
  /// Of requests for dead letters; lasts as long as the engine.
  let requests: DirectoryBell

  public init(_ topology: Topology) {
    requests = DirectoryBell(suffix: DeadLetterRequest.suffix, pool: topology.host.pool)
    let (commitLog, gateway) = Self.store(of: topology)
    state = Mutex(State(topology: topology, commitLog: commitLog, gateway: gateway))
    topology.host.register(topology.live.monitor)
  }

  /// A commit log and a gateway for a topology that shares them with none before.
  static func store(of topology: Topology) -> (CommitLog?, Gateway) {
    let commitLog = topology.commitLogPath.map {
      CommitLog(
        path: $0, durability: topology.commitDurability, directoryPermission: topology.system.directoryPermission.map { Int($0.mode) } ?? 0o755,
        pool: topology.host.pool, log: topology.host.log)
    }
    let passage = topology.live.passage
    return (commitLog, Gateway(commitLog: commitLog, log: topology.host.log) { passage.isClosing })
  }

  /// Opens what earlier runs left, starts outputs, then inputs. Throws when an input cannot begin; call `stop` then.
  public func start() async throws {
    let (topology, commitLog) = state.withLock { ($0.topology, $0.commitLog) }
    try await topology.host.pool { [self] in
      findCommitLog(topology)
      try commitLog?.open()
    }
    try await open(topology, isFirst: true)
    try await begin(topology)
  }

  /// Buffers and destinations of everything that does not run yet. On an error nothing of it is left open.
  func open(_ topology: Topology, isFirst: Bool) async throws {
    let (commitLog, gateway) = state.withLock { ($0.commitLog, $0.gateway) }
    let runners = topology.runners.filter { !topology.kept.contains($0.id) }
    var desks: [String: DeadLetterDesk] = [:]
    for runner in runners {
      guard let store = runner.deadLetters else { continue }
      desks[runner.id] = DeadLetterDesk(
        runner, store, gateway: gateway, timers: topology.host.timers, log: topology.host.log.with(source: runner.id))
    }
    do {
      let left = try await topology.host.pool { [self, desks] in
        var isDecided = true
        for runner in runners {
          let desk = desks[runner.id]
          let finished = try runner.deadLetters?.open { [requests] in if let desk { requests.watch($0, desk.bell) } } ?? [:]
          if try !runner.buffer.open(committed: { commitLog?.isCommitted($0) ?? false }, finished: finished) { isDecided = false }
        }
        pointToCommitLog(topology)
        let found = leftovers(topology, commitLog?.keys(Self.bufferKeys) ?? [])
        if isFirst, isDecided, !found.contains(where: { $0.staged > 0 }) { commitLog?.forgetEarlier() }
        return found
      }
      if let commitLog { await remember(topology, left, in: commitLog) }
      for runner in runners { if let store = runner.deadLetters { await runner.resume(store.notes()) } }
      for runner in runners {
        do { try await runner.output.prepare() } catch { throw OutputFailure(id: runner.id, reason: "\(error)") }
      }
      for secondary in topology.secondaries where !topology.kept.contains(secondary.id) { try await secondary.output.prepare() }
      state.withLock { $0.desks = desks }
    } catch {
      for runner in runners {
        await runner.output.close()
        runner.buffer.close()
        runner.deadLetters?.close()
      }
      throw error
    }
  }

  /// From here on events go through this topology: starts what does not run yet, inputs last.
  func begin(_ topology: Topology) async throws {
    let host = topology.host
    let kept = topology.kept
    let (gateway, desks) = state.withLock { s in
      defer { s.desks = [:] }
      s.topology = topology
      return (s.gateway, s.desks)
    }
    host.memory.setLimit(topology.system.memoryLimit?.bytes ?? .max, log: host.log)
    gateway.setErrorLabel(topology.routers["@ERROR"])
    topology.live.follow(topology, gateway)
    for runner in topology.runners where !kept.contains(runner.id) {
      let flush = Task(executorPreference: host.pool) { await runner.run() }
      let background = Task(executorPreference: host.pool) { await runner.output.run() }
      state.withLock {
        $0.tasks.outputs[runner.id] = flush
        $0.tasks.background[runner.id] = background
      }
    }
    for secondary in topology.secondaries where !kept.contains(secondary.id) {
      let task = Task(executorPreference: host.pool) { await secondary.output.run() }
      state.withLock { $0.tasks.background[secondary.id] = task }
    }
    for (id, desk) in desks {
      let task = Task(executorPreference: host.pool) { await desk.run() }
      state.withLock { $0.tasks.desks[id] = task }
    }
    startHolding(topology)
    for entry in topology.timed where !kept.contains(entry.id) {
      let task = Task(executorPreference: host.pool) { await entry.run() }
      state.withLock { $0.tasks.timed[entry.id] = task }
    }
    topology.live.passage.open()
    try await startInputs(topology)
  }

  private func startHolding(_ topology: Topology) {
    let commitLog = state.withLock { $0.commitLog }
    for entry in topology.holding where !topology.kept.contains(entry.id) {
      let held = (commitLog?.keys(entry.id) ?? []).map { key in (key: key, state: commitLog?.state(entry.id, key) ?? []) }
      entry.filter.restore(held)
      let emitter = HoldEmitter(HoldExit(live: topology.live, entry: entry))
      let task = Task(executorPreference: topology.host.pool) { await entry.filter.run(emitter) }
      state.withLock { $0.tasks.holding[entry.id] = task }
    }
  }

  private func startInputs(_ topology: Topology) async throws {
    let inputs = topology.inputs.filter { !topology.kept.contains($0.id) }
    if inputs.isEmpty { return }
    // Each input reports once: ready, ended, or failed.
    let (reports, report) = AsyncStream<(any Error)?>.makeStream()
    for entry in inputs {
      let first = FirstTime()
      let once: @Sendable ((any Error)?) -> Void = { error in if first.take() { report.yield(error) } }
      let entrance = Entrance(live: topology.live, label: entry.label, id: entry.id, counters: entry.counters, countsInput: true, memory: topology.host.memory) { once(nil) }
      let log = topology.host.log.with(source: entry.id)
      let task = Task(executorPreference: topology.host.pool) {
        do {
          try await entry.input.run(Emitter(entrance))
          once(nil)
        } catch is CancellationError { once(nil) } catch {
          log.error("\(error)")
          once(InputFailure(id: entry.id, reason: "\(error)"))
        }
      }
      state.withLock { $0.tasks.inputs[entry.id] = task }
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
    let live = topology.live
    try? await live.pass(.inner) { gateway throws(EmitError) in
      guard let label = live.router("@FLUENT_LOG") ?? live.router("@ROOT") else { return }
      for line in lines {
        let tag = Tag("fluent.\(line.level.name)")
        guard label.pipeline(for: tag).sink != nil else { continue }
        var builder = BatchBuilder(capacity: 256)
        builder.begin()
        builder.writer.putMapHeader(1)
        builder.writer.putString("message" as StaticString)
        builder.writer.putString(line.message)
        builder.commit(time: line.time)
        try? await gateway.emit([builder.finish(tag: tag)], covering: [], to: label, plugin: "fluent_log")
      }
    }
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
