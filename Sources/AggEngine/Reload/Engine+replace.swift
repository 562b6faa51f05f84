public import AggCore
import Synchronization

extension Engine {
  /// Exchanges the topology for one that was built with this one as `previous`: what both have in common runs on, the rest is stopped,
  /// then the new parts are started. Where they share no commit log, everything is exchanged.
  ///
  /// Throws when a new part cannot start. What was stopped stays stopped then: build the old configuration with `topology` as `previous`
  /// and call this again.
  public func replace(with next: Topology) async throws {
    let old = topology
    let deadline = Self.deadline(old)
    let isShared = next.live === old.live
    let kept = isShared ? next.kept : []
    // With nothing to stop nobody's way ends; a batch that is stuck then keeps nothing from going on.
    let mustWait = state.withLock { !$0.tasks.ids.isSubset(of: kept) }
    let passage = old.live.passage
    let timers = old.host.timers
    await stopSources(old, keeping: kept, until: deadline)
    let isQuiet = await passage.close(.inputs, until: mustWait ? deadline : .now(), timers)
    if isQuiet { await stopEmitters(old, keeping: kept, until: deadline) }
    let isEmpty = await passage.close(.all, until: mustWait && isQuiet ? deadline : .now(), timers)
    guard isQuiet && isEmpty || !mustWait else {
      forget(old, keeping: kept)
      throw ReplaceFailure(reason: "batches did not get through within shutdown_timeout")
    }
    await stopOutputs(old, keeping: kept, until: deadline, quickly: true)
    forget(old, keeping: kept)
    if !isShared { try await exchangeStore(old, next) }
    next.host.register(next.live.monitor)
    try await open(next, isFirst: !isShared)
    do { try await begin(next) } catch {
      // Inputs that began are not worth sorting from those that did not.
      await stopSources(next, keeping: kept, until: Self.deadline(next))
      next.components.withLock { all in
        for (place, list) in all {
          all[place] = list.filter { if case .input(let entry) = $0.made { kept.contains(entry.id) } else { true } }
        }
      }
      throw error
    }
  }

  /// What a next topology can be built upon; nil when a part of the store was given up.
  public var base: Topology? {
    let topology = topology
    return topology.live.passage.isEnded ? nil : topology
  }

  public struct ReplaceFailure: Error, CustomStringConvertible {
    public var reason: String
    public var description: String { reason }
  }

  /// What was stopped is not taken over by the next topology.
  private func forget(_ old: Topology, keeping kept: Set<String>) {
    old.components.withLock { all in
      for (place, list) in all { all[place] = list.filter { $0.ids.allSatisfy(kept.contains) } }
    }
  }

  private func exchangeStore(_ old: Topology, _ next: Topology) async throws {
    let (before, gateway) = state.withLock { ($0.commitLog, $0.gateway) }
    gateway.close()
    old.live.passage.end()
    old.live.leave()
    before?.close()
    let (commitLog, nextGateway) = Self.store(of: next)
    state.withLock {
      $0.commitLog = commitLog
      $0.gateway = nextGateway
    }
    try await next.host.pool { [self] in
      findCommitLog(next)
      try commitLog?.open()
    }
  }
}

extension Topology {
  var commitDurability: BufferConfig.Durability { fileBuffers.contains { $0.durability == .fsync } ? .fsync : .os }

  /// Whether a topology built with this one as `previous` can go on with its commit log; if not, build it without.
  public func sharesStore(with next: Topology) -> Bool {
    next.live === live && next.commitLogPath == commitLogPath && next.commitDurability == commitDurability
  }
}
