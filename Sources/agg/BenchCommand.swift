import AggCore
import AggEngine
import AggExpression
import AggNet
import AggPlugins
import ArgumentParser
import Glibc

/// `agg bench FILE`: what a configuration costs and carries on this machine.
struct BenchCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bench", abstract: "Measure a configuration with generated or replayed lines.",
    discussion: """
      Runs what the file says with one source in the place of all its sources: lines from memory, parsed and sent under a tag, as fast as
      they are taken or at a rate. Buffers are in a temporary folder. Outputs write where they are configured to write, unless
      --null-outputs is given. CPU is counted until everything is delivered. One process is measured, whatever <system> workers says.
      """)
  enum Kind: String, ExpressibleByArgument, CaseIterable { case json, nginx, syslog, raw }

  @Argument(help: "Configuration file.")
  var file: String
  @Option(help: "How long lines are sent.")
  var seconds = 10
  @Option(
    help: ArgumentHelp(
      "Lines of this file, again and again, read by the <parse> section of the source with the tag.", valueName: "file"))
  var input: String?
  @Option(help: "Lines of a kind, with its parser: json, nginx, syslog, raw.")
  var generate: Kind?
  @Option(help: "Events a second (default: as many as are taken).")
  var rate: Int?
  @Option(help: "Tag of the events (default: that of the first source that has one).")
  var tag: String?
  @Flag(name: .customLong("null-outputs"), help: "Buffer as configured, then drop: nothing is written or sent.")
  var nullOutputs = false
  @Flag(help: "The figures as one JSON object.")
  var json = false

  mutating func validate() throws {
    if seconds < 1 || seconds > 86_400 { throw ValidationError("--seconds is 1 to 86400") }
    if let rate, rate < 1 || rate > 1_000_000_000 { throw ValidationError("--rate is 1 to 1000000000") }
    if input != nil, generate != nil { throw ValidationError("--input and --generate exclude each other") }
  }

  mutating func run() async throws {
    signal(SIGPIPE, SIG_IGN)
    let folder = "/tmp/agg-bench-\(getpid())-\(EventTime.now().nanoseconds)"
    var failure: String?
    do {
      try File.makeDirectories(folder, permission: 0o700)
      try await measure(in: folder)
    } catch { failure = "\(error)" }
    BenchPlan.removeAll(folder)
    if let failure { exitWithError(failure) }
  }

  private func measure(in folder: String) async throws {
    let warnings = ConfigWarnings()
    var loaded = try LoadedConfig(path: file, warnings: warnings)
    var plan = BenchPlan(folder: folder, dropsAtOutputs: nullOutputs)
    let root = try plan.root(loaded.root, tag: tag, parse: generate ?? (input == nil ? .json : nil))
    loaded.system.rootDirectory = folder
    loaded.system.deadLetterPath = nil
    var info = loaded.info
    info.rootDirectory = folder
    info.workers = 1
    let text = try input.map { try Block(File.contents($0, limit: 1 << 30)) } ?? BenchLines.block(generate ?? .json)
    let feed = try BenchFeed(text, seconds: seconds, rate: rate)

    let writer = DaemonLog()
    let host = EngineHost(log: Log(level: .warn, writer: writer))
    let network = Network(threads: 1)
    network.memory = host.memory
    let ledger = LedgerReader()
    host.register(network)
    host.register(ledger)
    host.register(MetricRegistry())
    host.register(ProgramFacts(version: Version.number, configPath: file, rootDirectory: folder))
    host.register(DaemonPhase())
    host.register(MackerelChecks())
    host.register(feed)
    var set = builtins
    set.inputs.append(.init(BenchInput.self))
    let topology = try TopologyBuilder(plugins: set, host: host, system: loaded.system, info: info, context: loaded.context)
      .build(root)
    for warning in warnings.all { printError("\(warning)") }
    ledger.follow(topology)

    let engine = Engine(topology)
    let cpu = Self.cpu()
    let begun = MonotonicTime.now()
    try await engine.start()
    await feed.ended()
    let sent = MonotonicTime.now()
    let plugins = await delivered(engine, host)
    let ended = MonotonicTime.now()
    let used = Self.cpu() - cpu
    await engine.stop()
    await network.shutdown()
    BenchReport(
      events: feed.counts.events, bytes: feed.counts.bytes, sending: Self.seconds(begun, sent),
      draining: Self.seconds(sent, ended),
      cpu: Double(used) / 1e9, plugins: plugins, rejected: feed.counts.rejected, reason: feed.counts.reason
    ).print(asJSON: json)
  }

  /// Most seconds that deliveries may take when nothing more is sent.
  private static let patience: Int64 = 30

  /// Flushes, waits until the buffers are empty, and returns what every plugin counted.
  private func delivered(_ engine: Engine, _ host: EngineHost) async -> [PluginSnapshot] {
    let limit = MonotonicTime.now().adding(nanoseconds: Self.patience * 1_000_000_000)
    while true {
      engine.flush()
      let plugins = host.shared(DaemonMonitor.self)?.snapshot().plugins ?? []
      if MonotonicTime.now() >= limit || plugins.allSatisfy({ $0.counters[.buffered] <= 0 }) { return plugins }
      try? await Task.sleep(for: .milliseconds(5))
    }
  }

  private static func seconds(_ from: MonotonicTime, _ to: MonotonicTime) -> Double {
    Double(to.nanoseconds &- from.nanoseconds) / 1e9
  }
  private static func cpu() -> Int {
    var time = timespec()
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
    return time.tv_sec * 1_000_000_000 + time.tv_nsec
  }
}
