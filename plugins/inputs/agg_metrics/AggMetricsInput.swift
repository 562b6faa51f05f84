public import AggCore

/// agg's own figures as metric events: what the page of monitor_agent shows, for files, Mackerel, remote write.
public struct AggMetricsInput: Input {
  public struct Config: Configurable {
    var tag = "agg.metrics"
    var interval = TimeSpan(seconds: 60)
    var include: Regexp?
    var exclude: Regexp?
    var rates = false
    var maxFiles = OwnMetrics.defaultFiles
    var host: String?
    var service: String?
    var labels: ConfigElement?
    public init() {}
    public static let parameters: [Parameter<Self>] = [
      .optional("tag", \.tag, "Tag of the metric events"),
      .optional("interval", \.interval, "How often, at whole multiples of it: 60s is at each full minute"),
      .optional("include", \.include, "Only metrics whose name matches /…/"),
      .optional("exclude", \.exclude, "No metrics whose name matches /…/"),
      .optional("rates", \.rates, "Counters and histograms as what they grew by per second since the round before, as gauges"),
      .optional("max_files", \.maxFiles, "Files of one tail input that are told one by one; the others are told together"),
      .optional("host", \.host, "`host` of the events; without it they have none"),
      .optional("service", \.service, "`service` of the events; without it they have none"),
      .element("labels", \.labels, "Further labels: text, ${hostname}, ${worker_id}"),
    ]
    public mutating func validate(_ context: ConfigContext) throws {
      if tag.isEmpty { throw ConfigValueError("'tag' must not be empty") }
      if interval.nanoseconds < 10_000_000 { throw ConfigValueError("'interval' must be at least 0.01") }
      if maxFiles < 0 { throw ConfigValueError("'max_files' must be 0 or more") }
    }
  }
  public static let name = "agg_metrics"
  public static let summary = "agg's own figures as metric events."

  private let config: Config
  private let context: PluginContext
  private let labels: MonitorLabels

  public init(_ config: Config, _ context: PluginContext) throws {
    self.config = config
    self.context = context
    labels = try MonitorLabels(config.labels, context)
  }

  public var tags: SourceTags { .tag(config.tag) }

  public func run(_ emitter: Emitter) async throws {
    guard let monitor = context.shared(DaemonMonitor.self), let timers = context.shared(TimerQueue.self) else {
      throw ConfigValueError("there is nothing to monitor")
    }
    let waker = Waker(timers)
    var rates = config.rates ? CounterRates() : nil
    emitter.ready()
    while !Task.isCancelled {
      let (time, wait) = WholeInterval.next(after: .now(), every: Int64(config.interval.nanoseconds))
      await waker.wait(until: MonotonicTime.now().adding(nanoseconds: wait))
      if Task.isCancelled { break }
      await emit(monitor, at: time, &rates, emitter)
    }
    // Counters begin anew with the next process: the last figures are said before.
    await emit(monitor, at: .now(), &rates, emitter)
  }

  private func emit(_ monitor: DaemonMonitor, at time: EventTime, _ rates: inout CounterRates?, _ emitter: Emitter) async {
    var writer = MetricWriter(host: config.host, service: config.service, capacity: 64 * 1024)
    OwnMetrics(context, monitor, files: config.maxFiles).write(labels.pairs, at: time, &rates, into: &writer) { name in
      let bytes = Array(name.utf8)
      return bytes.withUnsafeBytes { config.include?.matches($0) ?? true && !(config.exclude?.matches($0) ?? false) }
    }
    let batch = writer.finish(tag: Tag(config.tag))
    if batch.isEmpty { return }
    do throws(EmitError) { try await emitter.emit(batch) } catch {
      // The next figures hold what these did.
      context.counters.add(.received, .lost, batch.count)
      context.log.warn("\(batch.count) metrics were not taken: \(error)")
    }
  }
}
