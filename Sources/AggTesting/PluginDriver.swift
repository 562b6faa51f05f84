public import AggCore
import AggExpression
import Synchronization

/// Makes one plugin from configuration text and runs it alone, without an engine.
public struct PluginDriver: Sendable {
  public let plugins: PluginSet
  public let warnings = ConfigWarnings()
  public let counters = Counters(plugin: "test", type: "test", kind: "test")
  public var system = SystemInfo(hostname: "test-host")
  public var chunkKeys: ChunkKeys?
  public let sink = CollectingSink(id: "test")
  /// What `context.shared` finds, by type: a `Network`.
  public var services: [any Sendable] = []
  public init(_ plugins: PluginSet = PluginSet()) { self.plugins = plugins }

  /// The section's inside, as it would stand in a file: `key x\n<parse>…</parse>`.
  public func element(_ text: String, name: String = "match") throws -> ConfigElement {
    let root = try ConfigParser(environment: .current().evaluatingExpressions).parse("<\(name)>\n\(text)\n</\(name)>\n", file: "test.conf")
    guard let element = root.children.first else { throw ConfigErrors(at: root.at, "no section") }
    return element
  }
  public func context(_ element: ConfigElement) -> PluginContext {
    PluginContext(
      id: "test", element: element, log: Log(level: .trace, writer: SilentLog()), counters: counters, system: system,
      config: ConfigContext(warnings: warnings), chunkKeys: chunkKeys, services: TestServices(plugins: plugins, sink: sink, services: services))
  }
  public func make<P: Plugin>(_ type: P.Type, _ text: String) throws -> P {
    let element = try P.oldParameters.moved(element(text), declared: P.Config.docs)
    let context = context(element)
    do { return try P(P.Config.load(element, context.config, known: ["buffer"]), context) } catch let error as ConfigValueError {
      throw ConfigErrors(at: element.at, error.message)
    }
  }
}

/// Drops log lines.
public struct SilentLog: LogWriter {
  public init() {}
  public func write(_ level: LogLevel, _ source: String, _ message: String) {}
}

/// Keeps what is routed to it.
public final class CollectingSink: Sink, EmitService {
  public let id: String
  private let kept = Mutex<[EventBatch]>([])
  private let failed = Mutex<[(EventBatch, String)]>([])
  public init(id: String) { self.id = id }
  public var batches: [EventBatch] { kept.withLock { $0 } }
  public var rejects: [(EventBatch, String)] { failed.withLock { $0 } }
  public func take(_ batch: EventBatch, _ transaction: inout Transaction) throws(EmitError) { transaction.deliver(batch, to: self) }
  public func emit(_ batches: [EventBatch], covering spans: [SourceSpan]) async throws(EmitError) { kept.withLock { $0 += batches } }
  public func reject(_ batch: EventBatch, reason: String) async { failed.withLock { $0.append((batch, reason)) } }
  public func ready() {}
}

private struct TestServices: PluginServices {
  let plugins: PluginSet
  let sink: CollectingSink
  let services: [any Sendable]
  func parser(_ section: ConfigElement, default type: String?, _ context: PluginContext) throws -> any Parser {
    try make(plugins.parsers, section, type, context)
  }
  func formatter(_ section: ConfigElement, default type: String?, _ context: PluginContext) throws -> any Formatter {
    try make(plugins.formatters, section, type, context)
  }
  private func make<I: Sendable>(_ list: [PluginType<I>], _ section: ConfigElement, _ type: String?, _ context: PluginContext) throws -> I {
    guard let name = section.type ?? type, let found = list.first(where: { $0.name == name }) else {
      throw ConfigErrors(at: section.at, "unknown plugin '\(section.type ?? type ?? "")'")
    }
    return try found.make(section, context, [])
  }
  func output(_ section: ConfigElement, _ context: PluginContext) throws -> any Sink { CollectingSink(id: section.argument) }
  func label(_ name: String, at: SourceLocation) -> any Sink { CollectingSink(id: name) }
  func shared<S: Sendable>(_ type: S.Type) -> S? { services.lazy.compactMap { $0 as? S }.first }
  func committed(_ plugin: String, _ key: String) -> [UInt8]? { nil }
  func committedKeys(_ plugin: String) -> [String] { [] }
  func emitter(_ context: PluginContext) -> Emitter { Emitter(sink) }
}

extension EventBatch {
  /// A batch of JSON records, all at `time`.
  public static func json(_ records: [String], tag: String = "test", time: EventTime = EventTime(seconds: 1_700_000_000)) throws -> EventBatch {
    var builder = BatchBuilder()
    for record in records {
      guard let value = JSONTranscoder.decode(record), case .map = value else { throw ConfigValueError("not a JSON object: \(record)") }
      builder.begin()
      value.encode(into: &builder.writer)
      builder.commit(time: time)
    }
    return builder.finish(tag: Tag(tag))
  }
  /// Each record as JSON text.
  public var jsonRecords: [String] {
    var result: [String] = []
    forEachEvent { _, record in
      var out = ByteWriter()
      _ = JSONFormatter.writeRecord(record, into: &out)
      result.append(out.string)
    }
    return result
  }
}
