import AggCore
import AggNet
import Synchronization

/// One server of out_forward: whether it may get chunks, and its addresses.
final class ForwardNode: Sendable {
  private struct State {
    var isAvailable = true
    var detector: FailureDetector
    var addresses: [PeerAddress] = []
    var resolvedAt = MonotonicTime(nanoseconds: 0)
    var isBeating = false
    /// Which chunks it gets while other servers take them.
    var breaker = Breaker()
    /// Probes that failed in a row, the failure that opened the breaker among them.
    var steps = 0
  }
  /// A failing server gets one chunk after a second, two, four …, at most this many seconds.
  private static let longestRest: Int64 = 30

  let service: ForwardService
  private let config: ForwardOutput.Config
  private let log: Log
  private let state: Mutex<State>

  init(_ service: ForwardService, _ config: ForwardOutput.Config, _ log: Log) {
    self.service = service
    self.config = config
    self.log = log
    let detector = FailureDetector(interval: config.heartbeatInterval.seconds, hardTimeout: config.hardTimeout.seconds, now: Self.now)
    state = Mutex(State(detector: detector))
  }

  private static var now: Double { Double(MonotonicTime.now().nanoseconds) / 1e9 }
  private var watches: Bool { config.heartbeatType != .none }

  /// Without heartbeats nobody could say that it is back: always.
  var isAvailable: Bool { watches ? state.withLock { $0.isAvailable } : true }

  var candidate: LoadBalancer.Candidate {
    .init(weight: service.weight, isStandby: service.isStandby, isAvailable: isAvailable)
  }

  /// Leaves it out until enough heartbeats came.
  func disable() { if watches { state.withLock { $0.isAvailable = false } } }

  /// A sign of life. True when the server is back: only heartbeats say so, not chunks.
  func beat(isHeartbeat: Bool) -> Bool {
    guard watches else { return false }
    let needed = Int(clamping: config.recoverWait.nanoseconds / config.heartbeatInterval.nanoseconds)
    let isBack = state.withLock { state in
      state.detector.beat(Self.now)
      guard isHeartbeat, !state.isAvailable, state.detector.sampleCount > needed else { return false }
      state.isAvailable = true
      return true
    }
    if isBack { log.warn("recovered forwarding server '\(service.label)' host=\(service.host) port=\(service.port)") }
    return isBack
  }

  /// Once an interval. True when the server is left out from now on.
  func tick() -> Bool {
    guard watches else { return false }
    let reason = state.withLock { state -> String? in
      let now = Self.now
      guard state.isAvailable else {
        if state.detector.isOverdue(now) { state.detector.clear() }
        return nil
      }
      var reason: String?
      if state.detector.isOverdue(now) { reason = "hard_timeout=true" } else if config.phiDetector {
        let phi = state.detector.phi(now)
        if phi > Double(config.phiThreshold) { reason = "phi=\(phi) phi_threshold=\(config.phiThreshold)" }
      }
      guard let reason else { return nil }
      state.isAvailable = false
      state.addresses = []
      state.detector.clear()
      return reason
    }
    guard let reason else { return false }
    log.warn("detached forwarding server '\(service.label)' host=\(service.host) port=\(service.port) \(reason)")
    return true
  }

  /// One heartbeat at a time: false when the last one is still under way.
  func beginBeat() -> Bool {
    state.withLock { state in
      defer { state.isBeating = true }
      return !state.isBeating
    }
  }
  func endBeat() { state.withLock { $0.isBeating = false } }

  /// Whether a chunk may be tried here: always while it works, one at a time and now and then while it fails.
  func admits() -> Breaker.Permit? {
    guard case .go(let permit) = state.withLock({ $0.breaker.ask(now: .now()) }) else { return nil }
    return permit
  }
  /// The attempt was broken off and says nothing.
  func gaveBack(_ permit: Breaker.Permit?) { if let permit { state.withLock { $0.breaker.gaveBack(permit) } } }

  /// Tells a failure once until a chunk is delivered again. Its name is looked up anew: it may have moved. `permit` is nil for
  /// a chunk that was tried here because no other server took it. False: the attempt began before the last one that worked, and says
  /// nothing of the server as it is now.
  func failed(_ error: any Error, _ permit: Breaker.Permit?) -> Bool {
    let (isFirst, isStale) = state.withLock { state -> (Bool, Bool) in
      guard let permit else {
        state.addresses = []
        return (false, false)
      }
      if state.breaker.isStale(permit) { return (false, true) }
      state.addresses = []
      if state.breaker.isStep(permit) { state.steps += 1 }
      let rest = min(1 << Int64(min(max(0, state.steps - 1), 5)), Self.longestRest) * 1_000_000_000
      let now = MonotonicTime.now()
      return (state.breaker.failed(permit, now: now, next: now.adding(nanoseconds: rest)), false)
    }
    if isFirst { log.warn("cannot send to forwarding server '\(service.label)': \(error)") } else {
      log.debug("cannot send to forwarding server '\(service.label)': \(error)")
    }
    return !isStale
  }
  func succeeded() {
    let wasFailing = state.withLock { state in
      state.steps = 0
      return state.breaker.succeeded() != nil
    }
    if wasFailing { log.info("forwarding server '\(service.label)' takes chunks again") }
  }

  /// Its addresses, in the order to try them; from the cache as `expire_dns_cache` says. Throws `NetworkError`.
  func addresses(_ network: Network) async throws -> [PeerAddress] {
    let cached = state.withLock { state -> [PeerAddress] in
      guard let expiry = config.expireDNSCache else { return state.addresses }
      return MonotonicTime.now().since(state.resolvedAt) < Int64(expiry.nanoseconds) ? state.addresses : []
    }
    if !cached.isEmpty { return config.dnsRoundRobin ? cached.shuffled() : cached }
    let addresses = try await network.resolve(service.host, port: service.port)
    state.withLock { state in
      state.addresses = addresses
      state.resolvedAt = .now()
    }
    return config.dnsRoundRobin ? addresses.shuffled() : addresses
  }

  /// Whether a datagram from there is this server's.
  func has(_ peer: PeerAddress) -> Bool { state.withLock { $0.addresses.contains { $0.ip == peer.ip && $0.port == peer.port } } }
}
