public import AggCore
import Glibc

/// Runs a command, once or at intervals, and takes what it prints as events.
public struct ExecInput: Input {
  public enum ConnectMode: String, ConfigEnum {
    case read
    case readWithStderr = "read_with_stderr"
  }
  public struct Config: Configurable {
    var command = ""
    var tag: String?
    var runInterval: TimeSpan?
    var commandTimeout: TimeSpan?
    var connectMode = ConnectMode.read
    var readBlockSize = ByteSize(bytes: 10240)
    var encoding: String?
    var parse: ConfigElement?
    var extract: ExtractSection?
    var flatFormat: String?
    var flatKeys: String?
    var flatTagKey: String?
    var flatTimeKey: String?
    var flatTimeFormat: String?
    public init() {}
    public static let parameters: [Parameter<Self>] = [
      .required("command", \.command, "What /bin/sh runs"),
      .optional("tag", \.tag, "Tag of the events; needed unless <extract> has tag_key"),
      .optional("run_interval", \.runInterval, "Run again and again, first after this time; without it once, at the start"),
      .optional("command_timeout", \.commandTimeout, "A command that takes longer is killed with its children"),
      .optional("connect_mode", \.connectMode, "read, or read_with_stderr: standard error counts as output"),
      .optional("read_block_size", \.readBlockSize, "Most bytes that are read at once"),
      .optional("encoding", \.encoding, "Encoding of the output, turned into UTF-8"),
      .element("parse", \.parse, "How the output becomes events; default tsv"),
      .section("extract", \.extract, "Fields that give an event's tag and time"),
      .optional("format", \.flatFormat, "Type of <parse>", deprecated: "write <parse> with @type"),
      .optional("keys", \.flatKeys, "keys of <parse>", deprecated: "write it in <parse>"),
      .optional("tag_key", \.flatTagKey, "tag_key of <extract>", deprecated: "write it in <extract>"),
      .optional("time_key", \.flatTimeKey, "time_key of <extract>", deprecated: "write it in <extract>"),
      .optional("time_format", \.flatTimeFormat, "time_format of <extract>", deprecated: "write it in <extract>"),
    ]
    public mutating func validate(_ context: ConfigContext) throws {
      if let encoding, !TextEncoding.isKnown(encoding) { throw ConfigValueError("'encoding' is unknown: \(encoding)") }
      if let runInterval, runInterval.nanoseconds <= 0 { throw ConfigValueError("'run_interval' must be more than 0") }
      if readBlockSize.bytes < 1 { throw ConfigValueError("'read_block_size' must be at least 1 byte") }
    }
  }
  public static let name = "exec"
  public static let summary = "What a command prints, once or at intervals."

  private let config: Config
  private let context: PluginContext
  private let parser: any Parser
  private let parserType: String
  private let extractor: Extractor?

  public init(_ config: Config, _ context: PluginContext) throws {
    self.config = config
    self.context = context
    let at = context.element.at
    let olderParse = CommandSections.flat("parse", [("@type", config.flatFormat), ("keys", config.flatKeys)], at: at)
    let parse = CommandSections.parse(config.parse ?? olderParse, at: at)
    let older = CommandSections.flat(
      "extract", [("tag_key", config.flatTagKey), ("time_key", config.flatTimeKey), ("time_format", config.flatTimeFormat)], at: at)
    let extract = try config.extract ?? older.map { try ExtractSection.load($0, context.config) }
    extractor = try CommandSections.extract(extract, context.element.child("extract") ?? older, context)
    if config.tag == nil, extract?.tagKey == nil { throw ConfigValueError("'tag' or 'tag_key' option is required on exec input") }
    parser = try context.parser(parse)
    parserType = parse.type ?? "tsv"
  }

  public var tags: SourceTags { extractor?.hasTagKey ?? false ? .any : .tag(config.tag ?? "") }

  public func run(_ emitter: Emitter) async throws {
    let services = try CommandServices(context)
    emitter.ready()
    guard let interval = config.runInterval else { return await once(services, emitter) }
    let waker = Waker(services.timers)
    var next = MonotonicTime.now().adding(interval.duration)
    while !Task.isCancelled {
      while MonotonicTime.now() < next {
        await waker.wait(until: next)
        if Task.isCancelled { return }
      }
      await once(services, emitter)
      next = next.adding(interval.duration)
      let now = MonotonicTime.now()
      if next <= now, !Task.isCancelled {
        context.log.warn("the command ran longer than run_interval; runs were left out")
        while next <= now { next = next.adding(interval.duration) }
      }
    }
  }

  /// Runs the command to its end, or to its group's when the daemon stops.
  private func once(_ services: CommandServices, _ emitter: Emitter) async {
    do {
      let child = try ChildProcess.start(
        config.command, input: false, output: true, errors: config.connectMode == .read ? .logged : .merged, pool: services.pool,
        timers: services.timers)
      let events = CommandEvents(
        parser: parser, parserType: parserType, extractor: extractor, tag: config.tag, blockSize: config.readBlockSize.bytes, encoding: otherEncoding,
        context: context, services: services)
      let result = try await child.supervise(timeout: config.commandTimeout?.duration) { await events.read(child, emitter) }
      if result.timedOut {
        context.log.warn("the command took longer than command_timeout and was killed")
      } else if !result.ending.isSuccess, !Task.isCancelled {
        context.log.warn("the command \(result.ending)")
      }
    } catch { context.log.error("\(error)") }
  }
  private var otherEncoding: String? { config.encoding.flatMap { ["UTF-8", "UTF8"].contains($0.uppercased()) ? nil : $0 } }
}
