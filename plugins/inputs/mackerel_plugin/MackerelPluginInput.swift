public import AggCore

/// Runs a metric plugin of mackerel-agent at intervals; each point it prints is a metric event.
public struct MackerelPluginInput: Input {
  public struct Config: Configurable {
    var command = CommandText()
    var tag = "mackerel.metric"
    var interval = TimeSpan(seconds: 60)
    var timeout = TimeSpan(seconds: 30)
    var user: String?
    var env = StringMap()
    var includePattern: String?
    var excludePattern: String?
    var customIdentifier: String?
    var usePluginTimestamp = false
    var prefix = "custom."
    var graphDefs = true
    var graphDefsTag = "mackerel.graph"
    var graphDefsInterval = TimeSpan(seconds: 3 * 3600)
    public init() {}
    public static let parameters: [Parameter<Self>] = [
      .required("command", \.command, "What /bin/sh runs, or a JSON array of arguments"),
      .optional("tag", \.tag, "Tag of the metric events"),
      .optional("interval", \.interval, "Runs at each whole multiple of this time"),
      .optional("timeout", \.timeout, "A run that takes longer is ended with its children, TERM first", alias: "timeout_seconds"),
      .optional("user", \.user, "User that the command runs as"),
      .optional("env", \.env, "Variables for the command, beside those of the daemon"),
      .optional("include_pattern", \.includePattern, "Only metrics whose name (as printed) this expression matches"),
      .optional("exclude_pattern", \.excludePattern, "No metrics whose name (as printed) this expression matches"),
      .optional("custom_identifier", \.customIdentifier, "The metrics are of the host with this custom identifier"),
      .optional("use_plugin_timestamp", \.usePluginTimestamp, "Take the time that each line has instead of the run's"),
      .optional("prefix", \.prefix, "Goes before each name"),
      .optional("graph_defs", \.graphDefs, "Ask the plugin for its graph definitions at the start"),
      .optional("graph_defs_tag", \.graphDefsTag, "Tag of the events that hold graph definitions"),
      .optional("graph_defs_interval", \.graphDefsInterval, "Ask again after this time: a server forgets those of unused graphs"),
    ]
    public mutating func validate(_ context: ConfigContext) throws {
      if interval.nanoseconds < 1_000_000_000 { throw ConfigValueError("'interval' must be at least 1 second") }
      if graphDefsInterval.nanoseconds < 1_000_000_000 {
        throw ConfigValueError("'graph_defs_interval' must be at least 1 second")
      }
      if tag.isEmpty || graphDefsTag.isEmpty { throw ConfigValueError("'tag' and 'graph_defs_tag' must not be empty") }
    }
  }
  public static let name = "mackerel_plugin"
  public static let summary = "Metrics that a plugin of mackerel-agent prints."

  public static let sharesWorkers = false

  private let config: Config
  private let context: PluginContext
  private let command: PluginCommand
  private let metrics: PluginMetrics

  public init(_ config: Config, _ context: PluginContext) throws {
    self.config = config
    self.context = context
    command = try PluginCommand(config.command, user: config.user, environment: config.env, timeout: config.timeout)
    func pattern(_ text: String?, _ name: String) throws -> Regexp? {
      do throws(ConfigValueError) { return try text.map { (text) throws(ConfigValueError) in try Regexp(text) } } catch {
        throw ConfigValueError("'\(name)' \(error.message)")
      }
    }
    metrics = PluginMetrics(
      include: try pattern(config.includePattern, "include_pattern"),
      exclude: try pattern(config.excludePattern, "exclude_pattern"),
      prefix: config.prefix, usesLineTime: config.usePluginTimestamp)
  }

  public var tags: SourceTags {
    guard config.graphDefs, case .some(let metrics) = SourceTags.tag(config.tag),
      case .some(let graphs) = SourceTags.tag(config.graphDefsTag)
    else {
      return .tag(config.tag)
    }
    return .some(metrics + graphs)
  }

  public func run(_ emitter: Emitter) async throws {
    let services = try CommandServices(context)
    let store = PluginStore(context: context, services: services)
    emitter.ready()
    let waker = Waker(services.timers)
    var clock = PluginClock(config.interval)
    var nextDefinitions = MonotonicTime.now()
    while !Task.isCancelled {
      if config.graphDefs, MonotonicTime.now() >= nextDefinitions {
        await define(services, store, emitter)
        nextDefinitions = MonotonicTime.now().adding(config.graphDefsInterval.duration)
      }
      guard let (tick, missed) = await clock.next(waker) else { return }
      if missed > 0 { context.log.warn("the command ran longer than interval; \(missed) runs were left out") }
      await collect(tick, services, store, emitter)
    }
  }

  private func collect(_ tick: EventTime, _ services: CommandServices, _ store: PluginStore, _ emitter: Emitter) async {
    let run = await command.run(services, context.log, ["MACKEREL_AGENT_PLUGIN_META": ""])
    guard isUsable(run) else { return }
    var writer = MetricWriter(host: config.customIdentifier)
    var problems = PluginMetrics.Problems()
    metrics.read(run.output, at: tick, into: &writer, &problems)
    store.reject(problems.count, problems.reason)
    await store.emit(writer.finish(tag: Tag(config.tag)), emitter)
  }

  private func define(_ services: CommandServices, _ store: PluginStore, _ emitter: Emitter) async {
    let run = await command.run(services, context.log, ["MACKEREL_AGENT_PLUGIN_META": "1"])
    guard isUsable(run) else { return }
    var problems: [String] = []
    let definitions: [GraphDefinition]
    do throws(ConfigValueError) { definitions = try GraphDefinition.read(run.output, problems: &problems) } catch {
      // Many plugins have none: no mistake.
      return context.log.debug("no graph definitions: \(error.message)")
    }
    for problem in problems.prefix(5) { context.log.warn(problem) }
    var builder = BatchBuilder(capacity: 4096)
    let now = EventTime.now()
    for definition in definitions {
      builder.begin()
      definition.encode(into: &builder.writer)
      builder.commit(time: now)
    }
    await store.emit(builder.finish(tag: Tag(config.graphDefsTag)), emitter)
  }

  /// Says what went wrong with a run; the status it ended with does not matter, as to mackerel-agent.
  private func isUsable(_ run: PluginRun) -> Bool {
    switch run.outcome {
    case .ended(let ending):
      if !ending.isSuccess { context.log.warn("the command \(ending)") }
      return true
    case .timedOut: context.log.warn("the command took longer than timeout and was ended; its metrics are left out")
    case .tooLong:
      context.log.warn(
        "the command printed more than \(PluginCommand.readBytes >> 20) MiB and was ended; its metrics are left out")
    case .notStarted(let why): context.log.error(why)
    case .cancelled: break
    }
    return false
  }
}
