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
  public init(_ description: String, isFull: Bool = false) {
    self.description = description
    self.isFull = isFull
  }
}

/// Where chunks live. Appends and voids come one at a time (the buffer's lane); reads and removals from flush tasks.
public protocol ChunkStore: Sendable {
  /// Survives the process.
  var isPersistent: Bool { get }
  func append(_ batch: EventBatch, to chunk: ChunkID, _ metadata: ChunkMetadata, id: BatchID) throws(StoreError)
  /// The batch was refused elsewhere: its frames in this chunk do not count.
  func void(_ id: BatchID, in chunk: ChunkID) throws(StoreError)
  /// Makes all appends so far survive power loss, where the store promises that.
  func sync() throws(StoreError)
  /// After this nothing is appended; durable before the first byte leaves.
  func seal(_ chunk: ChunkID) throws(StoreError)
  func read(_ chunk: ChunkID) throws(StoreError) -> [EventBatch]
  func remove(_ chunk: ChunkID)
  func close()
}

/// Keeps batches as they are: no copy on either side.
public final class MemoryChunkStore: ChunkStore {
  private let chunks = Mutex<[ChunkID: [(BatchID, EventBatch)]]>([:])
  public init() {}
  public var isPersistent: Bool { false }
  public func append(_ batch: EventBatch, to chunk: ChunkID, _ metadata: ChunkMetadata, id: BatchID) throws(StoreError) {
    chunks.withLock { $0[chunk, default: []].append((id, batch)) }
  }
  public func void(_ id: BatchID, in chunk: ChunkID) throws(StoreError) {
    chunks.withLock { $0[chunk]?.removeAll { $0.0 == id } }
  }
  public func sync() throws(StoreError) {}
  public func seal(_ chunk: ChunkID) throws(StoreError) {}
  public func read(_ chunk: ChunkID) throws(StoreError) -> [EventBatch] { chunks.withLock { $0[chunk]?.map(\.1) ?? [] } }
  public func remove(_ chunk: ChunkID) { _ = chunks.withLock { $0.removeValue(forKey: chunk) } }
  public func close() {}
}
