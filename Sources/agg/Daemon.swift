import AggCore
import AggEngine
import AggNet
import AggPlugins
import Glibc
import Synchronization
import UnixSignals

/// One running agg: reads the configuration, runs an engine, follows signals.
final class Daemon: Sendable {
  let options: RunOptions
  let writer = DaemonLog()
  let currentLog: Mutex<Log>
  var log: Log { currentLog.withLock { $0 } }
  let host: EngineHost
  /// One loop: events of different connections are stored in the order in which they came.
  let network = Network(threads: 1, sharesPorts: WorkerID.current != nil)
  let ledger = LedgerReader()
  /// Of the newest configuration; the next one takes over what it counted.
  let metrics = Mutex(MetricRegistry())
  private let logWaker: Waker
  let engine = Mutex<Engine?>(nil)
  /// What runs, to go back to.
  let running = Mutex<Prepared?>(nil)
  /// SIGWINCH came: with_source_only is over.
  let isReleased = Mutex(false)
  /// The control interface, where there is no supervisor to have it.
  let rpc = Mutex<RPCServer?>(nil)
  let phase = DaemonPhase()
  let checks = MackerelChecks()
  let service = ServiceManager.current
  private let control = Mutex<ControlSocket?>(nil)
  let successor: Successor
  /// Another process is taking this one's place; it reads the configuration itself.
  let isHandingOver = Mutex(false)
  /// Another process has this one's sockets and buffers.
  let isFollowed = Mutex(false)
  /// Held while the process before this one waits whether this one lasts.
  private let predecessor = Mutex<TakeOver?>(nil)
  /// Reloads, releases, hand-overs and the stop, one after the other.
  let changes = TaskQueue()

  private let memory: HeapMemory

  init(options: RunOptions) {
    HeapMemory.keepFreed()
    self.options = options
    let pool = BlockingPool()
    let timers = TimerQueue()
    memory = HeapMemory(timers, pool)
    let first = Log(level: options.level ?? .info, writer: writer)
    currentLog = Mutex(first)
    host = EngineHost(pool: pool, timers: timers, log: first)
    network.memory = host.memory
    logWaker = Waker(timers)
    let writer = writer
    successor = Successor(on: pool) { Log(level: .info, writer: writer) }
    host.register(network)
    host.register(ledger)
    host.register(ProgramFacts(version: Version.number, configPath: options.config))
    host.register(phase)
    host.register(checks)
    network.setNotices { [weak self] isError, message in
      if isError { self?.log.error(message) } else { self?.log.info(message) }
    }
  }

  /// Reads the configuration and makes what it says, of which nothing runs.
  func check() throws { _ = try prepare(try load()) }

  func run() async {
    let before = Successor.predecessor()
    var takeOver: TakeOver?
    do {
      let prepared = try prepare(try load())
      try use(prepared)
      for warning in prepared.warnings { log.warn("\(warning)") }
      log.info("starting agg-\(Version.number) pid=\(getpid()) config=\(options.config)")
      if options.dryRun {
        log.info("finished dry run mode: the configuration is valid")
        exit(0)
      }
      WorkerID.followSupervisor(on: host.pool)
      let signals = await UnixSignalsSequence(trapping: .sigterm, .sigint, .sighup, .sigusr1, .sigusr2, .sigwinch)
      ServiceManager.adoptSockets(network, log)
      takeOver = before.flatMap { try? TakeOver(from: $0) }
      if let before, try await host.pool({ [network, log, takeOver] in takeOver?.receive(network, log) ?? false }) == false {
        log.warn("process \(before), which was to be followed, is gone; starting as usual")
      }
      let engine = Engine(prepared.topology)
      self.engine.withLock { $0 = engine }
      ledger.follow(prepared.topology)
      let logEvents = Task(executorPreference: host.pool) { await self.forwardLogEvents() }
      try await engine.start()
      running.withLock { $0 = prepared }
      network.releaseUnclaimed()
      if WorkerID.current == nil {
        let server = RPCServer(on: network, log: { self.log }, flush: { self.engine.withLock { $0 }?.flush() })
        rpc.withLock { $0 = server }
        try await server.follow(prepared.topology.system, dump: prepared.dump)
      }
      let unused = network.unusedActivated
      if !unused.isEmpty { log.warn("the service manager passed sockets that no plugin listens on: \(unused.joined(separator: ", "))") }
      phase.run()
      log.info("agg is running, worker=\(WorkerID.current ?? 0)")
      takeOver?.isRunning()
      predecessor.withLock { $0 = takeOver }
      options.processFile?.write()
      WorkerID.tellSupervisor(.runs)
      listen()
      service.isReady("Running")
      watch()
      // At once, so that it is not resident beside the first chunks; then what the first passes of the plugins touched.
      ResidentText.release()
      host.timers.schedule(at: .now().adding(nanoseconds: 2_000_000_000)) { [memory] in
        ResidentText.release()
        memory.release()
        memory.follow()
      }
      for await signal in signals { await follow(signal, logEvents) }
    } catch {
      for line in "\(error)".split(separator: "\n") { log.error("\(line)") }
      takeOver?.failed("\(error)")
      if let engine = engine.withLock({ $0 }) { await engine.stop() }
      exit(1)
    }
  }

  private func follow(_ signal: UnixSignal, _ logEvents: Task<Void, Never>) async {
    switch signal {
    case .sigusr1:
      log.info("signal USR1: flushing buffers, reopening the log")
      writer.reopen()
      engine.withLock { $0 }?.flush()
    case .sighup, .sigusr2, .sigwinch:
      if isHandingOver.withLock({ $0 }) { return log.warn("signal \(signal) is not followed: another process takes over") }
      await changes.run { if signal == .sigwinch { await self.release() } else { await self.reload() } }
    default:
      log.info("signal \(signal): stopping")
      service.isStopping()
      // A stop does not wait for a reload or a hand-over: the process ends in any case.
      phase.end()
      successor.stopChild()
      if isFollowed.withLock({ $0 }) { exit(0) }
      await engine.withLock { $0 }?.stop()
      logEvents.cancel()
      await network.shutdown()
      options.processFile?.remove()
      log.info("agg has stopped")
      exit(0)
    }
  }

  /// Where `agg upgrade` and the process that follows this one speak to it.
  private func listen() {
    do {
      let socket = try ControlSocket(on: host.pool) { [weak self] connection in await self?.serve(connection) }
      control.withLock { $0 = socket }
    } catch { log.warn("\(error); agg upgrade is not possible") }
  }

  private func serve(_ connection: ControlConnection) async {
    guard let words = connection.receive(seconds: 10)?.text.split(separator: " ", maxSplits: 1).map(String.init), let verb = words.first else { return }
    switch verb {
    case "upgrade": await successor.upgrade(words.count > 1 ? words[1] : nil, connection)
    case "take-over": await changes.run { await self.handOver(connection, sockets: words.count == 1) }
    default: connection.refuse("unknown request")
    }
  }

  private func watch() {
    let probe: @Sendable () async -> Void = { [self] in
      await engine.withLock { $0 }?.answers()
      await network.answers()
    }
    service.watch(host.timers, host.pool, { self.log }, probe)
    WorkerID.keepTelling(host.timers, host.pool, probe)
  }

  /// agg's own log as `fluent.LEVEL` events, to `@FLUENT_LOG` or the top level, where somebody takes them.
  private func forwardLogEvents() async {
    writer.keepEvents(logWaker)
    while !Task.isCancelled {
      await logWaker.wait()
      let entries = writer.takeEvents()
      guard !entries.isEmpty, let engine = engine.withLock({ $0 }) else { continue }
      await engine.emitLog(entries.map { ($0.level, $0.time, $0.message) })
    }
  }
}

/// Runs one thing after the other, in the order in which they were asked for.
final class TaskQueue: Sendable {
  private let last = Mutex<Task<Void, Never>?>(nil)
  func run(_ body: @escaping @Sendable () async -> Void) async {
    let task = last.withLock { last in
      let before = last
      let task = Task {
        await before?.value
        await body()
      }
      last = task
      return task
    }
    await task.value
  }
}
