public import AggCore

/// A `<buffer>` section, for memory and file alike. Names and defaults are Fluentd's.
public struct BufferConfig: Configurable {
  public enum FlushMode: String, ConfigEnum { case `default`, lazy, interval, immediate }
  public enum OverflowAction: String, ConfigEnum {
    case throwException = "throw_exception"
    case block
    case dropOldestChunk = "drop_oldest_chunk"
  }
  public enum RetryType: String, ConfigEnum {
    case exponentialBackoff = "exponential_backoff"
    case periodic
  }
  public enum Compress: String, ConfigEnum { case text, gzip, zstd }
  public enum ChunkFormat: String, ConfigEnum { case msgpack, text, auto }
  public enum Durability: String, ConfigEnum { case os, fsync }

  public var keys = StringList()
  public var type: String?
  public var path: String?
  public var durability = Durability.os
  public var timekey: TimeSpan?
  public var timekeyWait = TimeSpan(seconds: 600)
  public var timekeyUseUTC = false
  public var timekeyZone: String?
  public var flushAtShutdown: Bool?
  public var flushMode = FlushMode.default
  public var flushInterval = TimeSpan(seconds: 60)
  public var flushThreadCount = 1
  public var overflowAction = OverflowAction.throwException
  public var retryForever = false
  public var retryTimeout = TimeSpan(seconds: 72 * 3600)
  public var retryMaxTimes: Int?
  public var retrySecondaryThreshold = 0.8
  public var retryType = RetryType.exponentialBackoff
  public var retryWait = TimeSpan(seconds: 1)
  public var retryBase = 2.0
  public var retryMaxInterval: TimeSpan?
  public var retryRandomize = true
  public var chunkLimitSize: ByteSize?
  public var chunkLimitRecords: Int?
  public var totalLimitSize: ByteSize?
  public var queueLimitLength: Int?
  public var queuedChunksLimitSize: Int?
  public var chunkFullThreshold = 0.95
  public var compress = Compress.text
  public var pathSuffix = ".log"
  public var chunkFormat = ChunkFormat.auto
  public var disableChunkBackup = false
  public var deadLetterPath: String?
  public var deadLetterLimit = ByteSize(bytes: 1 << 30)
  public var filePermission: FilePermission?
  public var directoryPermission: FilePermission?
  public init() {}

  public static let parameters: [Parameter<Self>] = [
    .argument(\.keys, "Chunk keys: tag, time, record fields; events with equal keys share a chunk"),
    .optional("@type", \.type, "memory, file, or file_single: as file, with tag or the one chunk key in the file names", alias: "type"),
    .optional("path", \.path, "Directory (or Fluentd's file pattern) of a file buffer; unique per output"),
    .optional("path_suffix", \.pathSuffix, "End of the names of chunks that Fluentd left at `path`"),
    .optional("chunk_format", \.chunkFormat, "What Fluentd's file_single chunks hold: msgpack, text (formatted), auto"),
    .ignored("calc_num_records", "Events are always counted: the ledger needs it"),
    .optional("durability", \.durability, "What a stored event survives: os (a kill), fsync (power loss)"),
    .optional("timekey", \.timekey, "Length of a time slice; needed when time is a chunk key"),
    .optional("timekey_wait", \.timekeyWait, "How long to wait for late events after a time slice ends"),
    .optional("timekey_use_utc", \.timekeyUseUTC, "Time slices and placeholders in UTC instead of local time"),
    .optional("timekey_zone", \.timekeyZone, "Time zone of slices and placeholders, e.g. +0900 or Asia/Tokyo"),
    .optional("flush_at_shutdown", \.flushAtShutdown, "Deliver everything before stopping; default: true for memory, false for file"),
    .optional("flush_mode", \.flushMode, "lazy (at the end of the time slice), interval, immediate; default: lazy with time as a key"),
    .optional("flush_interval", \.flushInterval, "Age at which a chunk is delivered in interval mode"),
    .optional("flush_thread_count", \.flushThreadCount, "How many chunks are delivered at once"),
    .ignored("flush_thread_interval", "Flushing is event-driven"),
    .ignored("flush_thread_burst_interval", "Flushing is event-driven"),
    .ignored("delayed_commit_timeout", "Outputs answer when the destination has the chunk"),
    .optional("overflow_action", \.overflowAction, "What happens when the buffer is full"),
    .optional("retry_forever", \.retryForever, "Never give a chunk up"),
    .optional("retry_timeout", \.retryTimeout, "How long a failing chunk is retried"),
    .optional("retry_max_times", \.retryMaxTimes, "How often a failing chunk is retried"),
    .optional("retry_secondary_threshold", \.retrySecondaryThreshold, "Share of the retry time after which the secondary is used"),
    .optional("retry_type", \.retryType, "How the wait between retries grows"),
    .optional("retry_wait", \.retryWait, "Wait before the first retry", alias: "retry_wait_time"),
    .optional("retry_exponential_backoff_base", \.retryBase, "Factor between waits"),
    .optional("retry_max_interval", \.retryMaxInterval, "Longest wait between retries"),
    .optional("retry_randomize", \.retryRandomize, "Vary each wait by 12.5 % so that many hosts do not retry together"),
    .optional("chunk_limit_size", \.chunkLimitSize, "Largest chunk in stored bytes; default: 8m in memory, 256m in files", alias: "buffer_chunk_limit"),
    .optional("chunk_limit_records", \.chunkLimitRecords, "Most events in a chunk"),
    .optional("total_limit_size", \.totalLimitSize, "Largest buffer in stored bytes; default: 512m in memory, 64g in files"),
    .optional("queue_limit_length", \.queueLimitLength, "Most queued chunks; kept for old configurations"),
    .optional("queued_chunks_limit_size", \.queuedChunksLimitSize, "With so many queued, staged chunks that are due go on growing; default: as many as are due are queued"),
    .optional("chunk_full_threshold", \.chunkFullThreshold, "Share of chunk_limit_size at which a chunk counts as full"),
    .optional("compress", \.compress, "Compression of stored chunks"),
    .optional("file_permission", \.filePermission, "Permission of a file buffer's chunks, e.g. 0640; default: of <system>, else 0644"),
    .optional("dir_permission", \.directoryPermission, "Permission of the directories of a file buffer; default: of <system>, else 0755"),
    .ignored("decompression_size_limit", "Chunks are read frame by frame, each of bounded size"),
    .optional("disable_chunk_backup", \.disableChunkBackup, "Drop and count what is given up, in place of keeping it as dead letters"),
    .optional("dead_letter_path", \.deadLetterPath, "Directory of the output's dead letters, one of its own; default: beside a file buffer's chunks, else under dead_letter_path or root_dir of <system>"),
    .optional("dead_letter_limit_size", \.deadLetterLimit, "Most bytes of dead letters; when they are reached, chunks stay in the buffer"),
  ]

  public mutating func validate(_ context: ConfigContext) throws {
    if flushThreadCount < 0 { throw ConfigValueError("'flush_thread_count' must be at least 0 (nothing is delivered); got \(flushThreadCount)") }
    if let n = chunkLimitRecords, n < 1 { throw ConfigValueError("'chunk_limit_records' must be at least 1; got \(n)") }
    if let size = chunkLimitSize, size.bytes < 1 { throw ConfigValueError("'chunk_limit_size' must be at least 1 byte") }
    if retrySecondaryThreshold <= 0 || retrySecondaryThreshold >= 1 {
      throw ConfigValueError("'retry_secondary_threshold' must be between 0 and 1; got \(retrySecondaryThreshold)")
    }
    if !(retryBase >= 1) { throw ConfigValueError("'retry_exponential_backoff_base' must be at least 1; got \(retryBase)") }
  }
}
