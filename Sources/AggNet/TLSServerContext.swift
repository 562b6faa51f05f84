import AggCore
import NIOSSL
import Synchronization

/// A listener's certificate and key, read anew when their files have changed; connections that stand go on with what they have.
///
/// The files are looked at off the network threads, after a connection when the last look is five seconds old: without connections
/// nothing is looked at. Files that cannot be used, or do not fit together while they are being exchanged, leave the old ones in place.
final class TLSServerContext: Sendable {
  private static let interval: Int64 = 5_000_000_000
  private struct State {
    var context: NIOSSLContext
    var stamps: [Int]
    /// Of files that cannot be used, so that this is said once.
    var refused: [Int]?
    var looked = MonotonicTime.now()
    var isLooking = false
  }
  private let configuration: TLSServerConfiguration
  private let state: Mutex<State>

  /// Blocks; throws `NetworkError.configuration`.
  init(_ configuration: TLSServerConfiguration) throws {
    self.configuration = configuration
    // Before the files are read: what changes meanwhile is seen at the next look.
    let stamps = Self.stamps(configuration)
    state = Mutex(State(context: try configuration.context(), stamps: stamps))
  }

  private static func stamps(_ configuration: TLSServerConfiguration) -> [Int] {
    [configuration.certificatePath, configuration.privateKeyPath, configuration.caPath].compactMap { $0 }.flatMap {
      AggNet.stamps(of: $0)
    }
  }

  /// For the next connection.
  func current(_ network: Network) -> NIOSSLContext {
    let now = MonotonicTime.now()
    let (context, isDue) = state.withLock { s in
      let isDue = !s.isLooking && now.since(s.looked) >= Self.interval
      if isDue { s.isLooking = true }
      return (s.context, isDue)
    }
    if isDue { Task { [self] in try? await network.blocking { self.look(network) } } }
    return context
  }

  /// Blocks.
  func look(_ network: Network) {
    let stamps = Self.stamps(configuration)
    let isNew = state.withLock { s in
      s.looked = .now()
      s.isLooking = false
      return stamps != s.stamps && stamps != s.refused
    }
    guard isNew else { return }
    do {
      let context = try configuration.context()
      state.withLock { s in
        s.context = context
        s.stamps = stamps
        s.refused = nil
      }
      network.notice(isError: false, "TLS: \(configuration.certificatePath) has changed; new connections get it")
    } catch {
      state.withLock { $0.refused = stamps }
      network.notice(isError: true, "\(error); the certificate read before goes on being used")
    }
  }
}

/// The certificates of the listeners there are.
final class TLSServerContexts: Sendable {
  private struct Entry { weak var context: TLSServerContext? }
  private let contexts = Mutex<[Entry]>([])
  func add(_ context: TLSServerContext) {
    contexts.withLock { all in
      all.removeAll { $0.context == nil }
      all.append(Entry(context: context))
    }
  }
  var all: [TLSServerContext] { contexts.withLock { $0.compactMap(\.context) } }
}

extension Network {
  /// Looks now whether certificates have changed: at a reload.
  public func checkCertificates() async {
    let all = tlsServers.all
    if all.isEmpty { return }
    try? await blocking { for context in all { context.look(self) } }
  }

  /// Whom to tell of certificates that were exchanged, or could not be.
  public func setNotices(_ tell: @escaping @Sendable (_ isError: Bool, _ message: String) -> Void) {
    notices.withLock { $0 = tell }
  }
  func notice(isError: Bool, _ message: String) { notices.withLock { $0 }?(isError, message) }

  /// Returns when every network thread has done something; at once where none was started.
  public func answers() async {
    guard let group = startedLoops else { return }
    for loop in group.makeIterator() { try? await loop.submit {}.get() }
  }
}
