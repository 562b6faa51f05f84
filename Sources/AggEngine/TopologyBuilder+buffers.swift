import AggCore

/// Buffers: chunk keys, places, adoption of what vanished workers left.
extension TopologyBuilder {
  func chunkKeys(_ config: inout BufferConfig, _ element: ConfigElement, _ defaults: BufferDefaults, hasSection: Bool) throws -> ChunkKeys {
    var keys = ChunkKeys()
    let names = hasSection && !element.argument.isEmpty ? config.keys : defaults.chunkKeys
    for name in names where !name.isEmpty {
      switch name {
      case "tag": keys.tag = true
      case "time": keys.time = true
      case "[]": continue
      default:
        let plain = name.utf8.allSatisfy { $0 == 0x5f || $0 == 0x2d || $0 == 0x40 || $0 == 0x2e || (0x30...0x39).contains($0) || (0x41...0x5a).contains($0) || (0x61...0x7a).contains($0) }
        if !plain, !name.hasPrefix("$.") { throw ConfigErrors(at: element.at, "<buffer> key '\(name)' has characters that a key cannot have; use $.path for nested fields") }
        if !keys.fields.contains(name) { keys.fields.append(name) }
      }
    }
    keys.timekeyUTC = config.timekeyUseUTC
    keys.timekeyZone = config.timekeyZone
    if keys.time {
      if config.timekey == nil, let length = defaults.timekey { config.timekey = TimeSpan(seconds: Double(length)) }
      guard let timekey = config.timekey else {
        throw ConfigErrors(at: element.at, "<buffer \(element.argument)> has time as a key, so it needs 'timekey': the length of a time slice")
      }
      if timekey.seconds < 1 { throw ConfigErrors(at: element.at, "'timekey' must be at least 1 second") }
      keys.timekey = Int64(clamping: timekey.seconds)
    }
    if config.flushMode != .interval, config.flushMode != .default, element.entry("flush_interval") != nil {
      throw ConfigErrors(
        at: element.entry("flush_interval")?.at ?? element.at,
        "'flush_interval' has no meaning with flush_mode \(config.flushMode.rawValue); remove it, or use flush_mode interval")
    }
    return keys
  }

  /// Worker 0 takes over what workers that are no longer configured have left, or an agg without workers.
  func adoption(_ path: String, _ id: String, isSingle: Bool, hasPath: Bool) -> FileChunkStore.Adoption? {
    // What stands in <worker N> is one worker's, and has the same place with any number of them.
    guard info.workerID == 0, info.workers == realWorkers, !path.contains("*") else { return nil }
    let root = info.rootDirectory
    let first = topology.fileBuffers.first?.directory ?? path
    let base = first.hasSuffix("/worker0") && realWorkers > 1 ? String(first.dropLast(8)) : first
    let log: @Sendable (Int?) -> String = { worker in
      let above = root ?? base
      guard let worker else { return above + "/.commit.agg" }
      return "\(above)/worker\(worker)/.commit.agg"
    }
    if hasPath {
      return .init(parent: path, workers: realWorkers, single: [.init(directory: path, commitLog: log(nil))]) { worker in
        [.init(directory: "\(path)/worker\(worker)", commitLog: log(worker))]
      }
    }
    guard let root else { return nil }
    let own: @Sendable (Int) -> String = { worker in "\(root)/worker\(worker)/\(id)/buffer" }
    return .init(parent: root, workers: realWorkers, single: [.init(directory: own(0), commitLog: log(nil))]) { worker in
      [.init(directory: "\(own(worker))/worker\(worker)", commitLog: log(worker))]
    }
  }

  func makeBuffer(
    _ id: String, _ config: BufferConfig, _ keys: ChunkKeys, _ element: ConfigElement, _ counters: Counters, defaultType: String, defaultPath: String?,
    output: any Output
  ) throws -> Buffer {
    var limits = BufferPlan.Limits()
    let type = config.type ?? defaultType
    if info.workers > 1, type != "memory", config.path?.contains("*") == true {
      throw ConfigErrors(at: element.entry("path")?.at ?? element.at, "with several workers a file buffer's 'path' must be a directory; each worker makes its own in it")
    }
    guard ["memory", "file", "file_single"].contains(type) else {
      throw ConfigErrors(at: element.entry("@type")?.at ?? element.at, "unknown buffer plugin '\(type)'; known: memory, file, file_single")
    }
    let isFile = type != "memory"
    let isSingle = type == "file_single"
    if isSingle, !keys.fields.isEmpty, keys.tag || keys.fields.count > 1 {
      throw ConfigErrors(
        at: element.at, "a file_single buffer has tag or one field as its chunk key, since the key is in the file name; use @type file for <buffer \(element.argument)>")
    }
    // A chunk is read whole to be delivered: where nothing is said, an eighth of what there is.
    limits.chunkBytes = config.chunkLimitSize?.bytes ?? min(isFile ? 256 << 20 : 8 << 20, (system.memoryLimit?.bytes ?? .max) / 8)
    if let limit = system.memoryLimit?.bytes, limits.chunkBytes > limit / 2 {
      context.warnings.add(
        element.entry("chunk_limit_size")?.at ?? element.at,
        "a chunk is read whole when it is delivered: 'chunk_limit_size' should be at most half of memory_limit, \(limit / 2) bytes")
    }
    limits.totalBytes = config.totalLimitSize?.bytes ?? (isFile ? 64 << 30 : 512 << 20)
    if let length = config.queueLimitLength, config.totalLimitSize == nil {
      limits.totalBytes = limits.chunkBytes.multipliedReportingOverflow(by: max(1, length)).partialValue
    }
    if limits.totalBytes < limits.chunkBytes { limits.chunkBytes = max(1, limits.totalBytes) }
    limits.chunkRecords = config.chunkLimitRecords
    limits.queuedChunks = config.queuedChunksLimitSize
    limits.fullThreshold = config.chunkFullThreshold
    limits.mode = config.flushMode == .default ? (keys.time ? .lazy : .interval) : config.flushMode
    if limits.mode == .lazy, !keys.time {
      limits.mode = .interval
      limits.flushInterval = .max
    } else {
      limits.flushInterval = Int64(config.flushInterval.nanoseconds)
    }
    limits.timekey = keys.timekey ?? 0
    limits.timekeyWait = Int64(clamping: config.timekeyWait.seconds)
    let log = host.log.with(source: id)
    let store: any ChunkStore
    var share: MemoryShare?
    var foreign: FluentdBuffer?
    if isFile {
      guard let path = config.path ?? info.rootDirectory.map({ "\($0)/worker\(info.workerID)/\(id)/buffer" }) ?? defaultPath else {
        throw ConfigErrors(at: element.at, "a file buffer needs 'path' (a directory of its own), or <system> root_dir")
      }
      let workerID = info.workers > 1 ? info.workerID : nil
      var options = FileChunkStore.Options(path: path, isSingle: isSingle, workerID: workerID)
      let identity = options.directory + "/" + options.prefix
      if let other = bufferPaths[identity] { throw ConfigErrors(at: element.at, "buffer path \(path) is used twice; the other is at \(other)") }
      bufferPaths[identity] = element.at
      options.permission = config.filePermission.map { Int($0.mode) } ?? info.filePermission ?? 0o644
      options.directoryPermission = config.directoryPermission.map { Int($0.mode) } ?? info.directoryPermission ?? 0o755
      options.durability = config.durability
      options.compress = config.compress
      options.files = chunkFiles
      options.adoption = adoption(path, id, isSingle: isSingle, hasPath: config.path != nil || info.rootDirectory == nil)
      store = FileChunkStore(options, log: log)
      foreign = FluentdBuffer(
        .init(
          path: path, suffix: config.pathSuffix, isSingle: isSingle, workerID: workerID, keys: keys, takesFormatted: output.takesFormattedChunks,
          isText: config.chunkFormat == .text), log: log)
      topology.fileBuffers.append(.init(directory: options.directory, prefix: options.prefix, durability: config.durability))
    } else {
      share = memoryPool?.share()
      store = MemoryChunkStore(share)
    }
    let divider: ChunkDivider
    do throws(ConfigValueError) { divider = try ChunkDivider(keys) } catch { throw ConfigErrors(at: element.at, error.message) }
    return Buffer(
      name: id, config: config, limits: limits, divider: divider, store: store, counters: counters, log: log, pool: host.pool, timers: host.timers,
      observer: output.stagingObserver, foreign: foreign, share: share)
  }
}


extension FileChunkStore.Options {
  /// Fluentd's `path`: a directory, or a pattern whose `*` stands for the chunk.
  init(path: String, isSingle: Bool, workerID: Int?) {
    if let star = path.lastIndex(of: "*") {
      let before = String(path[..<star])
      self.init(directory: File.directory(of: before + "x"), prefix: File.name(of: before))
    } else {
      self.init(directory: path, prefix: isSingle ? "fsb." : "buffer.")
    }
    namesKeys = isSingle
    if let workerID { directory += "/worker\(workerID)" }
  }
}

extension BufferConfig {
  func retryPolicy(hasSecondary: Bool) -> RetryPlan.Policy {
    var policy = RetryPlan.Policy()
    policy.exponential = retryType == .exponentialBackoff
    policy.wait = Int64(retryWait.nanoseconds)
    policy.base = retryBase
    policy.maximumInterval = retryMaxInterval.map { Int64($0.nanoseconds) }
    policy.timeout = Int64(retryTimeout.nanoseconds)
    policy.maximumTimes = retryMaxTimes
    policy.forever = retryForever
    policy.randomize = retryRandomize
    policy.hasSecondary = hasSecondary
    policy.secondaryThreshold = retrySecondaryThreshold
    return policy
  }
}
