public import AggCore
import Synchronization

/// Which batch a frame belongs to: the start of the daemon it was stored under, and its number in it.
///
/// A batch is all or nothing: the commit log names the pairs that are stored at all their outputs.
public struct BatchID: Hashable, Sendable {
  public var epoch: UInt32
  public var sequence: UInt64
  public init(epoch: UInt32, sequence: UInt64) {
    self.epoch = epoch
    self.sequence = sequence
  }
}

public struct StoreError: Error, Sendable, CustomStringConvertible {
  public var description: String
  /// The file system said there is no room: a state, not a mistake.
  public var isFull: Bool
  /// There is no such file.
  public var isMissing: Bool
  public init(_ description: String, isFull: Bool = false, isMissing: Bool = false) {
    self.description = description
    self.isFull = isFull
    self.isMissing = isMissing
  }
}

/// What a chunk holds, and what it says about itself (nil: what the plan knows).
public struct StoredChunk: Sendable {
  public var metadata: ChunkMetadata?
  public var batches: [EventBatch]
  public init(metadata: ChunkMetadata?, batches: [EventBatch]) {
    self.metadata = metadata
    self.batches = batches
  }
}

/// Where chunks live. Appends and voids come one at a time (the buffer's lane); reads and removals from flush tasks.
public protocol ChunkStore: Sendable {
  /// Survives the process.
  var isPersistent: Bool { get }
  func append(_ batches: [EventBatch], to chunk: ChunkID, _ metadata: ChunkMetadata, id: BatchID) throws(StoreError)
  /// The batch was refused elsewhere: its frames in this chunk do not count.
  func void(_ id: BatchID, in chunk: ChunkID) throws(StoreError)
  /// What is appended counts only after a `sync`: the store promises to survive power loss.
  var needsSync: Bool { get }
  /// Makes all appends and voids so far survive power loss, where the store promises that. One at a time, beside appends.
  func sync() throws(StoreError)
  /// A sync failed: what was not synced before is taken back, and `generation` moves on. Comes between appends.
  func revert()
  /// Appends of an earlier generation than this one's are gone unless they were synced.
  var generation: Int { get }
  /// After this nothing is appended; durable before the first byte leaves. `records` is what the chunk holds.
  func seal(_ chunk: ChunkID, records: Int) throws(StoreError)
  func read(_ chunk: ChunkID) throws(StoreError) -> StoredChunk
  func remove(_ chunk: ChunkID)
  /// It cannot be read: its bytes stay under another name, where there are any.
  func setAside(_ chunk: ChunkID)
  func close()
}

extension ChunkStore {
  public func append(_ batch: EventBatch, to chunk: ChunkID, _ metadata: ChunkMetadata, id: BatchID) throws(StoreError) {
    try append([batch], to: chunk, metadata, id: id)
  }
}

/// Keeps batches as they are: no copy on either side.
public final class MemoryChunkStore: ChunkStore {
  private let chunks = Mutex<[ChunkID: [(BatchID, EventBatch)]]>([:])
  private let share: MemoryShare?
  public init() { share = nil }
  init(_ share: MemoryShare?) { self.share = share }
  public var isPersistent: Bool { false }
  public func append(_ batches: [EventBatch], to chunk: ChunkID, _ metadata: ChunkMetadata, id: BatchID) throws(StoreError) {
    chunks.withLock { chunks in for batch in batches { chunks[chunk, default: []].append((id, batch)) } }
    share?.add(batches.reduce(0) { $0 + Self.charge($1) })
  }
  public func void(_ id: BatchID, in chunk: ChunkID) throws(StoreError) {
    let voided = chunks.withLock { chunks in
      let voided = chunks[chunk]?.reduce(0) { $1.0 == id ? $0 + Self.charge($1.1) : $0 } ?? 0
      chunks[chunk]?.removeAll { $0.0 == id }
      return voided
    }
    share?.add(-voided)
  }
  public var needsSync: Bool { false }
  public func sync() throws(StoreError) {}
  public func revert() {}
  public var generation: Int { 0 }
  public func seal(_ chunk: ChunkID, records: Int) throws(StoreError) {}
  public func read(_ chunk: ChunkID) throws(StoreError) -> StoredChunk {
    StoredChunk(metadata: nil, batches: chunks.withLock { $0[chunk]?.map(\.1) ?? [] })
  }
  public func remove(_ chunk: ChunkID) {
    let gone = chunks.withLock { $0.removeValue(forKey: chunk) }
    if let share, let gone { share.add(-gone.reduce(0) { $0 + Self.charge($1.1) }) }
  }
  private static func charge(_ batch: EventBatch) -> Int { batch.byteCount + MemoryShare.overhead }
  public func setAside(_ chunk: ChunkID) { remove(chunk) }
  public func close() {}
}
