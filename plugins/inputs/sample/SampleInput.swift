public import AggCore

/// Makes events at a steady rate, for trying a configuration out.
public struct SampleInput: Input {
  public struct Config: Configurable {
    var tag = ""
    var size = 1
    var rate = 1
    var autoIncrementKey: String?
    var sample = SampleRecords()
    var storage: StorageSection?
    public init() {}
    public static let parameters: [Parameter<Self>] = [
      .required("tag", \.tag, "Tag of the events"),
      .optional("size", \.size, "Events made at a time"),
      .optional("rate", \.rate, "How often a second `size` events are made"),
      .optional("auto_increment_key", \.autoIncrementKey, "Field that counts the events, from 0"),
      .optional("sample", \.sample, "The record, or an array of records that take turns, as JSON", alias: "dummy"),
      .section("storage", \.storage, "With `path`, auto_increment_key counts on after a restart"),
      .ignored("suspend", "Has no effect in Fluentd either"),
      .ignored("reuse_record", "Records are always shared"),
    ]
    public mutating func validate(_ context: ConfigContext) throws {
      if tag.isEmpty { throw ConfigValueError("'tag' must not be empty") }
    }
  }
  public static let name = "sample"
  public static let summary = "Makes events at a steady rate."

  /// Most events in one batch, whatever the rate.
  static let batchSize = 4096
  /// A second has this many parts, as in Fluentd; what does not divide comes at its end.
  static let parts = 10

  private let config: Config
  private let context: PluginContext
  private let records: [SampleRecord]
  private let isPersistent: Bool

  public init(_ config: Config, _ context: PluginContext) throws {
    self.config = config
    self.context = context
    records = config.sample.records.map { SampleRecord($0, counting: config.autoIncrementKey) }
    isPersistent = config.storage.map { $0.path != nil || $0.isPersistent } ?? false
  }

  public var tags: SourceTags { .tag(config.tag) }

  public func run(_ emitter: Emitter) async throws {
    emitter.ready()
    var turn = 0
    var counter: Int64 = 0
    if isPersistent, let state = context.committed("increment") { counter = state.prefix(8).reduce(0) { $0 << 8 | Int64($1) } }
    let clock = ContinuousClock()
    var second = clock.now
    while !Task.isCancelled {
      for part in 0...Self.parts where !Task.isCancelled {
        let times = part < Self.parts ? config.rate / Self.parts : config.rate % Self.parts
        await emit(Self.events(times, config.size), emitter, &turn, &counter)
        if part < Self.parts { try? await clock.sleep(until: second + .milliseconds(100 * (part + 1))) }
      }
      second += .seconds(1)
      // What a slow output kept from being made is not made up for.
      if clock.now - second > .seconds(1) { second = clock.now }
    }
  }

  private static func events(_ times: Int, _ size: Int) -> Int {
    let (n, overflow) = max(0, times).multipliedReportingOverflow(by: max(1, size))
    return overflow ? .max : n
  }

  private func emit(_ count: Int, _ emitter: Emitter, _ turn: inout Int, _ counter: inout Int64) async {
    var left = count
    while left > 0, !Task.isCancelled {
      let n = min(left, Self.batchSize)
      left -= n
      let batch = batch(n, &turn, &counter)
      let spans = isPersistent ? [SourceSpan(key: "increment", state: (0..<8).map { UInt8(truncatingIfNeeded: counter >> (56 - 8 * $0)) })] : []
      do throws(EmitError) { try await emitter.emit(batch, covering: spans) } catch {
        context.counters.add(.received, .lost, n)
        context.log.error("\(n) events were not taken: \(error)")
        // Full, and refusing: nothing is gained by trying on at once.
        return
      }
    }
  }

  /// `n` events of now, each sample in its turn.
  private func batch(_ n: Int, _ turn: inout Int, _ counter: inout Int64) -> EventBatch {
    let now = EventTime.now()
    var builder = BatchBuilder(capacity: 64 * 1024)
    for _ in 0..<n {
      if turn >= records.count { turn = 0 }
      builder.begin()
      if records.indices.contains(turn) { records[turn].write(counter, into: &builder.writer) } else { builder.writer.putMapHeader(0) }
      builder.commit(time: now)
      turn += 1
      counter &+= 1
    }
    return builder.finish(tag: Tag(config.tag))
  }
}

/// A record as MessagePack, cut where its counter stands.
struct SampleRecord: Sendable {
  private let before: [UInt8]
  /// nil: nothing is counted.
  private let after: [UInt8]?

  init(_ record: Value, counting key: String?) {
    var out = ByteWriter(capacity: 256)
    guard let key else {
      record.encode(into: &out)
      before = out.array
      after = nil
      return
    }
    var map = record.map ?? FieldMap()
    map[key] = .null
    out.putMapHeader(map.count)
    var place = 0
    for field in map.fields {
      field.key.encode(into: &out)
      if field.key == Value(key) { place = out.count } else { field.value.encode(into: &out) }
    }
    before = Array(out.array[..<place])
    after = Array(out.array[place...])
  }

  func write(_ counter: Int64, into out: inout ByteWriter) {
    out.append(before)
    guard let after else { return }
    out.putInt(counter)
    out.append(after)
  }
}

/// A JSON object, or an array of them.
struct SampleRecords: ConfigReadable {
  static var configType: String { "hash or array of hash" }
  var configText: String
  var records: [Value]

  init() {
    records = [["message": "sample"]]
    configText = #"[{"message":"sample"}]"#
  }
  init(configText text: String, strict: Bool) throws(ConfigValueError) {
    configText = text
    guard let value = JSONTranscoder.decode(text) else { throw ConfigValueError("is not JSON: \(text)") }
    records = value.array ?? [value]
    for (index, record) in records.enumerated() where record.map == nil {
      throw ConfigValueError("is an array of objects, or one; its element \(index) is none: \(text)")
    }
    if records.isEmpty { throw ConfigValueError("has no record") }
  }
}
