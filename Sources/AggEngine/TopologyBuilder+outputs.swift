import AggCore

/// Outputs, their dead letters and their secondaries.
extension TopologyBuilder {
  /// An output section (`<match>` or `<store>`); nil when it is wrong, which has been noted.
  func output(_ element: ConfigElement) -> (any Sink)? {
    let mark = mark(element, "output", currentLabel)
    if case .output(let sink)? = adopt(element, mark) { return sink }
    guard let sink = makeOutput(element) else { return nil }
    keep(.output(sink), since: mark)
    return sink
  }

  func makeOutput(_ element: ConfigElement) -> (any Sink)? {
    guard let type = type(element), let found = find(plugins.outputs, type, "output", element), let element = modern(found, element) else { return nil }
    let id = identity(element, "output", type)
    let counters = counters(id, type, "output", element, found.parameters)
    let sections = element.children("buffer")
    if sections.count > 1 { fail(sections[1].at, "<buffer> is given twice; keep one") }
    let section = sections.first
    guard let defaults = found.buffering else {
      if let section { fail(section.at, "the \(type) output has no buffer; remove <buffer>") }
      do {
        let made = try found.make(element, pluginContext(id, element, counters), [])
        if let routing = made.routing {
          note(id, type, element, .routes)
          if let holding = routing as? any HoldingFilter { topology.holding.append(.init(id: id, filter: holding, label: currentLabel, counters: counters)) }
          return RoutingSink(id: id, output: routing, counters: counters)
        }
        if let direct = made.direct {
          note(id, type, element, .none)
          return directSink(id, direct, counters)
        }
      } catch { fail(error, element) }
      return nil
    }
    do {
      let bufferElement = section ?? ConfigElement(name: "buffer", at: element.at)
      var config = try BufferConfig.load(bufferElement, context)
      if let seconds = defaults.flushInterval, bufferElement.entry("flush_interval") == nil {
        config.flushInterval = TimeSpan(seconds: Double(seconds))
        if bufferElement.entry("flush_mode") == nil { config.flushMode = .interval }
      }
      config.flushAtShutdown = config.flushAtShutdown ?? defaults.flushAtShutdown
      if let seconds = defaults.retryMaxInterval, bufferElement.entry("retry_max_interval") == nil {
        config.retryMaxInterval = TimeSpan(seconds: Double(seconds))
      }
      if let seconds = defaults.retryTimeout, bufferElement.entry("retry_timeout") == nil {
        config.retryTimeout = TimeSpan(seconds: Double(seconds))
      }
      var keys = try chunkKeys(&config, bufferElement, defaults, hasSection: section != nil)
      if keys.time, config.timekey == nil { config.timekey = TimeSpan(seconds: Double(keys.timekey ?? 86400)) }
      keys.timekey = keys.time ? config.timekey.map { Int64(clamping: $0.seconds) } : nil
      let made = try found.make(element, pluginContext(id, element, counters, keys), BufferedOutputConfig.names)
      if section == nil, let direct = made.direct {
        note(id, type, element, .none)
        return directSink(id, direct, counters)
      }
      guard let buffered = made.buffered else { return nil }
      let secondary = try secondary(element, type, keys)
      let buffer = try makeBuffer(id, config, keys, bufferElement, counters, defaultType: defaults.memory, defaultPath: element["path"], output: buffered)
      let place = buffer.isPersistent ? topology.fileBuffers.last.map { ($0.directory, $0.prefix) } : nil
      let letters = try deadLetters(id, config, bufferElement, beside: place)
      topology.places.append(
        .init(id: id, type: type, directory: place?.0, prefix: place?.1 ?? "", deadLetters: letters?.options.directory))
      let runner = OutputRunner(
        id: id, buffer: buffer, output: buffered, secondary: secondary, policy: config.retryPolicy(hasSecondary: secondary != nil), counters: counters,
        log: host.log.with(source: id), timers: host.timers, slowWrite: try slowWrite(element), deadLetters: letters)
      topology.runners.append(runner)
      let storage: Topology.OutputEntry.Storage = !buffer.isPersistent ? .memory : config.durability == .fsync ? .fileSynced : .file
      note(
        id, type, element, storage, path: buffer.isPersistent ? topology.fileBuffers.last?.directory : nil,
        secondary: secondary == nil ? nil : element.child("secondary")?.type ?? type, deadLetters: letters?.options.directory)
      return runner
    } catch { fail(error, element) }
    return nil
  }

  func note(
    _ id: String, _ type: String, _ element: ConfigElement, _ storage: Topology.OutputEntry.Storage, path: String? = nil, secondary: String? = nil,
    deadLetters: String? = nil
  ) {
    currentOutputs.append(
      .init(id: id, type: type, at: element.at, storage: storage, path: path, secondary: secondary, deadLetters: deadLetters))
  }

  /// Where the output keeps what it gives up; nil: nowhere.
  func deadLetters(_ id: String, _ config: BufferConfig, _ element: ConfigElement, beside place: (String, prefix: String)?) throws
    -> DeadLetterStore?
  {
    if config.disableChunkBackup || config.deadLetterLimit.bytes <= 0 { return nil }
    var options: DeadLetterStore.Options
    if var path = config.deadLetterPath {
      if info.workers > 1 { path += "/worker\(info.workerID)" }
      options = .init(directory: path)
    } else if let place {
      options = .init(directory: "\(place.0)/\(place.prefix)dead_letters")
    } else if let root = system.deadLetterPath ?? info.rootDirectory {
      options = .init(directory: "\(root)/worker\(info.workerID)/\(Self.fileName(id))/dead_letters")
    } else {
      return nil
    }
    if let other = bufferPaths[options.directory] {
      throw ConfigErrors(at: element.at, "the directory \(options.directory) is used twice; the other is at \(other)")
    }
    bufferPaths[options.directory] = element.at
    options.limit = config.deadLetterLimit.bytes
    options.durability = config.durability
    options.permission = config.filePermission.map { Int($0.mode) } ?? info.filePermission ?? 0o644
    options.directoryPermission = config.directoryPermission.map { Int($0.mode) } ?? info.directoryPermission ?? 0o755
    options.chunkDirectory = place?.0
    return DeadLetterStore(options, pool: host.pool, log: host.log.with(source: id))
  }
  /// An id as one part of a path.
  static func fileName(_ id: String) -> String {
    id.utf8.reduce(into: "") { out, byte in
      let isLetter = (0x61...0x7a).contains(byte | 0x20)
      let isPlain = isLetter || (0x30...0x39).contains(byte) || byte == 0x2d || byte == 0x5f || byte == 0x2e && !out.isEmpty
      out += isPlain ? String(UnicodeScalar(byte)) : "%\(byte < 16 ? "0" : "")\(String(byte, radix: 16, uppercase: true))"
    }
  }

  func directSink(_ id: String, _ output: any DirectOutput, _ counters: Counters) -> DirectSink {
    if let timed = output as? any TimedOutput { topology.timed.append(.init(id: id) { await timed.run() }) }
    return DirectSink(id: id, output: output, counters: counters, log: host.log.with(source: id))
  }

  func slowWrite(_ element: ConfigElement) throws -> TimeSpan {
    guard let text = element["slow_flush_log_threshold"] else { return TimeSpan(seconds: 20) }
    do throws(ConfigValueError) { return TimeSpan(seconds: try Double(configText: text, strict: context.strict)) } catch {
      throw ConfigErrors(at: element.entry("slow_flush_log_threshold")?.at ?? element.at, "'slow_flush_log_threshold' \(error.message)")
    }
  }

  func secondary(_ element: ConfigElement, _ primary: String, _ keys: ChunkKeys) throws -> (any Output)? {
    let sections = element.children("secondary")
    guard let section = sections.first else { return nil }
    for name in ["buffer", "secondary"] where section.child(name) != nil {
      throw ConfigErrors(at: section.child(name)?.at ?? section.at, "<secondary> cannot have <\(name)>")
    }
    guard let found = find(plugins.outputs, section.type ?? primary, "output", section) else { return nil }
    let id = identity(section, "secondary", section.type ?? primary)
    let made = try found.make(section, pluginContext(id, section, Counters(plugin: id, type: found.name, kind: "secondary"), keys), [])
    guard let output = made.buffered else {
      throw ConfigErrors(at: section.at, "the \(found.name) output cannot be a secondary: it does not take chunks; use secondary_file")
    }
    topology.secondaries.append(.init(id: id, output: output))
    return output
  }
}
