public import AggCore

/// The `<system>` section.
public struct SystemConfig: Configurable {
  public enum Level: String, ConfigEnum { case trace, debug, info, warn, error, fatal }
  public enum LogFormat: String, ConfigEnum { case text, json }
  public struct LogSection: Configurable {
    public var path: String?
    public var format = LogFormat.text
    public var timeFormat = "%Y-%m-%d %H:%M:%S %z"
    public var rotateAge: String?
    public var rotateSize: ByteSize?
    public var forcedStacktraceLevel: String?
    public init() {}
    public static let parameters: [Parameter<Self>] = [
      .optional("path", \.path, "Log file, where -o is not given"),
      .optional("format", \.format, "text or json lines"),
      .optional("time_format", \.timeFormat, "Time of each line"),
      .optional("rotate_age", \.rotateAge, "daily, weekly, monthly, or how many old files are kept"),
      .optional("rotate_size", \.rotateSize, "Size at which the log is rotated"),
      .ignored("forced_stacktrace_level", "agg prints no stack traces"),
    ]
  }

  public var workers = 1
  public var rootDirectory: String?
  public var deadLetterPath: String?
  public var logLevel = Level.info
  public var strictConfigValue = false
  public var ignoreRepeatedLogInterval: TimeSpan?
  public var ignoreSameLogInterval: TimeSpan?
  public var filePermission: FilePermission?
  public var directoryPermission: FilePermission?
  public var processName: String?
  public var rpcEndpoint: RPCEndpoint?
  public var enableGetDump = false
  public var shutdownTimeout = TimeSpan(seconds: 25)
  public var umask: FilePermission?
  public var memoryLimit: ByteSize?
  public var withoutSource = false
  public var withSourceOnly = false
  public var sourceOnlyBuffer = SourceOnlyBuffer()
  public var configIncludeDirectory: String?
  public var log = LogSection()
  public init() {}

  /// Checked here; what it says goes into a `<buffer>` as it stands.
  public struct SourceOnlyBuffer: Configurable {
    var overflowAction = BufferConfig.OverflowAction.dropOldestChunk
    var path: String?
    var chunkLimitSize: ByteSize?
    var totalLimitSize: ByteSize?
    var compress: BufferConfig.Compress?
    public init() {}
    public static let parameters: [Parameter<Self>] = [
      .optional("path", \.path, "Directory; without it source-only-buffer under root_dir"),
      .optional("overflow_action", \.overflowAction, "What happens when it is full"),
      .optional("chunk_limit_size", \.chunkLimitSize, "As in <buffer>"),
      .optional("total_limit_size", \.totalLimitSize, "As in <buffer>"),
      .optional("compress", \.compress, "As in <buffer>"),
      .ignored("flush_interval", "Nothing is delivered before SIGWINCH, then everything at once"),
      .ignored("flush_thread_count", "Nothing is delivered before SIGWINCH, then everything at once"),
    ]
  }

  public static let parameters: [Parameter<Self>] = [
    .optional("workers", \.workers, "Number of worker processes"),
    .optional("root_dir", \.rootDirectory, "Directory for buffers and state of plugins that name none"),
    .optional("dead_letter_path", \.deadLetterPath, "Directory for the dead letters of outputs with memory buffers; without it root_dir"),
    .optional("log_level", \.logLevel, "Quietest level that is logged"),
    .optional("strict_config_value", \.strictConfigValue, "Refuse values that only begin like their type"),
    .ignored("suppress_config_dump", "The configuration is never logged; agg check --dump prints it"),
    .ignored("log_event_verbose", "Lines of the log hold their text and nothing else"),
    .ignored("emit_error_log_interval", "A line that repeats is written 20 times a minute at most"),
    .ignored("suppress_repeated_stacktrace", "agg prints no stack traces"),
    .optional("ignore_repeated_log_interval", \.ignoreRepeatedLogInterval, "A message repeated within this time is left out"),
    .optional("ignore_same_log_interval", \.ignoreSameLogInterval, "As ignore_repeated_log_interval, for messages with others between"),
    .optional("file_permission", \.filePermission, "Permission of files that plugins make, e.g. 0644"),
    .optional("dir_permission", \.directoryPermission, "Permission of directories that plugins make, e.g. 0755"),
    .optional("process_name", \.processName, "Name shown by ps"),
    .optional("without_source", \.withoutSource, "Leave the sources out, to empty buffers; also --without-source"),
    .optional("with_source_only", \.withSourceOnly, "Run the sources alone and keep their events in files until SIGWINCH; also --with-source-only. Needs root_dir"),
    .section("source_only_buffer", \.sourceOnlyBuffer, "Where and how with_source_only keeps events"),
    .optional("rpc_endpoint", \.rpcEndpoint, "Where the control interface listens (HTTP); a port alone is on loopback"),
    .optional("enable_get_dump", \.enableGetDump, "The control interface shows the configuration, secrets masked"),
    .ignored("enable_input_metrics", "Inputs are always counted"),
    .ignored("enable_size_metrics", "Bytes are always counted"),
    .ignored("enable_msgpack_time_support", "Always on"),
    .ignored("enable_jit", "agg is compiled"),
    .ignored("disable_shared_socket", "Workers share listening sockets through the kernel"),
    .ignored("restart_worker_interval", "A worker that ends is started again after a second"),
    .optional("config_include_dir", \.configIncludeDirectory, "Every .conf, .yaml and .yml file under it is read too; nowhere by default"),
    .optional("shutdown_timeout", \.shutdownTimeout, "How long a graceful stop may take"),
    .optional("umask", \.umask, "File mode creation mask, e.g. 0022"),
    .optional("memory_limit", \.memoryLimit, "Most memory of events on their way, memory buffers and unfinished input, per process; over it inputs wait. Default: no limit, as with Fluentd"),
    .section("log", \.log, "agg's own log"),
    .ignored("<metrics>", "The counters are always on: /metrics and /ledger.json of monitor_agent"),
    .unsupported("<counter_server>", "agg has no counter server; scrape /metrics of monitor_agent"),
    .unsupported("<counter_client>", "agg has no counter server; scrape /metrics of monitor_agent"),
  ]
}

extension SystemConfig {
  static let leastMemoryLimit = 16 << 20

  public mutating func validate(_ context: ConfigContext) throws {
    if let limit = memoryLimit?.bytes, limit < Self.leastMemoryLimit {
      throw ConfigValueError("'memory_limit' must be at least 16m; got \(limit) bytes")
    }
  }

  /// The process's file mode creation mask; nil leaves the inherited one. A configured permission is meant as it stands (Fluentd's mask is 0).
  public var fileMask: UInt32? { umask?.mode ?? (filePermission != nil || directoryPermission != nil ? 0 : nil) }
}
