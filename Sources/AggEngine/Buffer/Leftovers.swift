import Synchronization

/// Files of delivered chunks that could not be removed yet; tried again, a few with every removal.
///
/// What a removal costs does not depend on how many there are: while they keep failing it tries two of them.
package final class Leftovers: Sendable {
  /// At most so many a removal, when all goes well again.
  package static let attempts = 32
  /// After so many failures the rest waits for the next removal.
  package static let failures = 2

  private struct State {
    var paths: [String] = []
    /// The next to be tried.
    var next = 0
  }
  private let state = Mutex(State())

  package init() {}
  package var count: Int { state.withLock { $0.paths.count } }

  package func add(_ path: String) { state.withLock { $0.paths.append(path) } }

  /// Calls `remove` for some, which says whether the file is gone. May be called from several threads at once; each file is with one of them.
  package func retry(_ remove: (String) -> Bool) {
    var failed = 0
    for _ in 0..<Self.attempts {
      guard failed < Self.failures, let path = take() else { return }
      if remove(path) { continue }
      failed += 1
      putBack(path)
    }
  }

  /// The same for each of them once.
  package func retryAll(_ remove: (String) -> Bool) {
    for _ in 0..<count {
      guard let path = take() else { return }
      if !remove(path) { putBack(path) }
    }
  }

  private func take() -> String? {
    state.withLock { s in
      guard let last = s.paths.popLast() else { return nil }
      if s.next >= s.paths.count { s.next = 0 }
      if s.paths.isEmpty { return last }
      defer { s.paths[s.next] = last }
      return s.paths[s.next]
    }
  }
  /// Behind the others: first comes one that was not tried as recently.
  private func putBack(_ path: String) {
    state.withLock { s in
      s.paths.append(path)
      s.next += 1
    }
  }
}
