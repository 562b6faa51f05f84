public import AggCore

extension Engine {
  /// Returns when everything that this engine lives by has answered: timers, the pool's threads, the lane and the plan of every buffer.
  ///
  /// For a watchdog. A destination that hangs keeps nothing of this from answering; a disk that hangs under a buffer does.
  public func answers() async {
    let topology = topology
    let waker = Waker(topology.host.timers)
    await waker.wait(until: .now().adding(nanoseconds: 1_000_000))
    for runner in topology.runners {
      _ = runner.buffer.status
      await runner.buffer.answers()
    }
  }
}

extension Topology {
  /// How many of the inputs, filters and outputs are those of the topology before.
  public var keptCount: (kept: Int, all: Int) { (plugins.count { kept.contains($0.id) }, plugins.count) }
}
