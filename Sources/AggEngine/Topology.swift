public import AggCore
import Synchronization

/// Everything one configuration makes: inputs, labels, outputs, and the ledger's rows. Built without I/O.
public final class Topology: @unchecked Sendable {  // written by its builder only, before anyone else sees it
  struct InputEntry {
    var id: String
    var input: any Input
    var label: String
    var counters: Counters
  }
  struct HoldingEntry {
    var id: String
    var filter: any HoldingFilter
    var label: String
    var counters: Counters
  }
  /// One plugin as the monitor shows it.
  public struct PluginEntry: Sendable {
    public var id: String
    public var type: String
    public var kind: String
    public var element: ConfigElement
    public var counters: Counters
    /// Where it stands; "@ROOT" for the top level.
    public var label = "@ROOT"
    public var parameters: @Sendable () -> [ParameterDoc] = { [] }
  }
  /// One `<match>` or `<filter>`, for `agg check`.
  public struct RuleEntry: Sendable {
    public var label: String
    public var pattern: TagPattern
    public var kind: String
    public var id: String
    public var type: String
    public var at: SourceLocation
    /// Where a `<match>` ends: itself, or the outputs in its stores.
    public var outputs: [OutputEntry] = []
  }
  /// What an output does with events until its destination has them.
  public struct OutputEntry: Sendable {
    public enum Storage: Sendable { case routes, none, memory, file, fileSynced }
    public var id: String
    public var type: String
    public var at: SourceLocation
    public var storage: Storage
    /// The buffer's directory.
    public var path: String?
    /// The type of its `<secondary>`.
    public var secondary: String?
    /// Where what it gives up is kept; nil: it is dropped.
    public var deadLetters: String?
  }
  /// Where an output keeps events, for `agg buffer` and `agg dlq`.
  public struct StoragePlace: Sendable {
    public var id: String
    public var type: String
    /// Of a file buffer: the directory of its chunks and how their names begin.
    public var directory: String?
    public var prefix = ""
    public var deadLetters: String?
  }
  /// A plugin that sends events to a label.
  struct LabelEdge {
    var from: String
    /// The `<match>` or `<filter>` it stands in.
    var rule: SourceLocation?
    var to: String
    var keepsTags: Bool
    /// The label has to be there when the configuration is read.
    var isRequired = true
  }

  struct SecondaryEntry {
    var id: String
    var output: any Output
  }
  /// An unbuffered output or a filter that reports on a timer.
  struct TimedEntry {
    var id: String
    var run: @Sendable () async -> Void
  }
  struct FileBuffer {
    var directory: String
    var prefix: String
    var durability: BufferConfig.Durability
  }

  let host: EngineHost
  public let system: SystemConfig
  /// Shared with the topologies before and after it that have parts in common with it.
  let live: LiveTopology
  var inputs: [InputEntry] = []
  var routers: [String: LabelRouter] = [:]
  public var runners: [OutputRunner] = []
  var secondaries: [SecondaryEntry] = []
  /// In file order: at the end each lets go what it holds before the next one does.
  var holding: [HoldingEntry] = []
  var timed: [TimedEntry] = []
  public var plugins: [PluginEntry] = []
  public var rules: [RuleEntry] = []
  var counters: [Counters] = []
  var labelUses: [String: SourceLocation] = [:]
  var labelEdges: [LabelEdge] = []
  /// Where each `<label>` begins, in the file's order.
  var labelPlaces: [(name: String, at: SourceLocation)] = []
  public var places: [StoragePlace] = []
  var fileBuffers: [FileBuffer] = []
  /// Where the commit log lives; nil without file buffers.
  var commitLogPath: String?
  /// What each section made, by its text and place; a reload takes from it, and takes out what it has stopped.
  let components = Mutex<[String: [Component]]>([:])
  /// Shared by all its buffers, and with the topology before.
  var chunkFiles = ChunkFiles()
  var memoryPool: MemoryPool?
  /// What its plugins have to themselves.
  var claims = ConfigClaims()
  /// The ids of what runs on from the topology before.
  var kept: Set<String> = []
  /// Plugins that hold what belongs to one configuration: a reload makes them anew.
  let bound = Mutex<Set<String>>([])
  /// Plugins that emit though they are no inputs: as outputs they stop before the others.
  let emitting = Mutex<Set<String>>([])

  init(host: EngineHost, system: SystemConfig, live: LiveTopology? = nil) {
    self.host = host
    self.system = system
    self.live = live ?? LiveTopology(host.timers)
  }

  /// Called once the sections are read.
  func finish(worker: Int?) {
    if let first = fileBuffers.first {
      let root = system.rootDirectory.map { root in worker.map { "\(root)/worker\($0)" } ?? root }
      commitLogPath = (root ?? first.directory) + "/.commit.agg"
    }
  }
  public var labels: [String] { routers.keys.sorted() }
  public func router(_ label: String) -> LabelRouter? { routers[label] }
  public var inputIDs: [(id: String, label: String)] { inputs.map { ($0.id, $0.label) } }
}

/// A label named before it is defined; found when the first batch comes.
final class LabelReference: Sink {
  let id: String
  private let topology: @Sendable () -> LabelRouter?
  init(id: String, _ find: @escaping @Sendable () -> LabelRouter?) {
    self.id = id
    topology = find
  }
  func take(_ batch: EventBatch, _ transaction: inout Transaction) throws(EmitError) {
    guard let router = topology() else { throw .failed("label \(id) is gone") }
    try router.take(batch, &transaction)
  }
}

/// What plugin contexts of one topology are served from.
final class TopologyServices: PluginServices, @unchecked Sendable {  // the builder is used only while it builds, on its own thread
  private weak var builder: TopologyBuilder?
  private let plugins: PluginSet
  private let topology: Topology
  private let host: EngineHost
  /// Where the plugin stands: what it emits goes there unless it says otherwise.
  private let label: String
  private let rule: SourceLocation?

  init(builder: TopologyBuilder) {
    self.builder = builder
    label = builder.currentLabel
    rule = builder.currentRule
    plugins = builder.plugins
    topology = builder.topology
    host = builder.host
  }

  func parser(_ section: ConfigElement, default type: String?, _ context: PluginContext) throws -> any Parser {
    try make(plugins.parsers, section, type, "parser", context)
  }
  func formatter(_ section: ConfigElement, default type: String?, _ context: PluginContext) throws -> any Formatter {
    try make(plugins.formatters, section, type, "formatter", context)
  }
  private func make<Instance: Sendable>(
    _ list: [PluginType<Instance>], _ section: ConfigElement, _ fallback: String?, _ kind: String, _ context: PluginContext
  ) throws -> Instance {
    guard let type = section.type ?? fallback else { throw ConfigErrors(at: section.at, "<\(section.name)> needs '@type': which \(kind) it is") }
    guard let found = list.first(where: { $0.name == type }) else {
      throw ConfigErrors(at: section.entry("@type")?.at ?? section.at, plugins.unknownType(type, kind, known: list.map(\.name)))
    }
    let nested = PluginContext(
      id: context.id, element: section, log: context.log, counters: context.counters, system: context.system, config: context.config,
      chunkKeys: context.chunkKeys, services: self)
    return try found.make(section, nested, [])
  }
  func output(_ section: ConfigElement, _ context: PluginContext) throws -> any Sink {
    guard let builder else { throw ConfigErrors(at: section.at, "outputs are made while the configuration is read") }
    // A mistake in it has been noted by the builder, which will fail as a whole.
    return builder.output(section) ?? LabelReference(id: "invalid") { nil }
  }
  func label(_ name: String, at: SourceLocation) -> any Sink { label(name, at: at, keepsTags: false) }
  func label(_ name: String, at: SourceLocation, keepsTags: Bool) -> any Sink {
    topology.labelEdges.append(.init(from: label, rule: rule, to: name, keepsTags: keepsTags))
    if name != "@ROOT", topology.labelUses[name] == nil { topology.labelUses[name] = at }
    return LabelReference(id: name) { [weak live = topology.live] in live?.router(name) }
  }
  func router(_ context: PluginContext) -> any Sink {
    guard let entry = context.element.entry("@label"), case .text(let name) = entry.value else { return label(label, at: context.element.at) }
    return label(name, at: entry.at)
  }
  func shared<S: Sendable>(_ type: S.Type) -> S? { host.shared(type) }
  var survivesPowerLoss: Bool { topology.fileBuffers.contains { $0.durability == .fsync } }
  func bindToConfiguration(_ id: String) { topology.bound.withLock { _ = $0.insert(id) } }
  func committed(_ plugin: String, _ key: String) -> [UInt8]? { topology.live.gateway?.commitLog?.state(plugin, key) }
  func committedKeys(_ plugin: String) -> [String] { topology.live.gateway?.commitLog?.keys(plugin) ?? [] }
  func emitter(_ context: PluginContext) -> Emitter {
    let label = context.element["@label"] ?? label
    topology.labelEdges.append(.init(from: self.label, rule: rule, to: label, keepsTags: false, isRequired: false))
    topology.emitting.withLock { _ = $0.insert(context.id) }
    return Emitter(Entrance(live: topology.live, label: label, id: context.id, counters: context.counters, countsInput: false, memory: topology.host.memory))
  }
}

/// One plugin's way into the topology.
final class Entrance: EmitService {
  private let live: LiveTopology
  private let memory: MemoryBudget
  private let label: String
  private let id: String
  private let counters: Counters
  private let countsInput: Bool
  private let onReady: Mutex<(@Sendable () -> Void)?>

  init(live: LiveTopology, label: String, id: String, counters: Counters, countsInput: Bool, memory: MemoryBudget, onReady: (@Sendable () -> Void)? = nil) {
    self.live = live
    self.memory = memory
    self.label = label
    self.id = id
    self.counters = counters
    self.countsInput = countsInput
    self.onReady = Mutex(onReady)
  }

  func emit(_ batches: [EventBatch], covering spans: [SourceSpan]) async throws(EmitError) {
    try await live.pass(countsInput ? .input : .inner) { gateway throws(EmitError) in
      guard let root = live.router(label) else { throw .closed }
      if countsInput { memory.beginStoring() }
      defer { if countsInput { memory.endStoring() } }
      try await gateway.emit(batches, covering: spans, to: root, plugin: id)
    }
    if countsInput {
      var count = 0
      var bytes = 0
      for batch in batches {
        count += batch.count
        bytes += batch.byteCount
      }
      counters.add(.received, .committed, count)
      counters.add(.bytes, bytes)
    }
  }
  func reject(_ batch: EventBatch, reason: String) async {
    if countsInput { counters.add(.received, .rejected, batch.count) }
    try? await live.pass(countsInput ? .input : .inner) { gateway throws(EmitError) in
      try await gateway.reject(batch, reason: reason, plugin: id)
    }
  }
  func ready() {
    let call = onReady.withLock { body in
      defer { body = nil }
      return body
    }
    call?()
  }
}
