import AggCore
import AggEngine
import AggNet
import Glibc

extension Daemon {
  /// Lets a process that has read its configuration take this one's place: stops, gives it the sockets, and ends when the other runs.
  /// Connections that come meanwhile wait in the sockets' queues. When the other does not get on, everything starts again here.
  ///
  /// `sockets` is false for a supervisor: its workers make their own.
  func handOver(_ connection: ControlConnection, sockets: Bool) async {
    guard let peer = connection.peer, let engine = engine.withLock({ $0 }), let old = running.withLock({ $0 }) else {
      return connection.refuse("this agg does not run")
    }
    isHandingOver.withLock { $0 = true }
    defer { isHandingOver.withLock { $0 = false } }
    log.info("handing over to process \(peer.pid)")
    service.status("Handing over to process \(peer.pid)")
    let begun = MonotonicTime.now()
    await rpc.withLock { $0 }?.close()
    await engine.stop(quickly: true)
    let given = try? await host.pool { [network] () -> Bool in
      for socket in sockets ? network.handedSockets : [] where !connection.send("socket \(socket.description)", socket.descriptor)
      { return false }
      guard connection.send("released") else { return false }
      return connection.receive(seconds: Successor.patience)?.text == "running"
    }
    if given == true {
      let milliseconds = MonotonicTime.now().since(begun) / 1_000_000
      log.info("process \(peer.pid) has taken over after \(milliseconds) ms; agg-\(Version.number) pid=\(getpid()) ends")
      service.isNow(peer.pid)
      connection.send("bye")
      successor.finish(peer.pid)
      guard WorkerID.current != nil else { exit(0) }
      // Until the supervisor ends, which it does when all its workers are followed; if the other goes before that, its place is taken back.
      isFollowed.withLock { $0 = true }
      try? await host.pool { connection.waitForEnd() }
      isFollowed.withLock { $0 = false }
    }
    log.error("process \(peer.pid) did not take over; this one goes on")
    try? await host.pool { Successor.end(peer.pid) }
    do {
      let again = try prepare(old.loaded)
      let next = Engine(again.topology)
      self.engine.withLock { $0 = next }
      running.withLock { $0 = again }
      ledger.follow(again.topology)
      try await next.start()
      network.releaseUnclaimed()
      try await rpc.withLock { $0 }?.follow(again.topology.system, dump: again.dump)
      service.isReady("Running")
      log.info("agg is running again, worker=\(WorkerID.current ?? 0)")
    } catch {
      log.fatal("this agg does not start again: \(error)")
      await self.engine.withLock { $0 }?.stop()
      exit(1)
    }
  }
}

/// The process that takes another one's place.
struct TakeOver {
  private let connection: ControlConnection
  private let pid: pid_t

  init(from pid: pid_t) throws {
    self.pid = pid
    connection = try ControlConnection(to: pid)
  }

  /// Asks for the sockets and waits until the buffers are let go; false when the other one is gone. Blocks.
  func receive(_ network: Network, _ log: Log) -> Bool {
    log.info("taking over from process \(pid)")
    guard connection.send("take-over") else { return false }
    // The other side's buffers may take their time to be let go.
    while let (text, descriptor) = connection.receive(seconds: 2 * Successor.patience) {
      if text == "released" { return true }
      if let descriptor {
        if !text.hasPrefix("socket ") || !network.adopt(String(text.dropFirst(7)), descriptor) {
          log.warn("a socket of process \(pid) is of no use here: \(text)")
        }
      } else {
        log.warn("process \(pid) says: \(text)")
      }
    }
    return false
  }

  /// Says so, and waits until the other has ended or has said its last word.
  func isRunning() {
    connection.send("running")
    _ = connection.receive(seconds: 10)
  }
  func failed(_ reason: String) { connection.refuse(reason) }
}
