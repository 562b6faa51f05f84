import AggCore

/// A chunk as the bytes of a file: formatted, then compressed in whole gzip members (zstd frames) of about 1 MiB, so that
/// memory stays bounded. The same chunk gives the same bytes each time.
struct ChunkEncoder: Sendable {
  enum Compression: Sendable {
    case none, gzip, zstd
    var suffix: String {
      switch self {
      case .none: ""
      case .gzip: ".gz"
      case .zstd: ".zstd"
      }
    }
  }
  static let blockSize = 1 << 20

  /// nil: `[time, record]` as MessagePack, as it is stored.
  let formatter: (any Formatter)?
  let compression: Compression

  /// Calls `body` with each block, in order; returns the events that could not be formatted, by their index in the chunk.
  func encode(_ chunk: ChunkView, _ body: (UnsafeRawBufferPointer) throws -> Void) throws -> [Rejection] {
    var out = ByteWriter(capacity: Self.blockSize)
    var packed = ByteWriter(capacity: 4096)
    var rejects: [Rejection] = []
    var index = 0
    func flush() throws {
      if out.isEmpty { return }
      packed.removeAll()
      switch compression {
      case .none: try body(out.bytes)
      case .gzip:
        Gzip.compress(out.bytes, into: &packed)
        try body(packed.bytes)
      case .zstd:
        Zstd.compress(out.bytes, into: &packed)
        try body(packed.bytes)
      }
      out.removeAll()
    }
    if let formatted = chunk.formatted {
      // What Fluentd formatted goes on as it stands.
      var at = 0
      while at < formatted.block.count {
        let end = min(at + Self.blockSize, formatted.block.count)
        formatted.withBytes { out.append(UnsafeRawBufferPointer(rebasing: $0[at..<end])) }
        at = end
        try flush()
      }
      return []
    }
    for batch in chunk.batches {
      if let formatter {
        var refused: [Rejection] = []
        formatter.format(batch, into: &out, &refused)
        rejects += refused.map { Rejection(index: index + $0.index, reason: $0.reason) }
      } else {
        batch.withBytes { out.append($0) }
      }
      index += batch.count
      if out.count >= Self.blockSize { try flush() }
    }
    try flush()
    return rejects
  }
}
