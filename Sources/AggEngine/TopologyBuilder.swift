public import AggCore

/// Makes a topology of a configuration, collecting every mistake. No I/O: a bad file leaves a running daemon alone.
public final class TopologyBuilder {
  let plugins: PluginSet
  let host: EngineHost
  let system: SystemConfig
  /// `workers` is 1 inside of a `<worker N>` of one worker: what is there shares nothing.
  var info: SystemInfo
  let context: ConfigContext
  var errors: [ConfigError] = []
  var ids: [String: SourceLocation] = [:]
  var numbers: [String: Int] = [:]
  let topology: Topology
  /// The label whose sections are being read.
  var currentLabel = "@ROOT"
  /// The match or filter that is being read, and the outputs found in it.
  var currentRule: SourceLocation?
  var currentOutputs: [Topology.OutputEntry] = []
  var realWorkers = 1
  var bufferPaths: [String: SourceLocation] = [:]
  let chunkFiles: ChunkFiles
  /// With memory_limit.
  let memoryPool: MemoryPool?
  /// The topology that runs, whose parts are taken over where their sections are the same.
  let previous: Topology?
  /// In the order in which they were finished: what is in another stands before it.
  var made: [(place: String, component: Component)] = []

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
  func flattened(_ children: [ConfigElement]) -> [(element: ConfigElement, workers: Int)] {
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

  func fail(_ at: SourceLocation, _ message: String) { errors.append(ConfigError(at: at, message)) }
  /// Keeps what a plugin threw, with the element's place where it gave none.
  func fail(_ error: any Error, _ element: ConfigElement) {
    if let all = error as? ConfigErrors { errors += all.errors } else if let one = error as? ConfigError { errors.append(one) } else if let value = error
      as? ConfigValueError
    {
      fail(element.at, value.message)
    } else {
      fail(element.at, "\(error)")
    }
  }

  func makeRouter(_ name: String, at: SourceLocation) {
    let counters = Counters(plugin: name == "@ROOT" ? "no_match" : "no_match.\(name)", type: "label", kind: "label")
    topology.counters.append(counters)
    topology.routers[name] = LabelRouter(id: name, unmatched: counters, log: host.log)
  }

  // MARK: Names

  /// `@id`, or kind, type and number in file order: stable as long as the file's order is.
  func identity(_ element: ConfigElement, _ kind: String, _ type: String) -> String {
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

  func type(_ element: ConfigElement) -> String? {
    guard let type = element.type, !type.isEmpty else {
      fail(element.at, "<\(element.name)> needs '@type': which plugin this is")
      return nil
    }
    return type
  }

  func find<Instance>(_ list: [PluginType<Instance>], _ type: String, _ kind: String, _ element: ConfigElement) -> PluginType<Instance>? {
    if let found = list.first(where: { $0.name == type }) { return found }
    fail(element.entry("@type")?.at ?? element.at, plugins.unknownType(type, kind, known: list.map(\.name)))
    return nil
  }
  func modern<Instance>(_ found: PluginType<Instance>, _ element: ConfigElement) -> ConfigElement? {
    do throws(ConfigErrors) { return try found.modern(element) } catch {
      fail(error, element)
      return nil
    }
  }

  func pluginContext(_ id: String, _ element: ConfigElement, _ counters: Counters, _ keys: ChunkKeys? = nil) -> PluginContext {
    let level = element["@log_level"].flatMap { LogLevel(name: $0) } ?? element["log_level"].flatMap { LogLevel(name: $0) }
    if let text = element["@log_level"], level == nil {
      fail(element.entry("@log_level")?.at ?? element.at, "'@log_level' must be one of trace, debug, info, warn, error, fatal; got '\(text)'")
    }
    return PluginContext(
      id: id, element: element, log: host.log.with(source: id, level: level), counters: counters, system: info, config: context, chunkKeys: keys,
      services: TopologyServices(builder: self))
  }

  func counters(
    _ id: String, _ type: String, _ kind: String, _ element: ConfigElement, _ parameters: @escaping @Sendable () -> [ParameterDoc]
  ) -> Counters {
    let counters = Counters(plugin: id, type: type, kind: kind)
    topology.counters.append(counters)
    topology.plugins.append(.init(id: id, type: type, kind: kind, element: element, counters: counters, label: currentLabel, parameters: parameters))
    return counters
  }

  // MARK: Rules

  func addRule(_ element: ConfigElement, to label: String) {
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
        if let timed = filter as? any TimedFilter { topology.timed.append(.init(id: id) { await timed.run() }) }
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

  func addInput(_ element: ConfigElement) {
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
}
