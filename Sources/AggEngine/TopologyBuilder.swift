public import AggCore

/// Makes a topology of a configuration, collecting every mistake. No I/O: a bad file leaves a running daemon alone.
public final class TopologyBuilder {
  let plugins: PluginSet
  let host: EngineHost
  let system: SystemConfig
  /// `workers` is 1 inside of a `<worker N>` of one worker: what is there shares nothing.
  var info: SystemInfo
  let context: ConfigContext
  private var errors: [ConfigError] = []
  private var ids: [String: SourceLocation] = [:]
  private var numbers: [String: Int] = [:]
  let topology: Topology
  /// The label whose sections are being read.
  private(set) var currentLabel = "@ROOT"
  /// The match or filter that is being read, and the outputs found in it.
  private(set) var currentRule: SourceLocation?
  private var currentOutputs: [Topology.OutputEntry] = []
  private var realWorkers = 1
  private var bufferPaths: [String: SourceLocation] = [:]
  private let chunkFiles: ChunkFiles
  /// With memory_limit.
  private let memoryPool: MemoryPool?
  /// The topology that runs, whose parts are taken over where their sections are the same.
  private let previous: Topology?
  /// In the order in which they were finished: what is in another stands before it.
  private var made: [(place: String, component: Component)] = []

  public init(plugins: PluginSet, host: EngineHost, system: SystemConfig, info: SystemInfo, context: ConfigContext, previous: Topology? = nil) {
    self.previous = previous
    self.plugins = plugins
    self.host = host
    self.system = system
    self.info = info
    self.context = context
    topology = previous.map { Topology(host: host, system: system, live: $0.live) } ?? Topology(host: host, system: system)
    topology.chunkFiles = previous?.chunkFiles ?? ChunkFiles()
    topology.memoryPool = previous?.memoryPool ?? system.memoryLimit.map { MemoryPool(limit: $0.bytes) }
    chunkFiles = topology.chunkFiles
    memoryPool = topology.memoryPool
    topology.claims = context.claims
  }

  public func build(_ root: ConfigElement) throws(ConfigErrors) -> Topology {
    let sections = flattened(root.children)
    let elements = sections.map(\.element)
    let workers = info.workers
    realWorkers = workers
    makeRouter("@ROOT", at: root.at)
    for element in elements where element.name == "label" {
      if element.argument.isEmpty { fail(element.at, "<label> needs a name: <label @NAME>"); continue }
      if topology.routers[element.argument] != nil {
        fail(element.at, "label \(element.argument) is defined twice; merge the two sections")
        continue
      }
      makeRouter(element.argument, at: element.at)
      topology.labelPlaces.append((element.argument, element.at))
    }
    for (element, sharing) in sections {
      info.workers = sharing
      switch element.name {
      case "source": continue
      case "match", "filter": addRule(element, to: "@ROOT")
      case "label":
        for child in element.children {
          switch child.name {
          case "match", "filter": addRule(child, to: element.argument)
          default: context.warnings.add(child.at, "unknown section '\(child.name)' in <label \(element.argument)>; known: match, filter")
          }
        }
      case "system": continue
      default: context.warnings.add(element.at, "unknown section '\(element.name)'; known: source, match, filter, label, system, worker")
      }
    }
    for entry in root.entries { context.warnings.add(entry.at, "'\(entry.name)' stands outside of a section and has no effect") }
    if system.withoutSource { host.log.info("without_source: <source> sections are left out") }
    for (element, sharing) in sections where element.name == "source" && !system.withoutSource {
      info.workers = sharing
      addInput(element)
    }
    info.workers = workers
    for (name, at) in topology.labelUses where topology.routers[name] == nil {
      fail(at, "label \(name) is not defined; add <label \(name)> … </label>")
    }
    if elements.allSatisfy({ $0.name != "source" }) { context.warnings.add(root.at, "there is no <source>: nothing comes in") }
    if !errors.isEmpty { throw ConfigErrors(errors.sorted { ($0.at.file, $0.at.line) < ($1.at.file, $1.at.line) }) }
    topology.finish(worker: workers > 1 ? info.workerID : nil)
    topology.components.withLock { all in for (place, component) in made { all[place, default: []].append(component) } }
    return topology
  }

  /// The sections of this worker: `<worker N>` and `<worker N-M>` are opened or left out.
  private func flattened(_ children: [ConfigElement]) -> [(element: ConfigElement, workers: Int)] {
    children.flatMap { element -> [(element: ConfigElement, workers: Int)] in
      guard element.name == "worker" else { return [(element, info.workers)] }
      let bounds = element.argument.split(separator: "-").map { Int($0.filter { $0 != " " }) }
      guard (1...2).contains(bounds.count), let first = bounds[0], let last = bounds[bounds.count - 1], first >= 0, first <= last else {
        fail(element.at, "<worker \(element.argument)> is not a worker number or range; write <worker 0> or <worker 0-1>")
        return []
      }
      if last >= info.workers { fail(element.at, "worker \(last) does not exist: <system> workers is \(info.workers)") }
      return (first...last).contains(info.workerID) ? element.children.map { ($0, last - first + 1) } : []
    }
  }

  private func fail(_ at: SourceLocation, _ message: String) { errors.append(ConfigError(at: at, message)) }
  /// Keeps what a plugin threw, with the element's place where it gave none.
  private func fail(_ error: any Error, _ element: ConfigElement) {
    if let all = error as? ConfigErrors { errors += all.errors } else if let one = error as? ConfigError { errors.append(one) } else if let value = error
      as? ConfigValueError
    {
      fail(element.at, value.message)
    } else {
      fail(element.at, "\(error)")
    }
  }

  private func makeRouter(_ name: String, at: SourceLocation) {
    let counters = Counters(plugin: name == "@ROOT" ? "no_match" : "no_match.\(name)", type: "label", kind: "label")
    topology.counters.append(counters)
    topology.routers[name] = LabelRouter(id: name, unmatched: counters, log: host.log)
  }

  // MARK: Parts of the topology before

  /// Where the topology's lists end, before a section is read.
  private struct Mark {
    var place: String
    var made, counters, plugins, runners, secondaries, holding, timed, fileBuffers, places, labelEdges, outputs, errors: Int
    var numbers: [String: Int]
    var bufferPaths: Set<String>
  }
  private func mark(_ element: ConfigElement, _ kind: String, _ label: String) -> Mark {
    Mark(
      place: "\(kind) \(label) \(info.workers)\n\(element.fingerprint)", made: made.count, counters: topology.counters.count, plugins: topology.plugins.count,
      runners: topology.runners.count, secondaries: topology.secondaries.count, holding: topology.holding.count, timed: topology.timed.count,
      fileBuffers: topology.fileBuffers.count, places: topology.places.count, labelEdges: topology.labelEdges.count,
      outputs: currentOutputs.count, errors: errors.count, numbers: numbers, bufferPaths: Set(bufferPaths.keys))
  }

  /// Remembers what was made since `mark`, for the next reload.
  private func keep(_ made: Component.Made, since mark: Mark) {
    guard errors.count == mark.errors else { return }
    var ranges: [String: Range<Int>] = [:]
    for (stem, n) in numbers where n != mark.numbers[stem, default: 0] { ranges[stem] = mark.numbers[stem, default: 0]..<n }
    var component = Component(made: made, numbers: ranges)
    component.counters = Array(topology.counters[mark.counters...])
    component.plugins = Array(topology.plugins[mark.plugins...])
    component.runners = Array(topology.runners[mark.runners...])
    component.secondaries = Array(topology.secondaries[mark.secondaries...])
    component.holding = Array(topology.holding[mark.holding...])
    component.timed = Array(topology.timed[mark.timed...])
    component.fileBuffers = Array(topology.fileBuffers[mark.fileBuffers...])
    component.places = Array(topology.places[mark.places...])
    component.labelEdges = Array(topology.labelEdges[mark.labelEdges...])
    component.outputs = Array(currentOutputs[mark.outputs...])
    component.bufferPaths = bufferPaths.keys.filter { !mark.bufferPaths.contains($0) }
    component.nested = Array(self.made[mark.made...])
    self.made.append((mark.place, component))
  }

  /// What the topology before made of the same section, now also a part of this one; nil when there is none.
  private func adopt(_ element: ConfigElement, _ mark: Mark) -> Component.Made? {
    guard let previous, let known = previous.components.withLock({ $0[mark.place] }) else { return nil }
    let bound = previous.bound.withLock { $0 }
    let found = known.first { component in
      component.numbers.allSatisfy { numbers[$0.key, default: 0] == $0.value.lowerBound } && bound.isDisjoint(with: component.ids)
        && topology.kept.isDisjoint(with: component.ids)
    }
    guard var component = found else { return nil }
    for (stem, range) in component.numbers { numbers[stem] = range.upperBound }
    for plugin in component.plugins {
      guard let id = plugin.element["@id"] ?? plugin.element["id"] else { continue }
      if let other = ids[id] { fail(element.at, "@id \(id) is used twice; the other is at \(other)") }
      ids[id] = element.at
    }
    for path in component.bufferPaths {
      if let other = bufferPaths[path] { fail(element.at, "buffer path \(path) is used twice; the other is at \(other)") }
      bufferPaths[path] = element.at
    }
    for index in component.labelEdges.indices {
      let edge = component.labelEdges[index]
      component.labelEdges[index].rule = currentRule
      if edge.isRequired, edge.to != "@ROOT", topology.labelUses[edge.to] == nil { topology.labelUses[edge.to] = element.at }
    }
    topology.counters += component.counters
    topology.plugins += component.plugins
    topology.runners += component.runners
    topology.secondaries += component.secondaries
    topology.holding += component.holding
    topology.timed += component.timed
    topology.fileBuffers += component.fileBuffers
    topology.places += component.places
    topology.labelEdges += component.labelEdges
    currentOutputs += component.outputs
    topology.kept.formUnion(component.ids)
    context.claims.adopt(previous.claims, of: component.ids)
    let emitting = previous.emitting.withLock { $0.intersection(component.ids) }
    topology.emitting.withLock { $0.formUnion(emitting) }
    made += component.nested + [(mark.place, component)]
    return component.made
  }

  // MARK: Names

  /// `@id`, or kind, type and number in file order: stable as long as the file's order is.
  private func identity(_ element: ConfigElement, _ kind: String, _ type: String) -> String {
    if let id = element["@id"] ?? element["id"] {
      if let other = ids[id] { fail(element.at, "@id \(id) is used twice; the other is at \(other)") }
      ids[id] = element.at
      return id
    }
    let stem = "\(kind)_\(type)"
    let n = numbers[stem, default: 0]
    numbers[stem] = n + 1
    return "\(stem).\(n)"
  }

  private func type(_ element: ConfigElement) -> String? {
    guard let type = element.type, !type.isEmpty else {
      fail(element.at, "<\(element.name)> needs '@type': which plugin this is")
      return nil
    }
    return type
  }

  private func find<Instance>(_ list: [PluginType<Instance>], _ type: String, _ kind: String, _ element: ConfigElement) -> PluginType<Instance>? {
    if let found = list.first(where: { $0.name == type }) { return found }
    fail(element.entry("@type")?.at ?? element.at, plugins.unknownType(type, kind, known: list.map(\.name)))
    return nil
  }
  private func modern<Instance>(_ found: PluginType<Instance>, _ element: ConfigElement) -> ConfigElement? {
    do throws(ConfigErrors) { return try found.modern(element) } catch {
      fail(error, element)
      return nil
    }
  }

  private func pluginContext(_ id: String, _ element: ConfigElement, _ counters: Counters, _ keys: ChunkKeys? = nil) -> PluginContext {
    let level = element["@log_level"].flatMap { LogLevel(name: $0) } ?? element["log_level"].flatMap { LogLevel(name: $0) }
    if let text = element["@log_level"], level == nil {
      fail(element.entry("@log_level")?.at ?? element.at, "'@log_level' must be one of trace, debug, info, warn, error, fatal; got '\(text)'")
    }
    return PluginContext(
      id: id, element: element, log: host.log.with(source: id, level: level), counters: counters, system: info, config: context, chunkKeys: keys,
      services: TopologyServices(builder: self))
  }

  private func counters(
    _ id: String, _ type: String, _ kind: String, _ element: ConfigElement, _ parameters: @escaping @Sendable () -> [ParameterDoc]
  ) -> Counters {
    let counters = Counters(plugin: id, type: type, kind: kind)
    topology.counters.append(counters)
    topology.plugins.append(.init(id: id, type: type, kind: kind, element: element, counters: counters, label: currentLabel, parameters: parameters))
    return counters
  }

  // MARK: Rules

  private func addRule(_ element: ConfigElement, to label: String) {
    guard let router = topology.routers[label] else { return }
    currentLabel = label
    currentRule = element.at
    currentOutputs = []
    var pattern: TagPattern?
    do throws(ConfigValueError) {
      pattern = try TagPattern(configText: element.argument.isEmpty ? "**" : element.argument, strict: context.strict)
    } catch { fail(element.at, "<\(element.name) \(element.argument)>: \(error.message)") }
    if element.name == "filter" {
      let mark = mark(element, "filter", label)
      if case .filter(let filter, let counters)? = adopt(element, mark) {
        guard let pattern else { return }
        router.add(.init(pattern: pattern, target: .filter(filter, counters)))
        return topology.rules.append(
          .init(label: label, pattern: pattern, kind: "filter", id: counters.plugin, type: counters.type, at: element.at))
      }
      guard let type = type(element), let found = find(plugins.filters, type, "filter", element), let element = modern(found, element) else { return }
      let id = identity(element, "filter", type)
      let counters = counters(id, type, "filter", element, found.parameters)
      do {
        let filter = try found.make(element, pluginContext(id, element, counters), [])
        if let pattern { router.add(.init(pattern: pattern, target: .filter(filter, counters))) }
        if let holding = filter as? any HoldingFilter {
          topology.holding.append(.init(id: id, filter: holding, label: label, counters: counters))
        }
        keep(.filter(filter, counters), since: mark)
        if let pattern { topology.rules.append(.init(label: label, pattern: pattern, kind: "filter", id: id, type: type, at: element.at)) }
      } catch { fail(error, element) }
    } else if let sink = output(element) {
      if let pattern { router.add(.init(pattern: pattern, target: .output(sink))) }
      if let pattern {
        topology.rules.append(
          .init(label: label, pattern: pattern, kind: "match", id: sink.id, type: element.type ?? "", at: element.at, outputs: currentOutputs))
      }
    }
  }

  private func addInput(_ element: ConfigElement) {
    if let label = element["@label"], label != "@ROOT", topology.labelUses[label] == nil {
      topology.labelUses[label] = element.entry("@label")?.at ?? element.at
    }
    let mark = mark(element, "input", "")
    if case .input(let entry)? = adopt(element, mark) { return topology.inputs.append(entry) }
    guard let type = type(element), let found = find(plugins.inputs, type, "input", element), let element = modern(found, element) else { return }
    if info.workers > 1, !found.sharesWorkers {
      fail(element.at, "the \(type) input cannot run in several workers at once; put it into <worker 0> … </worker>")
    }
    let id = identity(element, "input", type)
    let counters = counters(id, type, "input", element, found.parameters)
    let label = element["@label"] ?? "@ROOT"
    currentLabel = label
    currentRule = nil
    do {
      let input = try found.make(element, pluginContext(id, element, counters), [])
      let entry = Topology.InputEntry(id: id, input: input, label: label, counters: counters)
      topology.inputs.append(entry)
      keep(.input(entry), since: mark)
    } catch { fail(error, element) }
  }

  // MARK: Outputs

  /// An output section (`<match>` or `<store>`); nil when it is wrong, which has been noted.
  func output(_ element: ConfigElement) -> (any Sink)? {
    let mark = mark(element, "output", currentLabel)
    if case .output(let sink)? = adopt(element, mark) { return sink }
    guard let sink = makeOutput(element) else { return nil }
    keep(.output(sink), since: mark)
    return sink
  }

  private func makeOutput(_ element: ConfigElement) -> (any Sink)? {
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

  private func note(
    _ id: String, _ type: String, _ element: ConfigElement, _ storage: Topology.OutputEntry.Storage, path: String? = nil, secondary: String? = nil,
    deadLetters: String? = nil
  ) {
    currentOutputs.append(
      .init(id: id, type: type, at: element.at, storage: storage, path: path, secondary: secondary, deadLetters: deadLetters))
  }

  /// Where the output keeps what it gives up; nil: nowhere.
  private func deadLetters(_ id: String, _ config: BufferConfig, _ element: ConfigElement, beside place: (String, prefix: String)?) throws
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
  private static func fileName(_ id: String) -> String {
    id.utf8.reduce(into: "") { out, byte in
      let isLetter = (0x61...0x7a).contains(byte | 0x20)
      let isPlain = isLetter || (0x30...0x39).contains(byte) || byte == 0x2d || byte == 0x5f || byte == 0x2e && !out.isEmpty
      out += isPlain ? String(UnicodeScalar(byte)) : "%\(byte < 16 ? "0" : "")\(String(byte, radix: 16, uppercase: true))"
    }
  }

  private func directSink(_ id: String, _ output: any DirectOutput, _ counters: Counters) -> DirectSink {
    if let timed = output as? any TimedOutput { topology.timed.append(.init(id: id, output: timed)) }
    return DirectSink(id: id, output: output, counters: counters, log: host.log.with(source: id))
  }

  private func slowWrite(_ element: ConfigElement) throws -> TimeSpan {
    guard let text = element["slow_flush_log_threshold"] else { return TimeSpan(seconds: 20) }
    do throws(ConfigValueError) { return TimeSpan(seconds: try Double(configText: text, strict: context.strict)) } catch {
      throw ConfigErrors(at: element.entry("slow_flush_log_threshold")?.at ?? element.at, "'slow_flush_log_threshold' \(error.message)")
    }
  }

  private func secondary(_ element: ConfigElement, _ primary: String, _ keys: ChunkKeys) throws -> (any Output)? {
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

  private func chunkKeys(_ config: inout BufferConfig, _ element: ConfigElement, _ defaults: BufferDefaults, hasSection: Bool) throws -> ChunkKeys {
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
  private func adoption(_ path: String, _ id: String, isSingle: Bool, hasPath: Bool) -> FileChunkStore.Adoption? {
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

  private func makeBuffer(
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
