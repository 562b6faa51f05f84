import AggCore
import AggEngine
import AggNet
import AggPlugins
import Glibc

/// A configuration that was read and made, of which nothing runs yet.
struct Prepared: Sendable {
  var loaded: LoadedConfig
  var topology: Topology
  var metrics: MetricRegistry
  var warnings: [ConfigError]
  /// The configuration as it may be shown; made when somebody asks.
  var dump: @Sendable () -> String
  var log: Log
}

extension Daemon {
  /// The file as it is now.
  func load() throws -> LoadedConfig {
    let warnings = ConfigWarnings()
    var loaded = try LoadedConfig(path: options.config, warnings: warnings, workerID: WorkerID.current ?? 0)
    if options.withoutSource { loaded.system.withoutSource = true }
    return loaded
  }

  /// Makes what the configuration says, upon the parts of `base` that it has in common with it. Changes nothing that runs.
  func prepare(_ loaded: LoadedConfig, upon base: Topology? = nil) throws -> Prepared {
    let system = loaded.system
    let holds = (system.withSourceOnly || options.withSourceOnly) && !isReleased.withLock { $0 }
    let root = try loaded.rootToRun(sourceOnly: holds, workerID: WorkerID.current)
    let level = options.level ?? loaded.logLevel
    let log = Log(level: level, writer: writer)
    let host = EngineHost(pool: self.host.pool, timers: self.host.timers, log: log, memory: self.host.memory)
    let metrics = MetricRegistry(after: self.metrics.withLock { $0 })
    host.register(network)
    host.register(ledger)
    host.register(metrics)
    host.register(
      ProgramFacts(
        version: Version.number, configPath: options.config, logPath: options.log ?? system.log.path,
        rootDirectory: system.rootDirectory))
    host.register(phase)
    host.register(checks)
    func build(_ base: Topology?) throws -> Topology {
      try TopologyBuilder(
        plugins: builtins, host: host, system: system, info: loaded.info, context: loaded.context, previous: base
      ).build(root)
    }
    var topology = try build(base)
    if let base, !base.sharesStore(with: topology) { topology = try build(nil) }
    if holds { log.info("with_source_only: events are kept in files; SIGWINCH lets them on") }
    return Prepared(
      loaded: loaded, topology: topology, metrics: metrics, warnings: loaded.context.warnings.all,
      dump: { SecretMask(builtins).text(loaded.root) }, log: log)
  }

  /// What belongs to the process rather than to plugins.
  func use(_ prepared: Prepared) throws {
    let system = prepared.loaded.system
    try writer.configure(prepared.loaded.logOptions(options, process: .worker(WorkerID.current ?? 0)))
    currentLog.withLock { $0 = prepared.log }
    metrics.withLock { $0 = prepared.metrics }
    if let mask = system.fileMask { umask(mask) }
    // Names the process whatever thread this is: the kernel cuts it at 15 bytes.
    if var name = system.processName, let file = try? File("/proc/self/comm", .write) {
      if let worker = WorkerID.current { name = "\(worker):\(name)" }
      name.withUTF8 { try? file.write(UnsafeRawBufferPointer($0)) }
    }
  }

  /// What is the same in the new file runs on, the rest is exchanged. A bad new file, or one that cannot start, keeps the old one.
  func reload() async {
    guard let engine = engine.withLock({ $0 }), let old = running.withLock({ $0 }) else { return }
    service.isReloading()
    defer { service.isReady("Running") }
    let prepared: Prepared
    do {
      let loaded = try load()
      prepared = try prepare(loaded, upon: loaded.systemText == old.loaded.systemText ? engine.base : nil)
    } catch {
      for line in "\(error)".split(separator: "\n") { log.error("\(line)") }
      log.error("the new configuration was not taken; the old one goes on running")
      return
    }
    for warning in prepared.warnings { log.warn("\(warning)") }
    log.info("reloading \(options.config)")
    do {
      try use(prepared)
      try await engine.replace(with: prepared.topology)
    } catch {
      log.error("the new configuration does not start: \(error)")
      await goBack(engine, to: old)
      return
    }
    running.withLock { $0 = prepared }
    ledger.follow(prepared.topology)
    network.releaseUnclaimed()
    await network.checkCertificates()
    do { try await rpc.withLock { $0 }?.follow(prepared.topology.system, dump: prepared.dump) } catch {
      log.error("the RPC server cannot listen: \(error)")
    }
    let kept = prepared.topology.keptCount
    log.info("reloaded; \(kept.kept) of \(kept.all) plugins ran on")
  }

  private func goBack(_ engine: Engine, to old: Prepared) async {
    do {
      let again = try prepare(old.loaded, upon: engine.base)
      try use(again)
      try await engine.replace(with: again.topology)
      running.withLock { $0 = again }
      ledger.follow(again.topology)
      network.releaseUnclaimed()
      log.error("the new configuration was not taken; the old one goes on running")
    } catch {
      log.fatal("the old configuration does not start again either: \(error)")
      await engine.stop()
      exit(1)
    }
  }

  /// SIGWINCH: the end of with_source_only. A terminal sends it too, for nothing.
  func release() async {
    guard let system = engine.withLock({ $0 })?.topology.system, system.withSourceOnly || options.withSourceOnly else { return }
    let isFirst = isReleased.withLock { released in
      defer { released = true }
      return !released
    }
    guard isFirst else { return }
    log.info("signal WINCH: with_source_only ends; filters and outputs start, and what was kept is delivered")
    await reload()
  }
}
