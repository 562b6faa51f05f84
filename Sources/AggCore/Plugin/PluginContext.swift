/// What a plugin gets from the daemon; there are no globals.
public struct PluginContext: Sendable {
  /// `@id`, or one made from kind and place.
  public let id: String
  /// The section itself, for `file:line` in errors.
  public let element: ConfigElement
  public let log: Log
  public let counters: Counters
  public let system: SystemInfo
  public let config: ConfigContext
  /// The chunk keys of this output's buffer, nil where there is none.
  public let chunkKeys: ChunkKeys?
  private let services: any PluginServices

  public init(
    id: String, element: ConfigElement, log: Log, counters: Counters, system: SystemInfo, config: ConfigContext,
    chunkKeys: ChunkKeys? = nil, services: any PluginServices
  ) {
    self.id = id
    self.element = element
    self.log = log
    self.counters = counters
    self.system = system
    self.config = config
    self.chunkKeys = chunkKeys
    self.services = services
  }

  /// The parser of a `<parse>` section; without one, `type` with its defaults. A mistake is thrown as `ConfigErrors`.
  public func parser(_ section: ConfigElement?, default type: String? = nil) throws -> any Parser {
    try services.parser(section ?? implied("parse"), default: type, self)
  }
  public func formatter(_ section: ConfigElement?, default type: String? = nil) throws -> any Formatter {
    try services.formatter(section ?? implied("format"), default: type, self)
  }
  /// The output of a `<store>` section.
  public func output(_ section: ConfigElement) throws -> any Sink { try services.output(section, self) }
  /// A label, found when first used; `@ROOT` is the top level. An unknown one is reported at `at`.
  ///
  /// `keepsTags`: events reach it under the tags they came with (relabel), which `agg check` follows.
  public func label(_ name: String, at: SourceLocation, keepsTags: Bool = false) -> any Sink { services.label(name, at: at, keepsTags: keepsTags) }
  /// Where this plugin's own events go: the `@label` of its section, else the start of the label that it stands in.
  public func router() -> any Sink { services.router(self) }
  /// A service the executable registered, e.g. the network.
  public func shared<S: Sendable>(_ type: S.Type) -> S? { services.shared(type) }
  /// What the last commit of this plugin said of `key`, and all its keys.
  public func committed(_ key: String) -> [UInt8]? { services.committed(id, key) }
  public func committedKeys() -> [String] { services.committedKeys(id) }
  /// Whether what is committed survives power loss (`durability fsync`); what a plugin keeps beside it should too.
  public var survivesPowerLoss: Bool { services.survivesPowerLoss }
  /// Says that this plugin holds or shows what belongs to one configuration: a reload makes it anew though its section is the same.
  public func bindToConfiguration() { services.bindToConfiguration(id) }
  /// A lane for events that are not of an input: filters on a timer, outputs that answer.
  public func emitter() -> Emitter { services.emitter(self) }

  private func implied(_ name: String) -> ConfigElement { ConfigElement(name: name, at: element.at) }
}

public protocol PluginServices: Sendable {
  var survivesPowerLoss: Bool { get }
  func parser(_ section: ConfigElement, default: String?, _ context: PluginContext) throws -> any Parser
  func formatter(_ section: ConfigElement, default: String?, _ context: PluginContext) throws -> any Formatter
  func output(_ section: ConfigElement, _ context: PluginContext) throws -> any Sink
  func label(_ name: String, at: SourceLocation) -> any Sink
  func label(_ name: String, at: SourceLocation, keepsTags: Bool) -> any Sink
  func router(_ context: PluginContext) -> any Sink
  func shared<S: Sendable>(_ type: S.Type) -> S?
  func committed(_ plugin: String, _ key: String) -> [UInt8]?
  func committedKeys(_ plugin: String) -> [String]
  func emitter(_ context: PluginContext) -> Emitter
  func bindToConfiguration(_ id: String)
}

extension PluginServices {
  public var survivesPowerLoss: Bool { false }
  public func bindToConfiguration(_ id: String) {}
  public func label(_ name: String, at: SourceLocation, keepsTags: Bool) -> any Sink { label(name, at: at) }
  public func router(_ context: PluginContext) -> any Sink {
    label(context.element["@label"] ?? "@ROOT", at: context.element.entry("@label")?.at ?? context.element.at)
  }
}

/// Facts about this daemon that plugins may show.
public struct SystemInfo: Sendable {
  public var hostname: String
  public var workerID: Int
  public var workers: Int
  /// `<system> root_dir`.
  public var rootDirectory: String?
  public var filePermission: Int?
  public var directoryPermission: Int?
  /// `-d` or a log file: stdout may not be a terminal's.
  public init(
    hostname: String, workerID: Int = 0, workers: Int = 1, rootDirectory: String? = nil, filePermission: Int? = nil,
    directoryPermission: Int? = nil
  ) {
    self.hostname = hostname
    self.workerID = workerID
    self.workers = workers
    self.rootDirectory = rootDirectory
    self.filePermission = filePermission
    self.directoryPermission = directoryPermission
  }
}

/// By what a buffer divides events into chunks: `<buffer tag,time,key>`.
public struct ChunkKeys: Sendable, Equatable {
  public var tag = false
  public var time = false
  /// Record fields, `key` or `$.nested.path`, in order.
  public var fields: [String] = []
  public var timekey: Int64?
  public var timekeyUTC = false
  public var timekeyZone: String?
  public init() {}
}
