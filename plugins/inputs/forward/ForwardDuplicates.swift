import AggCore
import CAgg
import Crypto
import Synchronization

/// Remembers the chunks that were stored, so that one whose acknowledgement got lost is acknowledged again and not stored again.
///
/// A chunk is its id and the checksum of its message: a sender that uses an id twice for other events is not harmed.
/// The last `capacity` ids survive a restart: each is part of the commit that stored the chunk, in a ring of keys.
final class ForwardDuplicates: Sendable {
  struct Chunk: Hashable, Sendable {
    var id: ChunkID
    var checksum: UInt32
    var size: UInt32

    /// Nil when the id does not name one chunk only.
    init?(_ id: UnsafeRawBufferPointer, message: UnsafeRawBufferPointer) {
      guard let id = ForwardChunkID.parse(id), let base = message.baseAddress else { return nil }
      self.id = id
      checksum = agg_crc32c(0, base, message.count)
      size = UInt32(truncatingIfNeeded: message.count)
    }
    /// An HTTP request by its Idempotency-Key.
    init(key: String, body: UnsafeRawBufferPointer) {
      let digest = Array(SHA256.hash(data: Array(key.utf8)))
      func integer(_ at: Int) -> UInt64 { digest[at..<at + 8].reduce(0) { $0 << 8 | UInt64($1) } }
      id = ChunkID(high: integer(0), low: integer(8))
      checksum = body.baseAddress.map { agg_crc32c(0, $0, body.count) } ?? 0
      size = UInt32(truncatingIfNeeded: body.count)
    }
    fileprivate init?(state: [UInt8]) {
      guard state.count == 32 else { return nil }
      func integer<T: FixedWidthInteger>(_ at: Int, _ type: T.Type) -> T {
        state.withUnsafeBytes { T(bigEndian: $0.loadUnaligned(fromByteOffset: at, as: T.self)) }
      }
      id = ChunkID(high: integer(8, UInt64.self), low: integer(16, UInt64.self))
      checksum = integer(24, UInt32.self)
      size = integer(28, UInt32.self)
    }
    /// Ring position, id, checksum, size: 32 bytes, big endian.
    fileprivate func state(_ sequence: UInt64) -> [UInt8] {
      withUnsafeBytes(of: sequence.bigEndian) { Array($0) } + id.bytes + withUnsafeBytes(of: checksum.bigEndian) { Array($0) }
        + withUnsafeBytes(of: size.bigEndian) { Array($0) }
    }
  }
  enum Answer {
    /// Nobody has it: store it, then call `finish`.
    case reserved
    case stored
    /// Another connection is storing it.
    case busy
  }

  /// 65,536 chunks of 8 MiB are half a terabyte; some 4 MB here and in the commit log.
  static let capacity = 65_536

  private struct State {
    var known: [Chunk: Bool] = [:]
    var ring: [Chunk?] = []
    var sequence: UInt64 = 0
    var waiters: [Chunk: [CheckedContinuation<Void, Never>]] = [:]
  }
  private let state = Mutex(State())

  /// What earlier runs committed.
  func restore(_ context: PluginContext) {
    var found: [(sequence: UInt64, chunk: Chunk)] = []
    for key in context.committedKeys() where key.hasPrefix("chunk") {
      guard let bytes = context.committed(key), let chunk = Chunk(state: bytes) else { continue }
      found.append((bytes.prefix(8).reduce(0) { $0 << 8 | UInt64($1) }, chunk))
    }
    found.sort { $0.sequence < $1.sequence }
    state.withLock { state in
      for (sequence, chunk) in found {
        state.sequence = sequence &+ 1
        Self.put(chunk, at: sequence, &state)
      }
    }
  }

  func reserve(_ chunk: Chunk) -> Answer {
    state.withLock { state in
      switch state.known[chunk] {
      case true? where !Faults.lacks(.duplicates): return .stored
      case false?: return .busy
      case true?, nil:
        state.known[chunk] = false
        return .reserved
      }
    }
  }

  /// Returns when the connection that was storing the chunk has finished, whichever way.
  func wait(for chunk: Chunk) async {
    await withCheckedContinuation { continuation in
      let isOver = state.withLock { state in
        guard state.known[chunk] == false else { return true }
        state.waiters[chunk, default: []].append(continuation)
        return false
      }
      if isOver { continuation.resume() }
    }
  }

  /// What the commit that stores the reserved chunks has to hold.
  func spans(_ chunks: [Chunk]) -> [SourceSpan] {
    state.withLock { state in
      chunks.map { chunk in
        defer { state.sequence &+= 1 }
        return SourceSpan(key: "chunk\(state.sequence % UInt64(Self.capacity))", state: chunk.state(state.sequence))
      }
    }
  }

  /// The reserved chunks are stored, or nobody holds them.
  func finish(_ chunks: [Chunk], stored: Bool, _ spans: [SourceSpan] = []) {
    let waiters = state.withLock { state in
      var all: [CheckedContinuation<Void, Never>] = []
      for (index, chunk) in chunks.enumerated() {
        state.known[chunk] = nil
        if stored, spans.indices.contains(index) {
          Self.put(chunk, at: spans[index].state.prefix(8).reduce(0) { $0 << 8 | UInt64($1) }, &state)
        }
        all += state.waiters.removeValue(forKey: chunk) ?? []
      }
      return all
    }
    for waiter in waiters { waiter.resume() }
  }

  private static func put(_ chunk: Chunk, at sequence: UInt64, _ state: inout State) {
    let slot = Int(sequence % UInt64(capacity))
    while state.ring.count <= slot { state.ring.append(nil) }
    if let old = state.ring[slot], old != chunk { state.known[old] = nil }
    state.ring[slot] = chunk
    state.known[chunk] = true
  }
}
