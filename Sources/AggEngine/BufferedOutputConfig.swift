public import AggCore

/// What every buffered output takes beside its own parameters, read by the engine: declared for `agg plugins` and COMPATIBILITY.md.
public struct BufferedOutputConfig: Configurable {
  var slowFlushLogThreshold = 20.0
  var timeAsInteger = false
  var buffer = BufferConfig()
  var secondary: ConfigElement?
  public init() {}
  public static let parameters: [Parameter<Self>] = [
    .section("buffer", \.buffer, "How events are kept until the destination has them"),
    .element("secondary", \.secondary, "An output for chunks that this one cannot deliver; without @type the same as this one"),
    .optional(
      "slow_flush_log_threshold", \.slowFlushLogThreshold, "Seconds after which a delivery counts as slow, and is logged"),
    .optional("time_as_integer", \.timeAsInteger, "Whole seconds in forward's messages; others write times as their format says"),
  ]
  /// The names that an output's own section may hold beside its own.
  static let names: Set<String> = ["buffer", "secondary", "time_as_integer", "slow_flush_log_threshold"]
}

extension PluginType<OutputInstance> {
  /// The plugin's own rows, and the engine's where it is buffered.
  public var allParameters: [ParameterDoc] {
    guard let buffering else { return parameters() }
    var rows = BufferedOutputConfig.docs
    if let index = rows.firstIndex(where: { $0.name == "buffer" }) { rows[index].nested = { BufferConfig.docs(for: buffering) } }
    return parameters() + rows
  }
}

extension BufferConfig {
  /// The rows with the limits of one kind of buffer.
  public static func docs(type: String) -> [ParameterDoc] { docs(for: BufferDefaults(memory: type)) }

  /// The rows with one output's defaults.
  static func docs(for defaults: BufferDefaults) -> [ParameterDoc] {
    docs.map { doc in
      var doc = doc
      switch doc.name {
      case "": doc.defaultText = defaults.chunkKeys.isEmpty ? "[]" : defaults.chunkKeys.joined(separator: ",")
      case "@type": doc.defaultText = defaults.memory
      case "timekey": doc.defaultText = defaults.timekey.map { TimeSpan(seconds: Double($0)).configText } ?? "nil"
      case "flush_mode": doc.defaultText = defaults.flushInterval == nil ? doc.defaultText : FlushMode.interval.rawValue
      case "flush_interval":
        doc.defaultText = defaults.flushInterval.map { TimeSpan(seconds: Double($0)).configText } ?? doc.defaultText
      case "flush_at_shutdown": doc.defaultText = defaults.flushAtShutdown.map { $0 ? "true" : "false" } ?? "nil"
      case "chunk_limit_size": doc.defaultText = defaults.memory == "memory" ? "8m" : "256m"
      case "total_limit_size": doc.defaultText = defaults.memory == "memory" ? "512m" : "64g"
      default: break
      }
      return doc
    }
  }
}
