import Synchronization

/// The checks that have reported since the start, with their notes, by the file of their host's id: one output sends the reports, another
/// may tell the server of the host. The executable registers one.
public final class MackerelChecks: Sendable {
  /// A server would not show more of one host.
  private static let limit = 1000
  private let checks = Mutex<[String: [String: String]]>([:])
  public init() {}

  func note(_ seen: [String: String], of path: String) {
    if seen.isEmpty { return }
    checks.withLock { all in
      for (name, memo) in seen where all[path, default: [:]].count < Self.limit || all[path]?[name] != nil {
        all[path, default: [:]][name] = memo
      }
    }
  }
  func of(_ path: String) -> [String: String] { checks.withLock { $0[path] ?? [:] } }
}
