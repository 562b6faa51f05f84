import Synchronization

/// What in_tail inputs tell of the files that they follow, for pages that show it; part of the `MetricRegistry`.
final class TailFigures: Sendable {
  struct File: Sendable {
    var path: String
    var inode: UInt64
    /// Everything before this byte is stored.
    var position: Int
    var size: Int
  }
  struct Input: Sendable {
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
