import AggCore
import Glibc

extension Supervisor {
  /// Reads what the workers say until the pipe ends. Blocks.
  func readSigns() {
    var words: [UInt32] = [0, 0]
    while true {
      let count = words.withUnsafeMutableBytes { read(signs.read, $0.baseAddress, $0.count) }
      if count < 0 && errno == EINTR { continue }
      guard count == 8 else { return }
      let id = Int(words[0])
      let isReady = state.withLock { s in
        s.signs[id] = .now()
        guard !s.isReady, (0..<s.wanted).allSatisfy({ s.signs[$0] != nil }) else { return false }
        s.isReady = true
        return true
      }
      if isReady { allRun() }
    }
  }

  private func allRun() {
    if let before = before.withLock({ before in
      defer { before = nil }
      return before
    }) {
      before.connection.send("running")
      _ = before.connection.receive(seconds: 10)
    }
    log.info("all workers run")
    options.processFile?.write()
    do {
      let socket = try ControlSocket(on: pool) { [weak self] connection in await self?.serve(connection) }
      control.withLock { $0 = socket }
    } catch { log.warn("\(error); agg upgrade is not possible") }
    service.isReady("Running")
    service.watch(timers, pool, { self.log }) { [self] in
      // Comes back when every worker that runs has said so lately.
      while state.withLock({ s in s.signs.values.contains { MonotonicTime.now().since($0) > ServiceManager.workerSilence } }) {
        try? await Task.sleep(for: .milliseconds(200))
      }
    }
  }

  private func serve(_ connection: ControlConnection) async {
    guard let words = connection.receive(seconds: 10)?.text.split(separator: " ", maxSplits: 1).map(String.init),
      let verb = words.first
    else { return }
    switch verb {
    case "upgrade": await successor.upgrade(words.count > 1 ? words[1] : nil, connection)
    case "take-over": await handOver(connection, toSupervisor: words.count > 1)
    default: connection.refuse("unknown request")
    }
  }

  /// Another process follows: a supervisor, whose workers follow ours one by one, or a daemon without workers, for which ours stop.
  private func handOver(_ connection: ControlConnection, toSupervisor: Bool) async {
    guard let peer = connection.peer else { return }
    let workers = state.withLock { s in
      s.isHandingOver = true
      return s.workers.mapValues(\.pid)
    }
    log.info("handing over to process \(peer.pid)")
    service.status("Handing over to process \(peer.pid)")
    if toSupervisor {
      connection.send("workers " + workers.map { "\($0.key)=\($0.value)" }.joined(separator: " "))
    } else {
      pass(SIGTERM)
      while !state.withLock({ $0.workers.isEmpty }) { await ended.wait(until: .now().adding(nanoseconds: 100_000_000)) }
      connection.send("released")
    }
    let answer = try? await pool { connection.receive(seconds: 2 * Successor.patience)?.text }
    if answer == "running" {
      log.info("process \(peer.pid) has taken over; supervisor pid=\(getpid()) ends")
      service.isNow(peer.pid)
      connection.send("bye")
      successor.finish(peer.pid)
      // Workers that nobody followed end with this process.
      exit(0)
    }
    log.error("process \(peer.pid) did not take over; this supervisor goes on")
    try? await pool { Successor.end(peer.pid) }
    let missing = state.withLock { s in
      s.isHandingOver = false
      return (0..<s.wanted).filter { s.workers[$0] == nil }
    }
    for id in missing { start(id) }
    service.isReady("Running")
  }

  /// Asks the process before this one for its place. Its workers are followed by ours; without workers it has let go when this returns.
  func follow(_ predecessor: pid_t) async {
    log.info("taking over from process \(predecessor)")
    let known = try? await pool { [log] () throws -> (ControlConnection, [Int: pid_t])? in
      let connection = try ControlConnection(to: predecessor)
      guard connection.send("take-over workers") else { return nil }
      while let (text, descriptor) = connection.receive(seconds: 2 * Successor.patience) {
        if let descriptor { close(descriptor) }
        if text == "released" { return (connection, [:]) }
        guard text.hasPrefix("workers") else {
          log.warn("process \(predecessor) says: \(text)")
          continue
        }
        let pairs = text.split(separator: " ").dropFirst().map { $0.split(separator: "=").compactMap { pid_t($0) } }
        return (connection, Dictionary(pairs.filter { $0.count == 2 }.map { (Int($0[0]), $0[1]) }) { first, _ in first })
      }
      return nil
    }
    guard let known = known ?? nil else {
      return log.warn("process \(predecessor), which was to be followed, is gone; starting as usual")
    }
    before.withLock { $0 = (known.0, known.1) }
  }
}
