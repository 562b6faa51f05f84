public import AggCore

/// An input's `<extract>`: the event's tag and time from fields of the record.
public struct ExtractSection: TimeConfigurable {
  public var time = TimeParameters(timeType: .float)
  var tagKey: String?
  var keepTagKey = false
  var timeKey: String?
  var keepTimeKey = false
  public init() {}
  public static let parameters: [Parameter<Self>] =
    [
      .optional("tag_key", \.tagKey, "Field that holds the tag"),
      .optional("keep_tag_key", \.keepTagKey, "Leave that field in the record"),
      .optional("time_key", \.timeKey, "Field that holds the time of events whose parser found none"),
      .optional("keep_time_key", \.keepTimeKey, "Leave that field in the record"),
    ] + timeRows
  public mutating func validate(_ context: ConfigContext) throws {
    guard [.float, .unixtime, .string].contains(time.timeType) else {
      throw ConfigValueError("'time_type' must be one of float, unixtime, string")
    }
    try time.validate()
  }
}

/// Takes tags and times out of freshly parsed records.
///
/// As in Fluentd the time counts only for events whose parser found none: `ParseContext.untimed` names them where the parser has
/// `estimate_current_event false`. A value, used from several tasks at once.
public struct Extractor: Sendable {
  private let tagKey: [UInt8]?
  private let keepTagKey: Bool
  private let timeKey: [UInt8]?
  private let keepTimeKey: Bool
  private let time: TimeParser?
  /// Tags come from the records.
  public var hasTagKey: Bool { tagKey != nil }

  /// Nil when the section is absent or asks for nothing.
  public init?(_ section: ExtractSection?, _ context: PluginContext) throws {
    guard let section else { return nil }
    if section.timeKey == nil, section.time.timeFormat != nil {
      context.log.warn("'time_format' specified without 'time_key', will be ignored")
    }
    if section.tagKey == nil, section.timeKey == nil { return nil }
    tagKey = section.tagKey.map { Array($0.utf8) }
    keepTagKey = section.keepTagKey
    timeKey = section.timeKey.map { Array($0.utf8) }
    keepTimeKey = section.keepTimeKey
    time = try section.timeKey.map { _ in try TimeParser(section.time) }
  }

  /// The events in their order, in as many batches as their tags change; `rejected` gets those whose time cannot be read.
  ///
  /// `untimed`: indices into the batch, ascending. A field that is no tag (empty, too long, control bytes) leaves the batch's own.
  public func apply(_ batch: EventBatch, untimed: [Int] = [], rejected: (RecordView) -> Void = { _ in }) -> [EventBatch] {
    var batches: [EventBatch] = []
    var builder = BatchBuilder(capacity: batch.byteCount)
    var current = batch.tag
    var index = 0
    var nextUntimed = untimed.startIndex
    var last: (text: [UInt8], tag: Tag)?
    var cursor = EventCursor(unchecked: batch.bytes)
    while let event = cursor.next() {
      defer { index += 1 }
      let record = event.record
      var when: EventTime? = event.time
      var timeField: ValueView?
      if nextUntimed < untimed.endIndex, untimed[nextUntimed] == index {
        nextUntimed += 1
        if let timeKey, let time, let field = record.find(timeKey) {
          when = time.parse(field)
          timeField = field
        }
      }
      let tagField = tagKey.flatMap { record.find($0) }
      guard let when else {
        rejected(record)
        continue
      }
      let tag = tagField.map { self.tag($0, &last) ?? batch.tag } ?? batch.tag
      if tag != current {
        if builder.count > 0 {
          batches.append(builder.finish(tag: current))
          builder = BatchBuilder(capacity: 4096)
        }
        current = tag
      }
      builder.begin(room: event.bytes.count)
      let leaving = [keepTagKey ? nil : tagField, keepTimeKey ? nil : timeField].compactMap { $0?.pointer }
      if leaving.isEmpty { builder.writer.append(record.bytes) } else { copy(record, without: leaving, &builder.writer) }
      builder.commit(time: when)
    }
    withExtendedLifetime(batch.block) {}
    if builder.count > 0 { batches.append(builder.finish(tag: current)) }
    return batches
  }

  /// Neighbours mostly share a tag: the last text is kept.
  private func tag(_ field: ValueView, _ last: inout (text: [UInt8], tag: Tag)?) -> Tag? {
    if let text = field.textBytes, let last, last.text.elementsEqual(text) { return last.tag }
    var text = ByteWriter(capacity: 64)
    RubyText.write(field, into: &text)
    guard let tag = Tag(validating: text.bytes) else { return nil }
    last = (text.array, tag)
    return tag
  }

  /// The record without the fields whose values start there.
  private func copy(_ record: RecordView, without values: [UnsafeRawPointer], _ out: inout ByteWriter) {
    out.putMapHeader(record.fieldCount - Set(values).count)
    record.forEachField { key, value in
      guard !values.contains(value.pointer) else { return }
      out.append(key.bytes)
      out.append(value.bytes)
    }
  }
}
