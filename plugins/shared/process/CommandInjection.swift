import AggCore

/// `<inject>`: puts host name, worker, tag and time into records that are given to a command.
struct CommandInjection: Sendable {
  struct Config: Configurable {
    var hostnameKey: String?
    var hostname: String?
    var workerIDKey: String?
    var tagKey: String?
    var timeKey: String?
    var timeType: TimeParameters.TimeType?
    var time = TimeParameters()
    init() {}
    static let parameters: [Parameter<Self>] = [
      .optional("hostname_key", \.hostnameKey, "Field that gets the host name"),
      .optional("hostname", \.hostname, "The name, in place of the machine's"),
      .optional("worker_id_key", \.workerIDKey, "Field that gets the worker's number"),
      .optional("tag_key", \.tagKey, "Field that gets the tag"),
      .optional("time_key", \.timeKey, "Field that gets the time"),
      .optional("time_type", \.timeType, "float, unixtime, unixtime_millis, unixtime_micros, unixtime_nanos or string"),
      .optional("time_format", \.time.timeFormat, "strftime format of the time"),
      .optional("localtime", \.time.localtime, "The time in the machine's zone"),
      .optional("utc", \.time.utc, "The time in UTC"),
      .optional("timezone", \.time.timezone, "The time in this zone: +HH:MM or Region/Zone"),
    ]
  }

  private enum Value: Sendable {
    case encoded([UInt8])
    case tag
    case time
  }
  private let fields: [(key: [UInt8], value: Value)]
  private let formatter: TimeFormatter?
  private let timeType: TimeParameters.TimeType

  /// `timeType` and `localtime` are the plugin's defaults.
  init(_ config: Config?, timeType fallback: TimeParameters.TimeType, localtime: Bool, _ system: SystemInfo) throws {
    var fields: [(key: [UInt8], value: Value)] = []
    func encoded(_ body: (inout ByteWriter) -> Void) -> Value {
      var out = ByteWriter(capacity: 64)
      body(&out)
      return .encoded(out.array)
    }
    if let key = config?.hostnameKey { fields.append((Array(key.utf8), encoded { $0.putString(config?.hostname ?? system.hostname) })) }
    if let key = config?.workerIDKey { fields.append((Array(key.utf8), encoded { $0.putInt(Int64(system.workerID)) })) }
    if let key = config?.tagKey { fields.append((Array(key.utf8), .tag)) }
    timeType = config?.timeType ?? fallback
    if let config, let key = config.timeKey {
      fields.append((Array(key.utf8), .time))
      var time = config.time
      time.timeType = timeType
      if time.localtime == nil, time.utc == nil, time.timezone == nil { time.localtime = TimeFlag(localtime) }
      formatter = try TimeFormatter(time)
    } else {
      formatter = nil
    }
    self.fields = fields
  }

  func apply(_ batch: EventBatch) -> EventBatch {
    if fields.isEmpty { return batch }
    var formatter = formatter
    var text = ByteWriter(capacity: 64)
    var tag = ByteWriter(capacity: 64)
    tag.putString(batch.tag.description)
    return batch.rewritten { time, record, out in
      var added = 0
      for field in fields where record.find(field.key) == nil { added += 1 }
      out.begin(room: record.bytes.count + 256)
      out.writer.putMapHeader(record.fieldCount + added)
      record.forEachField { name, value in
        out.writer.append(name.bytes)
        if let bytes = name.stringBytes, let field = fields.first(where: { bytes.elementsEqual($0.key) }) {
          put(field.value, time, tag, &formatter, &text, &out.writer)
        } else {
          out.writer.append(value.bytes)
        }
      }
      for field in fields where record.find(field.key) == nil {
        out.writer.putString(field.key)
        put(field.value, time, tag, &formatter, &text, &out.writer)
      }
      out.commit(time: time)
    }
  }

  private func put(
    _ value: Value, _ time: EventTime, _ tag: borrowing ByteWriter, _ formatter: inout TimeFormatter?, _ text: inout ByteWriter, _ out: inout ByteWriter
  ) {
    switch value {
    case .encoded(let bytes): out.append(bytes)
    case .tag: out.append(tag.bytes)
    case .time:
      switch timeType {
      // As Fluentd: microseconds are what a float of today can hold.
      case .float: out.putDouble(Double(time.seconds) + Double(time.nanoseconds / 1000) / 1e6)
      case .unixtime: out.putInt(time.seconds)
      case .unixtimeMillis: out.putInt(time.seconds &* 1000 &+ Int64(time.nanoseconds / 1_000_000))
      case .unixtimeMicros: out.putInt(time.seconds &* 1_000_000 &+ Int64(time.nanoseconds / 1000))
      case .unixtimeNanos: out.putInt(time.seconds &* 1_000_000_000 &+ Int64(time.nanoseconds))
      case .string, .mixed:
        text.removeAll()
        formatter?.format(time, into: &text)
        out.putString(text.array)
      }
    }
  }
}
