import AggCore
import Synchronization

/// Idle connections by server, for `keepalive true`.
final class ForwardLinkCache: Sendable {
  private let timeout: TimeSpan?
  private let idle = Mutex<[ForwardService: [ForwardLink]]>([:])

  /// `timeout`: how long a connection may be idle, nil for ever.
  init(timeout: TimeSpan?) { self.timeout = timeout }

  /// A connection that the server has not closed; the one that was used last, so that the others can expire.
  func take(_ service: ForwardService) async -> ForwardLink? {
    while let link = idle.withLock({ $0[service]?.popLast() }) {
      if !isExpired(link), await link.connection.isQuiet() { return link }
      await link.connection.close()
    }
    return nil
  }

  func give(_ link: ForwardLink, _ service: ForwardService) {
    idle.withLock { $0[service, default: []].append(ForwardLink(link.connection)) }
  }

  /// Closes what has been idle for too long.
  func purge() async {
    let expired = idle.withLock { idle in
      var expired: [ForwardLink] = []
      for (service, links) in idle {
        expired += links.filter(isExpired)
        idle[service] = links.filter { !isExpired($0) }
      }
      return expired
    }
    for link in expired { await link.connection.close() }
  }

  func clear() async {
    let all = idle.withLock { idle in
      defer { idle = [:] }
      return idle.values.flatMap { $0 }
    }
    for link in all { await link.connection.close() }
  }

  private func isExpired(_ link: ForwardLink) -> Bool {
    guard let timeout else { return false }
    return MonotonicTime.now().since(link.idleSince) >= Int64(timeout.nanoseconds)
  }
}
