public import AggCore

/// Runs a metadata plugin at intervals; the JSON it prints is an event when it changed.
public struct MackerelMetadataInput: Input {
  public struct Config: Configurable {
    var namespace = ""
    var command = CommandText()
    var tag = "mackerel.metadata"
    var executionInterval = TimeSpan(seconds: 600)
    var timeout = TimeSpan(seconds: 30)
    var user: String?
    var env = StringMap()
    var customIdentifier: String?
    public init() {}
    public static let parameters: [Parameter<Self>] = [
      .required("namespace", \.namespace, "Namespace of the metadata: letters, digits, _ and -"),
      .required("command", \.command, "What /bin/sh runs, or a JSON array of arguments; it prints one JSON value"),
      .optional("tag", \.tag, "Tag of the events"),
      .optional("execution_interval", \.executionInterval, "Time between two runs", alias: "interval"),
      .optional("timeout", \.timeout, "A run that takes longer is ended with its children, TERM first", alias: "timeout_seconds"),
      .optional("user", \.user, "User that the command runs as"),
      .optional("env", \.env, "Variables for the command, beside those of the daemon"),
      .optional("custom_identifier", \.customIdentifier, "The metadata is of the host with this custom identifier"),
    ]
    public mutating func validate(_ context: ConfigContext) throws {
      if !MackerelName.isPlain(namespace) {
        throw ConfigValueError("'namespace' must be made of letters, digits, '_' and '-'; got '\(namespace)'")
      }
      if executionInterval < TimeSpan(seconds: 1) {
        throw ConfigValueError("'execution_interval' must be at least 1s (mackerel-agent's 10 is 10m here)")
      }
      if tag.isEmpty { throw ConfigValueError("'tag' must not be empty") }
    }
  }
  public static let name = "mackerel_metadata"
  public static let summary = "What a metadata plugin of mackerel-agent prints, when it changes."

  /// Of the value's JSON; a server takes no more.
  static let largest = 100 << 10
  /// After so many seconds what did not change is said again: the last time it may not have come through.
  static let repeatAfter: Int64 = 86_400

  public static let sharesWorkers = false
  public var tags: SourceTags { .tag(config.tag) }

  private let config: Config
  private let context: PluginContext
  private let command: PluginCommand

  public init(_ config: Config, _ context: PluginContext) throws {
    self.config = config
    self.context = context
    command = try PluginCommand(config.command, user: config.user, environment: config.env, timeout: config.timeout)
  }

  public func run(_ emitter: Emitter) async throws {
    let services = try CommandServices(context)
    let store = PluginStore(context: context, services: services)
    emitter.ready()
    let waker = Waker(services.timers)
    var last = context.committed(config.namespace).flatMap { Sent($0) }
    var next = MonotonicTime.now()
    while !Task.isCancelled {
      let run = await command.run(services, context.log)
      if let value = value(run), let json = value.json {
        let now = EventTime.now()
        let sent = Sent(json, at: now.seconds)
        if last.map({ $0.hash != sent.hash || now.seconds &- $0.at >= Self.repeatAfter || now.seconds < $0.at }) ?? true {
          if await store.emit(batch(value, now), emitter, covering: [SourceSpan(key: config.namespace, state: sent.state)]) {
            last = sent
          }
        }
      }
      next = next.adding(config.executionInterval.duration)
      let now = MonotonicTime.now()
      while next <= now { next = next.adding(config.executionInterval.duration) }
      while MonotonicTime.now() < next, !Task.isCancelled { await waker.wait(until: next) }
    }
  }

  private func batch(_ value: Value, _ now: EventTime) -> EventBatch {
    var record = FieldMap()
    record["metadata"] = Value(config.namespace)
    record["value"] = value
    if let host = config.customIdentifier { record["host"] = Value(host) }
    var builder = BatchBuilder(capacity: 4096)
    builder.begin()
    record.encode(into: &builder.writer)
    builder.commit(time: now)
    return builder.finish(tag: Tag(config.tag))
  }

  /// The JSON value that a run printed; nil, and said why, where there is none.
  private func value(_ run: PluginRun) -> Value? {
    switch run.outcome {
    case .ended(let ending):
      if !ending.isSuccess {
        context.log.warn("the command \(ending); its metadata is left out")
      } else {
        if run.output.count > Self.largest {
          context.log.warn("the metadata has \(run.output.count) bytes; at most \(Self.largest) are taken")
        } else if let value = JSONTranscoder.decode(String(decoding: run.output, as: UTF8.self)) {
          return value
        } else {
          context.log.warn("the command printed no JSON: '\(String(decoding: run.output.prefix(100), as: UTF8.self))'")
        }
      }
    case .timedOut: context.log.warn("the command took longer than timeout and was ended; its metadata is left out")
    case .tooLong: context.log.warn("the command printed more than \(PluginCommand.readBytes >> 20) MiB and was ended")
    case .notStarted(let why): context.log.error(why)
    case .cancelled: break
    }
    return nil
  }
}

/// What was said last and when: kept with the commit of the event, so that a restart says nothing again.
private struct Sent {
  var hash: UInt64
  var at: Int64

  init(_ json: [UInt8], at: Int64) {
    // FNV-1a: Swift's own hash differs from start to start.
    hash = json.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x0000_0100_0000_01b3 }
    self.at = at
  }
  init?(_ state: [UInt8]) {
    guard state.count == 16 else { return nil }
    func word(_ from: Int) -> UInt64 { state[from..<from + 8].reduce(0) { $0 << 8 | UInt64($1) } }
    hash = word(0)
    at = Int64(bitPattern: word(8))
  }
  var state: [UInt8] {
    [hash, UInt64(bitPattern: at)].flatMap { word in (0..<8).map { UInt8(truncatingIfNeeded: word >> (56 - 8 * UInt64($0))) } }
  }
}
