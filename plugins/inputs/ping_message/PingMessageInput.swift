public import AggCore

/// Emits one event at a steady interval, so that others see that this host and the way to them work.
///
/// Source: fluent-plugin-ping-message 1.0.
public struct PingMessageInput: Input {
  public struct Config: Configurable {
    var tag = "ping"
    var interval = 60
    var data: String?
    var hostname: String?
    var inject: InjectSection?
    public init() {}
    public static let parameters: [Parameter<Self>] = [
      .optional("tag", \.tag, "Tag of the events"),
      .optional("interval", \.interval, "Seconds between two events"),
      .optional("data", \.data, "Text in the field data, ${hostname} replaced; without it the host's name"),
      .optional("hostname", \.hostname, "What ${hostname} is instead of the host's name"),
      .section("inject", \.inject, "Fields that are added to the record"),
    ]
    public mutating func validate(_ context: ConfigContext) throws {
      if tag.isEmpty { throw ConfigValueError("'tag' must not be empty") }
      if interval < 1 || interval > 1_000_000_000 {
        throw ConfigValueError("'interval' must be at least 1 second; got \(interval)")
      }
    }
  }
  public static let name = "ping_message"
  public static let summary = "Emits one event at a steady interval."

  private let config: Config
  private let context: PluginContext
  private let data: String
  private let injector: Injector?

  public init(_ config: Config, _ context: PluginContext) throws {
    self.config = config
    self.context = context
    let hostname = config.hostname ?? context.system.hostname
    data = (config.data ?? context.system.hostname).split(separator: "${hostname}", omittingEmptySubsequences: false).joined(
      separator: hostname)
    injector = try Injector(config.inject, context)
  }

  public var tags: SourceTags { .tag(config.tag) }

  public func run(_ emitter: Emitter) async throws {
    emitter.ready()
    let waker = Waker(context.shared(TimerQueue.self) ?? TimerQueue())
    let interval = Int64(config.interval) * 1_000_000_000
    var next = MonotonicTime.now().adding(nanoseconds: interval)
    while !Task.isCancelled {
      await waker.wait(until: next)
      if Task.isCancelled { return }
      let now = MonotonicTime.now()
      if now < next { continue }
      next = max(next, now.adding(nanoseconds: -interval)).adding(nanoseconds: interval)
      var ping = EventBatch.report(config.tag, .now(), FieldMap([.init(key: "data", value: Value(data))]))
      if let injector { ping = injector.apply(ping) }
      do throws(EmitError) { try await emitter.emit(ping) } catch {
        context.counters.add(.received, .lost, 1)
        context.log.error("a ping was not taken: \(error)")
      }
    }
  }
}
