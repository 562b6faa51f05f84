/// What an output shows of events that wait in its file buffer (out_file's `symlink_path`).
public protocol StagingObserver: Sendable {
  /// A batch was appended to a staged chunk: in order for a chunk, on a thread that may block, before the batch is committed.
  ///
  /// What a kill or a refused batch takes back was shown nevertheless: nothing may be decided from it.
  func staged(_ batch: EventBatch, in chunk: ChunkID, _ metadata: ChunkMetadata)
}
