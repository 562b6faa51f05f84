import AggCore
import AggNet
import Glibc
import Synchronization

/// This machine as a host of Mackerel: found or registered, kept up to date, its status set, and retired at the end if so configured.
///
/// Until it is established nothing is sent in its name; what is buffered meanwhile waits.
final class HostRegistration: Sendable {
  struct Refusal: Error, Sendable, CustomStringConvertible { var description: String }

  private struct State {
    var id: String?
    /// Why this machine must not send under the id that it has.
    var refusal: String?
    /// Not at a reload, which is no start: somebody may have changed it.
    var setsStatus = true
    var checksSent: [String: String]?
  }
  private let state = Mutex(State())
  private let config: MackerelOutput.Host
  private let path: String
  private let context: PluginContext
  private let agent: (name: String, version: String)
  /// The first time that a spec tells the checks there are: later than the first run of each.
  private static let settling: Int64 = 90_000_000_000

  private let known: MackerelChecks

  init(
    _ config: MackerelOutput.Host, path: String, agent: (name: String, version: String), known: MackerelChecks,
    _ context: PluginContext
  ) {
    self.known = known
    self.config = config
    self.path = path
    self.agent = agent
    self.context = context
  }

  /// The host's id; throws why there is none.
  func id() throws(MackerelFailure) -> String {
    let (id, refusal) = state.withLock { ($0.id, $0.refusal) }
    if let id { return id }
    throw MackerelFailure(status: nil, description: refusal ?? "this host is not registered yet")
  }

  // MARK: Establishing

  /// Throws `Refusal` where starting would be wrong; where nobody answers, `keep` goes on trying. A reload is never refused: what ran
  /// goes on, and what is buffered waits.
  func begin(_ client: MackerelClient, _ http: HTTPClient) async throws {
    let isReload = context.shared(DaemonPhase.self)?.isRunning == true
    state.withLock { $0.setsStatus = !isReload }
    let refusal: Refusal
    do { return try await establish(client, http) } catch let failure as MackerelFailure {
      guard failure.isRefusal else {
        return context.log.warn("this host could not be looked up yet, its metrics wait: \(failure.description)")
      }
      refusal = Refusal(description: "this host cannot be registered: \(failure.description)")
    } catch let error as FileError { refusal = Refusal(description: error.description) } catch let error as Refusal { refusal = error }
    guard isReload else { throw refusal }
    context.log.error("\(refusal); its metrics wait")
  }

  private func establish(_ client: MackerelClient, _ http: HTTPClient) async throws {
    let spec = try await spec(http)
    var host: MackerelHost
    if let id = try storedID() {
      do { host = try await client.host(id) } catch let failure as MackerelFailure where failure.status == 404 {
        throw refused(
          "the host \(id) of \(path) is not known there; delete \(path) to register this machine anew, or use the API key of its organization"
        )
      }
      if host.isRetired {
        throw refused("the host \(id) of \(path) has been retired; delete \(path) to register this machine anew")
      }
      if config.checkIdentity, let reason = mismatch(host, spec) {
        // Its identifier is the cloud's, which may be late at a boot: no reason to refuse yet.
        if spec.cloudIsSilent {
          throw MackerelFailure(
            status: nil, description: "the cloud's metadata service does not say which machine this is; the host \(host.id) waits"
          )
        }
        throw refused(reason)
      }
    } else if let identifier = spec.customIdentifier, let known = try await client.host(customIdentifier: identifier) {
      host = known
      context.log.info("this machine is the host \(host.id), found by its custom identifier \(identifier)")
    } else if let known = try await unanswered(spec, client) {
      host = known
      context.log.info("this machine is the host \(host.id): the answer to its registration was lost")
    } else {
      var record = spec.record
      let marker = try RegistrationMarker.begin(path)
      marker.put(into: &record)
      if let memo = config.memo { record["memo"] = Value(memo) }
      if let checks = configuredChecks { record["checks"] = checks }
      let answer: Value
      do { answer = try await client.call("POST", "/hosts", Value.map(record).json ?? [], isRepeatable: false) } catch
        let failure as MackerelFailure where failure.isRefusal
      {
        RegistrationMarker.end(path)
        throw failure
      }
      guard let id = answer["id"]?.text, !id.isEmpty else {
        throw MackerelFailure(status: nil, description: "POST /hosts was answered without an id")
      }
      // Kept before anything else can fail: the host exists now.
      try store(id)
      context.log.info("registered this machine as the host \(id)")
      host = try await client.host(id)
    }
    try store(host.id)
    RegistrationMarker.end(path)
    try await send(spec, host.id, client)
    if let status = config.onStart, status != host.status, state.withLock({ $0.setsStatus }) { try await client.setStatus(status, of: host.id) }
    state.withLock { $0.id = host.id }
  }

  /// The host that an earlier attempt registered without hearing of it; nil where there was none.
  private func unanswered(_ spec: HostSpec, _ client: MackerelClient) async throws -> MackerelHost? {
    guard let marker = try RegistrationMarker.pending(path) else { return nil }
    return try await client.hosts(name: spec.name).first { marker.isOf($0) }
  }

  private func refused(_ reason: String) -> Refusal {
    state.withLock { $0.refusal = reason }
    return Refusal(description: reason)
  }

  /// Why the id on this machine's disk is another machine's (an image was copied); nil where nothing speaks for that.
  private func mismatch(_ host: MackerelHost, _ spec: HostSpec) -> String? {
    let advice =
      "\(path) may have been copied from another machine: delete it and start again, so that this one is registered itself"
    if let theirs = host.customIdentifier, theirs != spec.customIdentifier {
      return "the host \(host.id) has the custom identifier \(theirs), this machine \(spec.customIdentifier ?? "none"); \(advice)"
    }
    // Without identifiers: another name and not one of its hardware addresses.
    let ours = Set(spec.interfaces.compactMap(\.macAddress))
    if host.customIdentifier == nil, host.name != spec.name, !host.macAddresses.isEmpty, !ours.isEmpty,
      ours.isDisjoint(with: host.macAddresses)
    {
      return
        "the host \(host.id) is named \(host.name) and has other network interfaces than this machine, \(spec.name); \(advice) (or write check_identity false)"
    }
    return nil
  }

  private func storedID() throws -> String? { try HostRegistration.storedID(path) }
  /// The id in a file; nil where there is no file.
  static func storedID(_ path: String) throws(FileError) -> String? {
    do throws(FileError) {
      let text = try File.contents(path, limit: 4096).string
      let id = text.split { $0 == " " || $0 == "\n" || $0 == "\r" || $0 == "\t" }.first.map { String($0) }
      return id.flatMap { MackerelName.isPlain($0) ? $0 : nil }
    } catch {
      if error.isMissing { return nil }
      throw error
    }
  }
  private func store(_ id: String) throws(FileError) {
    guard MackerelName.isPlain(id) else { throw FileError(path, "hold the id '\(id.prefix(40))'", EINVAL) }
    if (try? storedID()) == id { return }
    try File.makeDirectories(File.directory(of: path))
    var file = ByteWriter(capacity: 64)
    file.append(id)
    try File.replace(path, with: file.bytes, sync: true)
  }

  // MARK: Keeping

  /// Sends facts every `spec_interval`, new checks soon, until cancelled; establishes what `begin` could not.
  func keep(_ client: MackerelClient, _ http: HTTPClient, _ waker: Waker) async {
    let begun = MonotonicTime.now()
    var nextSpec = begun.adding(config.specInterval.duration)
    var pause: Int64 = 3_000_000_000
    while !Task.isCancelled {
      let id = state.withLock { $0.id }
      await waker.wait(
        until: .now().adding(nanoseconds: id == nil ? pause : min(60_000_000_000, Int64(config.specInterval.nanoseconds))))
      if Task.isCancelled { return }
      do {
        if id == nil {
          if state.withLock({ $0.refusal != nil }) { pause = 300_000_000_000 }
          try await establish(client, http)
          context.log.info("this host is known now; its metrics are sent")
          nextSpec = MonotonicTime.now().adding(config.specInterval.duration)
        } else if let id, MonotonicTime.now() >= nextSpec || hasNewChecks(since: begun) {
          nextSpec = MonotonicTime.now().adding(config.specInterval.duration)
          try await send(try await spec(http), id, client)
        }
      } catch is CancellationError { return } catch {
        pause = min(pause * 2, 60_000_000_000)
        // Sooner than the next regular time.
        nextSpec = min(nextSpec, MonotonicTime.now().adding(nanoseconds: 300_000_000_000))
        context.log.warn("the host's facts could not be sent: \(error)")
      }
    }
  }

  private func hasNewChecks(since begun: MonotonicTime) -> Bool {
    guard MonotonicTime.now().since(begun) > Self.settling else { return false }
    let seen = known.of(path)
    return state.withLock { seen != $0.checksSent ?? [:] }
  }

  private func send(_ spec: HostSpec, _ id: String, _ client: MackerelClient) async throws {
    var record = spec.record
    // Checks that are not listed are forgotten by the server: none are listed before there was time to see them.
    let seen = known.of(path)
    if !seen.isEmpty || configuredChecks != nil { record["checks"] = checks(seen) }
    try await client.call("PUT", "/hosts/" + MackerelName.pathPart(id), Value.map(record).json ?? [])
    state.withLock { $0.checksSent = seen }
  }

  private var configuredChecks: Value? {
    // Not `? nil :` — that nil would be JSON's null.
    if config.checks.isEmpty { return Value?.none }
    return checks([:])
  }
  private func checks(_ seen: [String: String]) -> Value {
    var all = seen
    for name in config.checks where all[name] == nil { all[name] = "" }
    return .array(
      all.sorted { $0.key < $1.key }.map { name, memo in
        var one = FieldMap()
        one["name"] = Value(name)
        if !memo.isEmpty { one["memo"] = Value(memo) }
        return .map(one)
      })
  }

  // MARK: The end

  /// The daemon ends: the configured status, or retirement.
  func end(_ client: MackerelClient) async {
    guard let id = state.withLock({ $0.id }) else { return }
    // agg's stop waits for nobody's server.
    let timeout: Duration = .seconds(5)
    do {
      if config.autoRetire {
        try await client.retire(id, timeout: timeout)
        try File.remove(path)
        context.log.info("retired the host \(id)")
      } else if let status = config.onStop {
        try await client.setStatus(status, of: id, timeout: timeout)
      }
    } catch { context.log.error("at the stop: \(error)") }
  }

  private func spec(_ http: HTTPClient) async throws -> HostSpec {
    let (cloud, isSilent) = try await CloudMetadata.find(config, http)
    let (config, agent, hostname) = (config, agent, context.system.hostname)
    guard let pool = context.shared(BlockingPool.self) else {
      return HostSpec(config, cloud, isSilent: isSilent, hostname: hostname, agent: agent)
    }
    return try await pool { HostSpec(config, cloud, isSilent: isSilent, hostname: hostname, agent: agent) }
  }
}
