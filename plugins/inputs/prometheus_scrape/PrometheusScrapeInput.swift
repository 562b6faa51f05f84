public import AggCore
import AggNet

/// Reads the pages of Prometheus' targets into metric events.
public struct PrometheusScrapeInput: Input {
  /// `<target>`: one page with settings of its own.
  public struct Target: Configurable {
    var url = ""
    var interval: TimeSpan?
    var timeout: TimeSpan?
    var labels: ConfigElement?
    public init() {}
    public static let parameters: [Parameter<Self>] = [
      .required("url", \.url, "The page"),
      .optional("interval", \.interval, "How often; without it as the others"),
      .optional("timeout", \.timeout, "For one page; without it as the others"),
      .element("labels", \.labels, "Labels of its samples, beside instance"),
    ]
  }
  public struct Config: HTTPAccessConfigurable {
    var tag = ""
    var urls: [String] = []
    var targets: [Target] = []
    var interval = TimeSpan(seconds: 60)
    var timeout = TimeSpan(seconds: 10)
    var labels: ConfigElement?
    var honorsLabels = false
    var honorsTimestamps = true
    var staleMarkers = false
    var sampleLimit = 100_000
    var pageLimit = ByteSize(bytes: 32 << 20)
    var access = HTTPAccess()
    public init() {}
    public static let parameters: [Parameter<Self>] =
      [
        .required("tag", \.tag, "Tag of the metric events"),
        .optional("urls", \.urls, "Pages to read"),
        .sections("target", \.targets, "A page with settings of its own"),
        .optional("interval", \.interval, "How often a page is read"),
        .optional("timeout", \.timeout, "For one page"),
        .element("labels", \.labels, "Labels of every sample, beside instance"),
        .optional("honor_labels", \.honorsLabels, "A sample's own label wins; else it becomes exported_…, as in Prometheus"),
        .optional("honor_timestamps", \.honorsTimestamps, "Timestamps of the page count; else the time of reading"),
        .optional("stale_markers", \.staleMarkers, "Tell the end of a series by the NaN that remote write has for it"),
        .optional("sample_limit", \.sampleLimit, "A page with more samples is refused whole"),
        .optional("body_size_limit", \.pageLimit, "A longer page is refused, also after gzip"),
      ] + accessRows
    public mutating func validate(_ context: ConfigContext) throws {
      if tag.isEmpty { throw ConfigValueError("'tag' must not be empty") }
      if urls.isEmpty, targets.isEmpty { throw ConfigValueError("has nothing to read; give 'urls' or a <target>") }
      for url in urls + targets.map(\.url) {
        guard let target = HTTPEndpoint(url), ["http", "https"].contains(target.scheme) else {
          throw ConfigValueError("'\(HTTPEndpoint.masked(url))' is no URL such as http://127.0.0.1:9100/metrics")
        }
      }
      for span in [interval, timeout] + targets.compactMap(\.interval) + targets.compactMap(\.timeout) where span.nanoseconds <= 0
      {
        throw ConfigValueError("'interval' and 'timeout' must be more than 0")
      }
      if sampleLimit < 1 { throw ConfigValueError("'sample_limit' must be 1 or more") }
      try access.validate(reserved: Scrape.reservedHeaders)
    }
  }
  public static let name = "prometheus_scrape"
  public static let summary = "Reads the pages of Prometheus' targets into metric events."
  public static let sharesWorkers = false

  private let config: Config
  private let context: PluginContext
  private let targets: [Scrape.Target]

  public init(_ config: Config, _ context: PluginContext) throws {
    self.config = config
    self.context = context
    let common = try MonitorLabels(config.labels, context).pairs
    var targets: [Scrape.Target] = []
    for target in config.urls.map({ url -> Target in
      var target = Target()
      target.url = url
      return target
    }) + config.targets {
      let own = try MonitorLabels(target.labels, context).pairs
      let interval = target.interval ?? config.interval
      targets.append(
        Scrape.Target(
          url: target.url, interval: Int64(interval.nanoseconds),
          // A page that takes longer than the interval would meet itself.
          timeout: min(target.timeout ?? config.timeout, interval).duration,
          labels: common.filter { pair in !own.contains { $0.0 == pair.0 } } + own,
          memory: config.staleMarkers ? ScrapeMemory() : nil))
    }
    self.targets = targets
  }

  public func run(_ emitter: Emitter) async throws {
    guard let network = context.shared(Network.self), let timers = context.shared(TimerQueue.self) else {
      throw ConfigValueError("there is no network")
    }
    var options = HTTPClientOptions()
    options.tls = config.access.tls
    let client = HTTPClient(options, on: network)
    let scrape = Scrape(
      client: client, access: config.access, honorsLabels: config.honorsLabels, honorsTimestamps: config.honorsTimestamps,
      sampleLimit: config.sampleLimit, pageLimit: config.pageLimit.bytes, tag: Tag(config.tag), lane: InputLane(context, emitter))
    emitter.ready()
    let begin = MonotonicTime.now()
    await withTaskGroup(of: Void.self) { group in
      for (index, target) in targets.enumerated() {
        // The first at once, the others spread over the interval.
        let start = begin.adding(nanoseconds: target.interval / Int64(targets.count) * Int64(index))
        group.addTask { await follow(target, from: start, scrape, timers) }
      }
    }
    await client.close()
  }

  private func follow(_ target: Scrape.Target, from start: MonotonicTime, _ scrape: Scrape, _ timers: TimerQueue) async {
    let waker = Waker(timers)
    var next = start
    while !Task.isCancelled {
      if next > .now() { await waker.wait(until: next) }
      if Task.isCancelled { return }
      await scrape.read(target)
      next = next.adding(nanoseconds: target.interval)
      // Late by more than an interval: what was missed is not made up for.
      let now = MonotonicTime.now()
      if now.since(next) > target.interval { next = now }
    }
  }
}
