import AggCore
import AggEngine
import AggNet
import AggPlugins
import Glibc
import Synchronization
import UnixSignals

/// One running agg: reads the configuration, runs an engine, follows signals.
final class Daemon: Sendable {
  private let options: Run
  private let writer = DaemonLog()
  private let currentLog: Mutex<Log>
  private var log: Log { currentLog.withLock { $0 } }
  private let host: EngineHost
  /// One loop: events of different connections are stored in the order in which they came.
  private let network = Network(threads: 1, sharesPorts: WorkerID.current != nil)
  private let ledger = LedgerReader()
  /// Of the newest configuration; the next one takes over what it counted.
  private let metrics = Mutex(MetricRegistry())
  private let logWaker: Waker
  private let engine = Mutex<Engine?>(nil)
  /// SIGWINCH came: with_source_only is over.
  private let isReleased = Mutex(false)
  /// The control interface, where there is no supervisor to have it.
  private let rpc = Mutex<RPCServer?>(nil)
  private let phase = DaemonPhase()
  private let checks = MackerelChecks()

  init(options: Run) {
    self.options = options
    let pool = BlockingPool()
    let timers = TimerQueue()
    let first = Log(level: options.level ?? .info, writer: writer)
    currentLog = Mutex(first)
    host = EngineHost(pool: pool, timers: timers, log: first)
    network.memory = host.memory
    logWaker = Waker(timers)
    host.register(network)
    host.register(ledger)
    host.register(ProgramFacts(version: Version.number, configPath: options.config))
    host.register(phase)
    host.register(checks)
  }

  /// Reads the configuration and makes what it says, of which nothing runs.
  func check() throws { _ = try makeTopology() }

  func run() async {
    do {
      let (topology, warnings, dump) = try makeTopology()
      for warning in warnings { log.warn("\(warning)") }
      log.info("starting agg-\(Version.number) pid=\(getpid()) config=\(options.config)")
      if options.dryRun {
        log.info("finished dry run mode: the configuration is valid")
        exit(0)
      }
      WorkerID.followSupervisor(on: host.pool)
      let signals = await UnixSignalsSequence(trapping: .sigterm, .sigint, .sighup, .sigusr1, .sigusr2, .sigwinch)
      let engine = Engine(topology)
      self.engine.withLock { $0 = engine }
      ledger.follow(topology)
      let logEvents = Task(executorPreference: host.pool) { await self.forwardLogEvents() }
      try await engine.start()
      if WorkerID.current == nil {
        let server = RPCServer(on: network, log: { self.log }, flush: { self.engine.withLock { $0 }?.flush() })
        rpc.withLock { $0 = server }
        try await server.follow(topology.system, dump: dump)
      }
      phase.run()
      log.info("agg is running, worker=\(WorkerID.current ?? 0)")
      for await signal in signals {
        switch signal {
        case .sigusr1:
          log.info("signal USR1: flushing buffers, reopening the log")
          writer.reopen()
          self.engine.withLock { $0 }?.flush()
        case .sighup, .sigusr2: await reload()
        case .sigwinch: await release()
        default:
          log.info("signal \(signal): stopping")
          phase.end()
          await self.engine.withLock { $0 }?.stop()
          logEvents.cancel()
          await network.shutdown()
          log.info("agg has stopped")
          exit(0)
        }
      }
    } catch {
      for line in "\(error)".split(separator: "\n") { log.error("\(line)") }
      if let engine = engine.withLock({ $0 }) { await engine.stop() }
      exit(1)
    }
  }

  /// The file as it is now; nothing of it runs yet.
  private func makeTopology() throws -> (topology: Topology, warnings: [ConfigError], dump: String) {
    let warnings = ConfigWarnings()
    var loaded = try LoadedConfig(path: options.config, warnings: warnings, workerID: WorkerID.current ?? 0)
    if options.withoutSource { loaded.system.withoutSource = true }
    let system = loaded.system
    let holds = (system.withSourceOnly || options.withSourceOnly) && !isReleased.withLock { $0 }
    let root = try loaded.rootToRun(sourceOnly: holds, workerID: WorkerID.current)
    try writer.configure(loaded.logOptions(options, process: .worker(WorkerID.current ?? 0)))
    let level = options.level ?? loaded.logLevel
    currentLog.withLock { $0 = Log(level: level, writer: writer) }
    let host = EngineHost(pool: self.host.pool, timers: self.host.timers, log: Log(level: level, writer: writer), memory: self.host.memory)
    host.register(network)
    host.register(ledger)
    host.register(metrics.withLock { metrics in
      metrics = MetricRegistry(after: metrics)
      return metrics
    })
    host.register(
      ProgramFacts(
        version: Version.number, configPath: options.config, logPath: options.log ?? system.log.path, rootDirectory: system.rootDirectory))
    host.register(phase)
    host.register(checks)
    if let mask = system.fileMask { umask(mask) }
    // Names the process whatever thread this is: the kernel cuts it at 15 bytes.
    if var name = system.processName, let file = try? File("/proc/self/comm", .write) {
      if let worker = WorkerID.current { name = "\(worker):\(name)" }
      name.withUTF8 { try? file.write(UnsafeRawBufferPointer($0)) }
    }
    let builder = TopologyBuilder(plugins: builtins, host: host, system: system, info: loaded.info, context: loaded.context)
    let topology = try builder.build(root)
    if holds { log.info("with_source_only: events are kept in files; SIGWINCH lets them on") }
    return (topology, warnings.all, SecretMask(builtins).text(loaded.root))
  }

  /// A bad new configuration keeps the old one running and says why.
  private func reload() async {
    let topology: Topology
    let text: String
    do {
      let (made, warnings, dump) = try makeTopology()
      for warning in warnings { log.warn("\(warning)") }
      topology = made
      text = dump
    } catch {
      for line in "\(error)".split(separator: "\n") { log.error("\(line)") }
      log.error("the new configuration was not taken; the old one goes on running")
      return
    }
    log.info("reloading \(options.config)")
    let next = Engine(topology)
    await engine.withLock { $0 }?.stop()
    engine.withLock { $0 = next }
    ledger.follow(topology)
    do { try await next.start() } catch {
      log.fatal("the new configuration does not start: \(error)")
      await next.stop()
      exit(1)
    }
    do { try await rpc.withLock { $0 }?.follow(topology.system, dump: text) } catch { log.error("the RPC server cannot listen: \(error)") }
    log.info("reloaded")
  }

  /// SIGWINCH: the end of with_source_only. A terminal sends it too, for nothing.
  private func release() async {
    guard let system = engine.withLock({ $0 })?.topology.system, system.withSourceOnly || options.withSourceOnly else { return }
    let isFirst = isReleased.withLock { released in
      defer { released = true }
      return !released
    }
    guard isFirst else { return }
    log.info("signal WINCH: with_source_only ends; filters and outputs start, and what was kept is delivered")
    await reload()
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
