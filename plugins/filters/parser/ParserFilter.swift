public import AggCore

/// Parses the text in one field and makes its values the record, or adds them to it.
public struct ParserFilter: Filter {
  public struct Config: Configurable {
    var keyName = RecordPath.placeholder
    var reserveData = false
    var reserveTime = false
    var removeKeyNameField = false
    var injectKeyPrefix: String?
    var replaceInvalidSequence = false
    var hashValueField: String?
    var emitInvalidRecordToError = true
    var parse: ConfigElement?
    public init() {}
    public static let parameters: [Parameter<Self>] = [
      .required("key_name", \.keyName, "Field that holds the text, $.nested.ones too"),
      .optional("reserve_data", \.reserveData, "Keep the record and set the parsed values in it"),
      .optional("reserve_time", \.reserveTime, "Keep the event's time"),
      .optional("remove_key_name_field", \.removeKeyNameField, "With reserve_data, remove the field that was parsed"),
      .optional("inject_key_prefix", \.injectKeyPrefix, "Put before the name of each parsed value"),
      .optional("replace_invalid_sequence", \.replaceInvalidSequence, "Replace what is not UTF-8 by ? before parsing"),
      .optional("hash_value_field", \.hashValueField, "Store the parsed values as a map in this field"),
      .optional("emit_invalid_record_to_error", \.emitInvalidRecordToError, "Send what cannot be parsed to @ERROR"),
      .element("parse", \.parse, "How the text is parsed", required: true),
    ]
  }
  public static let name = "parser"
  public static let oldParameters = OldParameters(.parse)
  public static let summary = "Parses the text in a field."

  private let config: Config
  private let parser: any Parser
  private let prefix: [UInt8]?
  private let hashField: [UInt8]?

  public init(_ config: Config, _ context: PluginContext) throws {
    self.config = config
    parser = try context.parser(config.parse)
    prefix = config.injectKeyPrefix.map { Array($0.utf8) }
    hashField = config.hashValueField.map { Array($0.utf8) }
  }

  public func filter(_ batch: EventBatch, _ sink: inout FilterSink) throws(FilterError) -> EventBatch {
    var run = Run(self)
    let result = batch.rewritten { time, record, out in run.event(time, record, &out) }
    run.finish(batch.tag, &sink, kept: result.count, of: batch.count)
    return result
  }

  /// One batch's work: scratch memory, and the events that failed, by kind.
  private struct Run: ~Copyable {
    let filter: ParserFilter
    var context = ParseContext()
    var parsed = BatchBuilder(capacity: 4096)
    var values = ByteWriter(capacity: 4096)
    var base = ByteWriter(capacity: 4096)
    var missing = Failures()
    var refused = Failures()
    /// Failed events that go on nevertheless, with their own data only.
    var failedAndKept = 0

    init(_ filter: ParserFilter) { self.filter = filter }

    mutating func event(_ time: EventTime, _ record: RecordView, _ out: inout BatchBuilder) {
      let raw: ValueView?
      do throws(NotAContainer) { raw = try filter.config.keyName.dig(record) } catch { return refused.add(time, record, error.description) }
      guard let raw, !raw.isNull else {
        missing.add(time, record, "\(filter.config.keyName.configText) does not exist")
        return keep(time, record, &out)
      }
      guard var text = raw.textBytes else {
        refused.add(time, record, "parse failed: \(filter.config.keyName.configText) is no text")
        // To Fluentd's JSON parser it is text that is no JSON; the others fail, and the event does not go on.
        if filter.config.parse?.type == "json" { keep(time, record, &out) }
        return
      }
      if filter.config.replaceInvalidSequence, !UTF8Text.isValid(text) {
        base.removeAll()
        UTF8Text.scrub(text, into: &base)
        base.reserve(ByteWriter.padding)
        text = base.bytes
      }
      context.timeOfUntimed = time
      context.untimed.removeAll(keepingCapacity: true)
      parsed.removeAll()
      guard case .parsed = filter.parser.parse(text, into: &parsed, &context) else {
        refused.add(time, record, "pattern not matched with data '\(String(decoding: text.prefix(256), as: UTF8.self))'")
        return keep(time, record, &out)
      }
      var cursor = parsed.events
      while let event = cursor.next() {
        out.begin(room: event.bytes.count + record.bytes.count)
        let parsedTime = filter.config.reserveTime ? time : event.time
        write(event.record, record, removingKey: filter.config.removeKeyNameField, &out.writer)
        out.commit(time: parsedTime)
      }
    }

    /// With reserve_data an event that failed goes on with an empty set of values.
    private mutating func keep(_ time: EventTime, _ record: RecordView, _ out: inout BatchBuilder) {
      guard filter.config.reserveData else { return }
      failedAndKept += 1
      var none = ByteWriter(capacity: 64)
      none.putMapHeader(0)
      guard let empty = none.bytes.baseAddress else { return }
      out.begin(room: record.bytes.count + 64)
      write(RecordView(unchecked: ValueView(unchecked: empty)), record, removingKey: false, &out.writer)
      out.commit(time: time)
      withExtendedLifetime(none.count) {}
    }

    private mutating func write(_ found: RecordView, _ record: RecordView, removingKey: Bool, _ out: inout ByteWriter) {
      var found = found
      if filter.prefix != nil || filter.hashField != nil {
        values.removeAll()
        if let field = filter.hashField {
          values.putMapHeader(1)
          values.putString(field)
        }
        if let prefix = filter.prefix {
          values.putMapHeader(found.fieldCount)
          found.forEachField { name, value in
            values.putString(prefix + Array(name.textBytes ?? UnsafeRawBufferPointer(start: nil, count: 0)))
            values.append(value.bytes)
          }
        } else {
          values.append(found.bytes)
        }
        if let start = values.bytes.baseAddress { found = RecordView(unchecked: ValueView(unchecked: start)) }
      }
      guard filter.config.reserveData else { return out.append(found.bytes) }
      if removingKey {
        base.removeAll()
        base.put(record.value, without: filter.config.keyName.steps[...])
        if let start = base.bytes.baseAddress { return out.put(RecordView(unchecked: ValueView(unchecked: start)), merging: found) }
      }
      out.put(record, merging: found)
    }

    consuming func finish(_ tag: Tag, _ sink: inout FilterSink, kept: Int, of count: Int) {
      let failed = missing.count + refused.count
      // What was parsed to several events (an array), or to none.
      let succeeded = count - failed
      let fromParsed = kept - failedAndKept
      if fromParsed > succeeded { sink.created += fromParsed - succeeded } else { sink.drop(succeeded - fromParsed, "empty") }
      sink.created += failedAndKept
      if filter.config.emitInvalidRecordToError {
        missing.report(tag, &sink)
        refused.report(tag, &sink)
      } else {
        sink.drop(failed, "not_parsed")
      }
    }
  }
}

/// Events of one batch that failed for one kind of reason; the first one's is told.
struct Failures: ~Copyable {
  private var events: BatchBuilder?
  private var reason = ""
  var count = 0

  mutating func add(_ time: EventTime, _ record: RecordView, _ why: @autoclosure () -> String) {
    if events == nil {
      events = BatchBuilder(capacity: 4096)
      reason = why()
    }
    count += 1
    events?.begin(room: record.bytes.count)
    events?.writer.append(record.bytes)
    events?.commit(time: time)
  }

  consuming func report(_ tag: Tag, _ sink: inout FilterSink) {
    let more = count > 1 ? " (and \(count - 1) more)" : ""
    let reason = reason + more
    if let events = events.take() { sink.fail(events.finish(tag: tag), reason: reason) }
  }
}

extension BatchBuilder {
  /// Forgets all events.
  fileprivate mutating func removeAll() {
    writer.removeAll()
    add(events: -count)
  }
  /// What was committed; valid until the next event is begun.
  fileprivate var events: EventCursor { EventCursor(unchecked: writer.bytes) }
}
