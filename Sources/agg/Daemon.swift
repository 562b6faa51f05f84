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
  private let logWaker: Waker
  private let engine = Mutex<Engine?>(nil)

  init(options: Run) {
    self.options = options
    let pool = BlockingPool()
    let timers = TimerQueue()
    let first = Log(level: options.level ?? .info, writer: writer)
    currentLog = Mutex(first)
    host = EngineHost(pool: pool, timers: timers, log: first)
    logWaker = Waker(timers)
    host.register(network)
    host.register(ledger)
    host.register(ProgramFacts(version: Version.number, configPath: options.config))
  }

  /// Reads the configuration and makes what it says, of which nothing runs.
  func check() throws { _ = try makeTopology() }

  func run() async {
    do {
      let (topology, warnings) = try makeTopology()
      for warning in warnings { log.warn("\(warning)") }
      log.info("starting agg-\(Version.number) pid=\(getpid()) config=\(options.config)")
      if options.dryRun {
        log.info("finished dry run mode: the configuration is valid")
        exit(0)
      }
      WorkerID.followSupervisor(on: host.pool)
      let signals = await UnixSignalsSequence(trapping: .sigterm, .sigint, .sighup, .sigusr1, .sigusr2)
      let engine = Engine(topology)
      self.engine.withLock { $0 = engine }
      ledger.follow(topology)
      let logEvents = Task(executorPreference: host.pool) { await self.forwardLogEvents() }
      try await engine.start()
      log.info("agg is running, worker=\(WorkerID.current ?? 0)")
      for await signal in signals {
        switch signal {
        case .sigusr1:
          log.info("signal USR1: flushing buffers, reopening the log")
          writer.reopen()
          self.engine.withLock { $0 }?.flush()
        case .sighup, .sigusr2: await reload()
        default:
          log.info("signal \(signal): stopping")
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
  private func makeTopology() throws -> (Topology, [ConfigError]) {
    let warnings = ConfigWarnings()
    let loaded = try LoadedConfig(path: options.config, warnings: warnings, workerID: WorkerID.current ?? 0)
    let system = loaded.system
    try writer.configure(loaded.logOptions(options, process: .worker(WorkerID.current ?? 0)))
    let level = options.level ?? loaded.logLevel
    currentLog.withLock { $0 = Log(level: level, writer: writer) }
    let host = EngineHost(pool: self.host.pool, timers: self.host.timers, log: Log(level: level, writer: writer))
    host.register(network)
    host.register(ledger)
    host.register(ProgramFacts(version: Version.number, configPath: options.config))
    if let mask = system.fileMask { umask(mask) }
    let builder = TopologyBuilder(plugins: builtins, host: host, system: system, info: loaded.info, context: loaded.context)
    let topology = try builder.build(loaded.root)
    return (topology, warnings.all)
  }

  /// A bad new configuration keeps the old one running and says why.
  private func reload() async {
    let topology: Topology
    do {
      let (made, warnings) = try makeTopology()
      for warning in warnings { log.warn("\(warning)") }
      topology = made
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
    log.info("reloaded")
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
