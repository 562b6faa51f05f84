import AggCore
import Synchronization

/// How far a chunk that is retried has come: requests that were answered are not made again. Forgotten by a restart, which then
/// sends points again that the server overwrites with themselves.
struct ChunkProgress: Sendable {
  /// Finished requests, by their place in the plan.
  var done: Set<Int> = []
  /// Events whose item was taken though its request as a whole was not finished.
  var taken: [Int: Set<Int>] = [:]
  var refused: [Rejection] = []
  /// How often an item alone made the server fail while it served others.
  var strikes: [Int: Int] = [:]
}

final class ProgressBook: Sendable {
  private static let limit = 64
  private let chunks = Mutex<[ChunkID: ChunkProgress]>([:])

  func take(_ id: ChunkID) -> ChunkProgress { chunks.withLock { $0.removeValue(forKey: id) } ?? ChunkProgress() }
  func keep(_ progress: ChunkProgress, for id: ChunkID) {
    chunks.withLock {
      if $0.count >= Self.limit { $0.removeAll() }
      $0[id] = progress
    }
  }
}
