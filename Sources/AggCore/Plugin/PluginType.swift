/// What the engine knows of a plugin before it has an instance of it.
public struct PluginType<Instance: Sendable>: Sendable {
  public let name: String
  public let summary: String
  public let parameters: @Sendable () -> [ParameterDoc]
  /// For outputs.
  public let buffering: BufferDefaults?
  /// For inputs: `Input.sharesWorkers`.
  public let sharesWorkers: Bool
  /// The section with parameters of Fluentd v0.12 moved to where they belong now; to be done before `make`.
  public let modern: @Sendable (ConfigElement) throws(ConfigErrors) -> ConfigElement
  /// Checks the section's parameters and makes the plugin; names in `known` are the engine's own.
  public let make: @Sendable (ConfigElement, PluginContext, _ known: Set<String>) throws -> Instance

  init<P: Plugin>(_ type: P.Type, buffering: BufferDefaults? = nil, sharesWorkers: Bool = true, _ upcast: @escaping @Sendable (P) -> Instance) {
    name = P.name
    summary = P.summary
    parameters = { P.Config.docs }
    self.buffering = buffering
    self.sharesWorkers = sharesWorkers
    modern = { element throws(ConfigErrors) in try P.oldParameters.moved(element, declared: P.Config.docs) }
    make = { element, context, known in
      let config = try P.Config.load(element, context.config, known: known)
      do { return upcast(try P(config, context)) } catch let error as ConfigValueError {
        throw ConfigErrors(at: element.at, error.message)
      } catch let error as ConfigError { throw ConfigErrors([error]) }
    }
  }
}

/// An output by what it can do; stdout can be buffered or direct, copy only routes.
public struct OutputInstance: Sendable {
  public var buffered: (any Output)?
  public var direct: (any DirectOutput)?
  public var routing: (any RoutingOutput)?
}

extension PluginType<any Input> { public init<P: Input>(_ type: P.Type) { self.init(type, sharesWorkers: P.sharesWorkers) { $0 } } }
extension PluginType<any Filter> { public init<P: Filter>(_ type: P.Type) { self.init(type) { $0 } } }
extension PluginType<any Parser> { public init<P: Parser>(_ type: P.Type) { self.init(type) { $0 } } }
extension PluginType<any Formatter> { public init<P: Formatter>(_ type: P.Type) { self.init(type) { $0 } } }
extension PluginType<OutputInstance> {
  public init<P: Output>(_ type: P.Type) { self.init(type, buffering: P.buffering) { OutputInstance(buffered: $0) } }
  public init<P: DirectOutput>(_ type: P.Type) { self.init(type) { OutputInstance(direct: $0) } }
  public init<P: Output & DirectOutput>(_ type: P.Type) {
    self.init(type, buffering: P.buffering) { OutputInstance(buffered: $0, direct: $0) }
  }
  public init<P: RoutingOutput>(_ type: P.Type) { self.init(type) { OutputInstance(routing: $0) } }
}

/// All plugins of a build, by kind; `plugins/Builtins.swift` lists them.
public struct PluginSet: Sendable {
  public var inputs: [PluginType<any Input>]
  public var filters: [PluginType<any Filter>]
  public var outputs: [PluginType<OutputInstance>]
  public var parsers: [PluginType<any Parser>]
  public var formatters: [PluginType<any Formatter>]
  /// Plugins of Fluentd's world that are not among these.
  public var foreign: [ForeignPlugin]
  public init(
    inputs: [PluginType<any Input>] = [], filters: [PluginType<any Filter>] = [], outputs: [PluginType<OutputInstance>] = [],
    parsers: [PluginType<any Parser>] = [], formatters: [PluginType<any Formatter>] = [], foreign: [ForeignPlugin] = []
  ) {
    self.inputs = inputs
    self.filters = filters
    self.outputs = outputs
    self.parsers = parsers
    self.formatters = formatters
    self.foreign = foreign
  }
}
