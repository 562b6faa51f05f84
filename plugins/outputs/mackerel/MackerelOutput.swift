public import AggCore
import AggNet

/// Sends metrics, check reports, graph definitions and metadata to Mackerel, in place of mackerel-agent and fluent-plugin-mackerel.
public struct MackerelOutput: Output {
  public static let name = "mackerel"
  public static let summary = "Metrics, check reports, graph definitions and metadata to Mackerel."
  /// An outage of days is sat out, and its end seen within minutes.
  public static let buffering = BufferDefaults(
    flushInterval: 60, flushAtShutdown: true, retryMaxInterval: 300, retryTimeout: 7 * 86_400)

  private let config: Config
  private let context: PluginContext
  private let rules: MackerelRules
  private let registration: HostRegistration?
  private let directory: HostDirectory
  private let progress = ProgressBook()
  private let services: MackerelServices
  private let pace: PostPace?
  private let known: MackerelChecks

  public init(_ config: Config, _ context: PluginContext) throws {
    self.config = config
    self.context = context
    rules = try MackerelRules(config)
    let version = context.shared(ProgramFacts.self)?.version ?? "0"
    let agent = (name: "agg/\(version)", version: version)
    let known = context.shared(MackerelChecks.self) ?? MackerelChecks()
    self.known = known
    registration = config.host.map { HostRegistration($0, path: config.ownIDPath, agent: agent, known: known, context) }
    directory = HostDirectory(registration, path: config.hostidPath)
    services = MackerelServices(config, agent: agent.name)
    pace = config.postOffset ? context.shared(TimerQueue.self).map { PostPace($0) } : nil
  }

  public func prepare() async throws {
    guard let registration, let (client, http) = services.on(context.shared(Network.self)) else { return }
    try await registration.begin(client, http)
  }

  public func run() async {
    guard let registration, let (client, http) = services.on(context.shared(Network.self)),
      let timers = context.shared(TimerQueue.self)
    else { return }
    await registration.keep(client, http, Waker(timers))
  }

  public func stopping() { pace?.stop() }

  public func close() async {
    if let registration, context.shared(DaemonPhase.self)?.isEnding == true,
      let (client, _) = services.on(context.shared(Network.self))
    {
      await registration.end(client)
    }
    await services.close()
  }

  public func write(_ chunk: ChunkView) async throws(WriteError) {
    guard let (client, _) = services.on(context.shared(Network.self)) else { throw .retry("there is no network") }
    let plan = MackerelPlan(chunk, rules)
    known.note(plan.checks, of: config.ownIDPath)
    tellOld(plan)
    var progress = progress.take(chunk.id)
    var failed: MackerelFailure?
    let delivery = MackerelDelivery(client: client, directory: directory, text: plan.text)
    do {
      for (place, request) in plan.requests.enumerated() where !progress.done.contains(place) {
        do {
          if case .host(let reference) = request.target { try await waitForPost(reference, plan, client) }
          try await delivery.send(request, at: place, &progress)
        } catch let failure as MackerelFailure {
          failed = Self.graver(failed, failure)
          // Nobody is there: the rest need not be tried. A limit on one service's metrics is none for the others.
          if failure.isSilence { break }
        }
      }
    } catch is CancellationError {
      self.progress.keep(progress, for: chunk.id)
      throw WriteError(.cancelled, "cancelled")
    } catch { failed = failed ?? MackerelFailure(status: nil, description: "\(error)") }
    if let failed {
      self.progress.keep(progress, for: chunk.id)
      throw .retry(failed.description, after: failed.retryAfter, status: failed.status)
    }
    try tell(plan.rejections + progress.refused, of: chunk)
  }

  private static func graver(_ a: MackerelFailure?, _ b: MackerelFailure) -> MackerelFailure {
    guard var a else { return b }
    if let wait = b.retryAfter { a.retryAfter = max(a.retryAfter ?? .zero, wait) }
    return a
  }

  private func tell(_ rejections: [Rejection], of chunk: ChunkView) throws(WriteError) {
    // One event may have given several points.
    var seen: Set<Int> = []
    let once = rejections.filter { seen.insert($0.index).inserted }.sorted { $0.index < $1.index }
    guard let first = once.first else { return }
    let code = String(first.reason.prefix { $0 != ":" && $0 != " " })
    if once.count == chunk.count, once.allSatisfy({ $0.reason == first.reason }), code.hasPrefix("http_") {
      throw .discard(code, first.reason)
    }
    throw WriteError(.partial(rejected: once), "\(once.count) events were refused: \(first.reason)")
  }

  /// A host's metrics go at its own second of the minute, unless they are late already.
  private func waitForPost(_ reference: HostReference, _ plan: MackerelPlan, _ client: MackerelClient) async throws {
    guard let pace, let newest = plan.newestMetric, reference == .own, let id = try await directory.id(reference, client) else {
      return
    }
    await pace.wait(PostPace.offset(of: id), newest: newest)
    try Task.checkCancellation()
  }

  private func tellOld(_ plan: MackerelPlan) {
    guard let oldest = plan.oldestMetric, services.isNewlyOld(EventTime.now().seconds &- oldest > 86_400) else { return }
    context.log.warn("points older than 24 hours are sent; Mackerel answers that it took them, and shows none")
  }
}
