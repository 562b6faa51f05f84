import AggCore
import Synchronization

/// What in_tail inputs tell of the files that they follow, for pages that show it; part of the `MetricRegistry`.
final class TailFigures: Sendable {
  struct File: Sendable {
    var path: String
    var inode: UInt64
    /// Goes on telling while the input waits for room.
    var lag: TailLag
    /// Everything before this byte is stored.
    var position: Int { lag.position }
  }
  struct Input: Sendable {
    /// By path; of a file that was renamed and its successor the one that is followed by name comes first.
    var files: [File] = []
    var opened = 0
    var closed = 0
    var rotated = 0
    /// Reads put off for read_bytes_limit_per_second.
    var throttled = 0
  }
  private let inputs = Mutex<[String: Input]>([:])

  /// Called by the one task of the input, once a pass in which something changed.
  func publish(_ plugin: String, _ input: Input) { inputs.withLock { $0[plugin] = input } }
  func withdraw(_ plugin: String) { inputs.withLock { $0[plugin] = nil } }

  /// By plugin id, sorted.
  var all: [(plugin: String, input: Input)] { inputs.withLock { $0.sorted { $0.key < $1.key }.map { ($0.key, $0.value) } } }
}

/// What is shown of one path.
struct TailRow: Sendable {
  /// The path of all files that are not told one by one.
  static let others = "(others)"
  var path: String
  /// Nil for `others`.
  var position: Int?
  var bytes: Int
  var seconds: Double

  /// One row a path, the furthest behind first; beyond `limit` one for all the rest: the sum of their bytes, the longest time.
  static func rows(of input: TailFigures.Input, limit: Int, now: MonotonicTime = .now()) -> [TailRow] {
    var rows: [TailRow] = []
    for file in input.files {
      // What came while the input waits is seen here. By its name: a rotated file grows no more, or not for long.
      if let status = AggCore.File.status(file.path), status.inode == file.inode { file.lag.look(size: status.size, now: now) }
      let (bytes, seconds) = file.lag.lag(now: now)
      if let last = rows.last, last.path == file.path {
        rows[rows.count - 1].bytes += bytes
        rows[rows.count - 1].seconds = max(last.seconds, seconds)
      } else {
        rows.append(TailRow(path: file.path, position: file.position, bytes: bytes, seconds: seconds))
      }
    }
    guard rows.count > limit else { return rows }
    rows.sort { ($1.seconds, $1.bytes, $0.path) < ($0.seconds, $0.bytes, $1.path) }
    var others = TailRow(path: Self.others, position: nil, bytes: 0, seconds: 0)
    for row in rows[limit...] {
      others.bytes += row.bytes
      others.seconds = max(others.seconds, row.seconds)
    }
    return Array(rows[..<limit]).sorted { $0.path < $1.path } + [others]
  }
}
