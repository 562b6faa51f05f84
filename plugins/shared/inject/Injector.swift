public import AggCore

/// An output's `<inject>`: host name, worker, tag and time as fields of the record.
public struct InjectSection: TimeConfigurable {
  public var time = TimeParameters(timeType: .float)
  var hostnameKey: String?
  var hostname: String?
  var workerIDKey: String?
  var tagKey: String?
  var timeKey: String?
  public init() {}
  public static let parameters: [Parameter<Self>] =
    [
      .optional("hostname_key", \.hostnameKey, "Field that gets the host name"),
      .optional("hostname", \.hostname, "The host name, where it is not the machine's"),
      .optional("worker_id_key", \.workerIDKey, "Field that gets the worker's number"),
      .optional("tag_key", \.tagKey, "Field that gets the tag"),
      .optional("time_key", \.timeKey, "Field that gets the time"),
    ] + timeRows
  public mutating func validate(_ context: ConfigContext) throws {
    if time.timeType == .mixed {
      throw ConfigValueError("'time_type' must be one of float, unixtime, unixtime_millis, unixtime_micros, unixtime_nanos, string")
    }
    try time.validate()
  }
}

/// Adds fields to every record of a batch; a field that is there gets the new value at its place.
///
/// A value: one a plugin, used from several tasks at once.
public struct Injector: Sendable {
  private struct Field: Sendable {
    enum Source: Sendable { case fixed, tag, time }
    /// The key itself, and as MessagePack.
    var key: [UInt8]
    var encodedKey: [UInt8]
    var source: Source
    /// What a fixed field holds, as MessagePack.
    var value: [UInt8] = []
  }
  private let fields: [Field]
  private let timeType: TimeParameters.TimeType
  private let formatter: TimeFormatter?

  /// Nil when the section is absent or asks for nothing. A `hostname_key` that is a chunk key is refused, as the field is not there
  /// yet when chunks are made.
  public init?(_ section: InjectSection?, _ context: PluginContext) throws {
    guard let section else { return nil }
    var fields: [Field] = []
    func add(_ key: String, _ source: Field.Source, _ put: (inout ByteWriter) -> Void = { _ in }) {
      var encoded = ByteWriter(capacity: 64)
      encoded.putString(key)
      var value = ByteWriter(capacity: 64)
      put(&value)
      let field = Field(key: Array(key.utf8), encodedKey: encoded.array, source: source, value: value.array)
      // Set one after another in Fluentd: the same key twice means the last.
      if let i = fields.firstIndex(where: { $0.key == field.key }) { fields[i] = field } else { fields.append(field) }
    }
    if let key = section.hostnameKey {
      if context.chunkKeys?.fields.contains(key) ?? false {
        throw ConfigValueError("the key specified by 'hostname_key' in <inject> cannot be used in buffering chunk key.")
      }
      let name = section.hostname ?? context.system.hostname
      add(key, .fixed) { $0.putString(name) }
    }
    if let key = section.workerIDKey { add(key, .fixed) { $0.putInt(Int64(context.system.workerID)) } }
    if let key = section.tagKey { add(key, .tag) }
    var formatter: TimeFormatter?
    if let key = section.timeKey {
      add(key, .time)
      if section.time.timeType == .string { formatter = try TimeFormatter(section.time) }
    } else if section.time.timeFormat != nil {
      context.log.warn("'time_format' specified without 'time_key', will be ignored")
    }
    if fields.isEmpty { return nil }
    self.fields = fields
    self.formatter = formatter
    timeType = section.time.timeType
  }

  /// The batch with the fields in every record.
  public func apply(_ batch: EventBatch) -> EventBatch {
    if batch.isEmpty { return batch }
    var formatter = formatter
    var text = ByteWriter(capacity: 64)
    var fields = fields
    for i in fields.indices where fields[i].source == .tag {
      var value = ByteWriter(capacity: 256)
      value.putString(batch.tag.description)
      fields[i].value = value.array
    }
    let room = fields.reduce(0) { $0 + $1.encodedKey.count + $1.value.count + 64 }
    var out = BatchBuilder(capacity: batch.byteCount + batch.count * room)
    batch.forEach { event in
      let record = event.record
      let body = record.bytes
      let count = record.fieldCount
      out.begin(room: body.count &+ room)
      var known = 0
      for field in fields where record.find(field.key) != nil { known += 1 }
      out.writer.putMapHeader(count &+ fields.count &- known)
      if known == 0 {
        // The pairs as they are: all of the record but its header.
        let header = count < 16 ? 1 : Self.headerSize(body)
        out.writer.append(UnsafeRawBufferPointer(rebasing: body[header...]))
        for field in fields {
          out.writer.append(field.encodedKey)
          put(field, event.time, &formatter, &text, &out.writer)
        }
      } else {
        replace(fields, event, &formatter, &text, &out.writer)
      }
      out.commit(time: event.time)
    }
    return out.finish(tag: batch.tag)
  }

  private static func headerSize(_ map: UnsafeRawBufferPointer) -> Int {
    switch map.first {
    case 0xde: 3
    case 0xdf: 5
    default: 1
    }
  }

  private func replace(
    _ fields: [Field], _ event: EventView, _ formatter: inout TimeFormatter?, _ text: inout ByteWriter, _ out: inout ByteWriter
  ) {
    var used = [Bool](repeating: false, count: fields.count)
    event.record.forEachField { key, value in
      out.append(key.bytes)
      let name = key.stringBytes
      if let name, let i = fields.indices.first(where: { !used[$0] && fields[$0].key.elementsEqual(name) }) {
        used[i] = true
        put(fields[i], event.time, &formatter, &text, &out)
      } else {
        out.append(value.bytes)
      }
    }
    for i in fields.indices where !used[i] {
      out.append(fields[i].encodedKey)
      put(fields[i], event.time, &formatter, &text, &out)
    }
  }

  @inline(__always)
  private func put(
    _ field: Field, _ time: EventTime, _ formatter: inout TimeFormatter?, _ text: inout ByteWriter, _ out: inout ByteWriter
  ) {
    guard field.source == .time else { return out.append(field.value) }
    let (seconds, nanoseconds) = (time.seconds, Int64(time.nanoseconds))
    switch timeType {
    // Fluentd cuts a float to microseconds.
    case .float: out.putDouble(Double(seconds &* 1_000_000 &+ nanoseconds / 1000) / 1e6)
    case .unixtime: out.putInt(seconds)
    case .unixtimeMillis: out.putInt(seconds &* 1000 &+ nanoseconds / 1_000_000)
    case .unixtimeMicros: out.putInt(seconds &* 1_000_000 &+ nanoseconds / 1000)
    case .unixtimeNanos: out.putInt(seconds &* 1_000_000_000 &+ nanoseconds)
    case .string, .mixed:
      text.removeAll()
      formatter?.format(time, into: &text)
      out.putString(text.bytes)
    }
  }
}
