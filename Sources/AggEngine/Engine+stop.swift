public import AggCore
import Synchronization

extension Engine {
  /// Inputs, batches in flight, buffers as configured, outputs; within `shutdown_timeout`. What memory still holds then is counted.
  ///
  /// `quickly`: somebody waits to go on with the buffers. A delivery from a file buffer that takes longer than a moment is broken off,
  /// and its chunk is delivered again by whoever comes.
  public func stop(quickly: Bool = false) async {
    let (topology, gateway, commitLog) = state.withLock { ($0.topology, $0.gateway, $0.commitLog) }
    let deadline = Self.deadline(topology)
    await stopSources(topology, keeping: [], until: deadline)
    await stopEmitters(topology, keeping: [], until: deadline)
    await stopOutputs(topology, keeping: [], until: deadline, quickly: quickly) { gateway.close() }
    requests.close()
    commitLog?.close()
    topology.live.leave()
  }

  static func deadline(_ topology: Topology) -> MonotonicTime {
    .now().adding(nanoseconds: Int64(topology.system.shutdownTimeout.nanoseconds))
  }

  func stopSources(_ topology: Topology, keeping kept: Set<String>, until deadline: MonotonicTime) async {
    let (inputs, desks) = state.withLock { s in
      (s.tasks.inputs.filter { !kept.contains($0.key) }, s.tasks.desks.filter { !kept.contains($0.key) })
    }
    for task in Array(inputs.values) + Array(desks.values) { task.cancel() }
    await wait(for: Array(inputs.values), topology, until: deadline, what: "inputs")
    await wait(for: Array(desks.values), topology, until: deadline, what: "requests for dead letters")
    state.withLock { s in
      for id in inputs.keys { s.tasks.inputs[id] = nil }
      for id in desks.keys { s.tasks.desks[id] = nil }
    }
  }

  /// What emits by itself, in file order: filters that hold events let them go, timers report, outputs that answer end.
  func stopEmitters(_ topology: Topology, keeping kept: Set<String>, until deadline: MonotonicTime) async {
    for id in topology.holding.map(\.id) + topology.timed.map(\.id) where !kept.contains(id) {
      let tasks = state.withLock { s in
        [s.tasks.holding.removeValue(forKey: id), s.tasks.timed.removeValue(forKey: id)].compactMap { $0 }
      }
      for task in tasks { task.cancel() }
      await wait(for: tasks, topology, until: deadline, what: id)
    }
    // Before the other outputs, so that what they make still reaches those.
    let emitting = topology.emitting.withLock { $0 }
    for runner in topology.runners where emitting.contains(runner.id) && !kept.contains(runner.id) {
      let (flush, background) = state.withLock { ($0.tasks.outputs[runner.id], $0.tasks.background[runner.id]) }
      guard let flush, let background else { continue }
      runner.stop(flushing: runner.flushesAtStop)
      await wait(for: [flush], topology, until: deadline, what: runner.id)
      background.cancel()
      await wait(for: [background], topology, until: deadline, what: runner.id)
    }
  }

  /// `late` is called when the outputs have had their time, before they are broken off.
  func stopOutputs(
    _ topology: Topology, keeping kept: Set<String>, until deadline: MonotonicTime, quickly: Bool, late: () -> Void = {}
  ) async {
    let tasks = state.withLock { $0.tasks }
    let runners = topology.runners.filter { !kept.contains($0.id) && tasks.outputs[$0.id] != nil }
    for runner in runners { runner.stop(flushing: runner.flushesAtStop) }
    if quickly {
      let moment = min(deadline, MonotonicTime.now().adding(nanoseconds: 1_000_000_000))
      let persistent = runners.filter { $0.buffer.isPersistent && !$0.flushesAtStop }.compactMap { tasks.outputs[$0.id] }
      await wait(for: persistent, topology, until: moment, what: "")
      for task in persistent { task.cancel() }
    }
    let flushing = runners.compactMap { tasks.outputs[$0.id] }
    await wait(for: flushing, topology, until: deadline, what: "outputs")
    late()
    let gone = runners.map(\.id) + topology.secondaries.map(\.id).filter { !kept.contains($0) }
    let background = gone.compactMap { tasks.background[$0] }
    for task in flushing + background { task.cancel() }
    await wait(for: background, topology, until: deadline.adding(nanoseconds: 1_000_000_000), what: "background work")
    for runner in runners {
      await runner.output.close()
      if !runner.buffer.isPersistent { runner.buffer.countLostAtShutdown() }
      runner.buffer.close()
      runner.deadLetters?.close()
    }
    state.withLock { s in
      for id in gone {
        s.tasks.outputs[id] = nil
        s.tasks.background[id] = nil
      }
    }
  }

  /// Says so when some have not ended in time; with an empty `what` that is the caller's affair.
  private func wait(for tasks: [Task<Void, Never>], _ topology: Topology, until deadline: MonotonicTime, what: String) async {
    if tasks.isEmpty { return }
    let host = topology.host
    let countdown = Countdown(tasks.count, host.timers)
    for task in tasks {
      Task(executorPreference: host.pool) {
        await task.value
        countdown.one()
      }
    }
    while countdown.left > 0 {
      if MonotonicTime.now() >= deadline {
        if !what.isEmpty {
          host.log.error("stopping: \(countdown.left) of \(tasks.count) \(what) did not end within shutdown_timeout")
        }
        return
      }
      await countdown.waker.wait(until: deadline)
    }
  }
}

extension OutputRunner {
  var flushesAtStop: Bool { buffer.config.flushAtShutdown ?? !buffer.isPersistent }
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
