import AggCore
import Synchronization

/// Ids of hosts, by what metrics and checks name them. Answers are kept for a while, and no more than `limit` of them.
final class HostDirectory: Sendable {
  private static let limit = 4096
  private static let keptFor: Int64 = 3600_000_000_000
  private static let unknownFor: Int64 = 300_000_000_000

  private struct Entry {
    /// Nil: the server knows no such host.
    var id: String?
    var until: MonotonicTime
  }
  private let entries = Mutex<[String: Entry]>([:])
  private let registration: HostRegistration?
  /// File with the id, written by another program or another output.
  private let path: String?

  init(_ registration: HostRegistration?, path: String?) {
    self.registration = registration
    self.path = path
  }

  /// Nil where the server knows no such host; throws `MackerelFailure` where it cannot be said now.
  func id(_ reference: HostReference, _ client: MackerelClient) async throws -> String? {
    switch reference {
    case .id(let id): return id
    case .own:
      if let registration { return try registration.id() }
      return try fileID()
    case .named(let name):
      let now = MonotonicTime.now()
      if let entry = entries.withLock({ $0[name] }), entry.until > now { return entry.id }
      var id = try await client.host(customIdentifier: name)?.id
      if id == nil {
        do { id = try await client.host(name).id } catch let failure as MackerelFailure where [400, 404].contains(failure.status)
        { id = nil }
      }
      entries.withLock {
        if $0.count >= Self.limit { $0 = $0.filter { $0.value.until > now } }
        if $0.count >= Self.limit { $0.removeAll() }
        $0[name] = Entry(id: id, until: now.adding(nanoseconds: id == nil ? Self.unknownFor : Self.keptFor))
      }
      return id
    }
  }

  private func fileID() throws -> String {
    guard let path else { throw MackerelFailure(status: nil, description: "no host is configured") }
    if let entry = entries.withLock({ $0[""] }), let id = entry.id, entry.until > .now() { return id }
    do throws(FileError) {
      guard let id = try HostRegistration.storedID(path) else {
        throw FileError(path, "find a host's id", 2)
      }
      entries.withLock { $0[""] = Entry(id: id, until: .now().adding(nanoseconds: 60_000_000_000)) }
      return id
    } catch { throw MackerelFailure(status: nil, description: "no host id yet: \(error)") }
  }
}
