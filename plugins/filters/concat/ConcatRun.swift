import AggCore

/// One batch's way through the concat filter; source of what joins what: fluent-plugin-concat 2.6, `filter_stream` and `process_…`.
struct ConcatRun: ~Copyable {
  private let plan: ConcatFilter.Plan
  private let tag: Tag
  private let now: MonotonicTime
  private var identity = ByteWriter(capacity: 256)
  /// The text of the event at hand.
  private var line = UnsafeRawBufferPointer(start: nil, count: 0)
  private var written = ByteWriter(capacity: 256)
  private var scratch = ByteWriter(capacity: 1024)
  private var merged = ByteWriter(capacity: 1024)
  private var failures = Failures()
  private var cut = 0
  private let matchers: Matchers?

  /// Borrowed for the batch.
  private final class Matchers {
    var start: RegexpMatcher?
    var end: RegexpMatcher?
    private var continuous: RegexpMatcher?
    private let hasContinuous: Bool
    init(_ start: Regexp?, _ end: Regexp?, _ continuous: Regexp?) {
      self.start = start.map { $0.matcher() }
      self.end = end.map { $0.matcher() }
      self.continuous = continuous.map { $0.matcher() }
      hasContinuous = continuous != nil
    }
    func continues(_ line: UnsafeRawBufferPointer, _ isText: Bool) -> Bool {
      hasContinuous ? isText && continuous?.match(line) ?? false : true
    }
  }

  init(_ plan: ConcatFilter.Plan, _ tag: Tag, now: MonotonicTime) {
    self.plan = plan
    self.tag = tag
    self.now = now
    if case .expressions(let start, let end, let continuous) = plan.mode {
      matchers = Matchers(start, end, continuous)
    } else {
      matchers = nil
    }
  }

  /// Events that failed go to the sink; how many went on before their end.
  consuming func finish(_ sink: inout FilterSink) -> Int {
    let cut = cut
    failures.report(tag, &sink)
    return cut
  }

  mutating func add(
    _ time: EventTime, _ record: RecordView, _ table: inout HeldTable, _ sink: inout FilterSink, _ out: inout BatchBuilder
  ) {
    guard let value = record.find(plan.key) else { return pass(time, record, &out) }
    if let text = value.textBytes {
      line = text
    } else {
      written.removeAll()
      RubyText.write(value, into: &written)
      line = written.bytes
    }
    switch plan.mode {
    case .lines(let n):
      identify(record)
      append(time, record, &table, &sink, &out)
      if let slot = table.find(identity.bytes), table[slot].lines >= n { flush(slot, over: record, time, &table, &out) }
    case .partial(let key, let ending):
      guard let partial = record.find(key) else { return pass(time, record, &out) }
      identify(record)
      addPartial(time, record, isLast: !(partial.textBytes?.elementsEqual(ending) ?? false), &table, &sink, &out)
    case .metadata(let indicator, let id, let ordinal, let last):
      guard record.find(indicator) != nil else { return pass(time, record, &out) }
      identify(record, id)
      append(time, record, &table, &sink, &out, ordinal: Self.number(record.find(ordinal)))
      if record.find(last)?.equals("true") ?? false { flush(over: record, time, &table, &out) }
    case .cri(let logtag):
      guard let text = record.find(logtag)?.textBytes else {
        return failures.add(time, record, "\(String(decoding: logtag, as: UTF8.self)) is no text")
      }
      identify(record)
      append(time, record, &table, &sink, &out)
      if text.prefix(while: { $0 != UInt8(ascii: ":") }).elementsEqual("F".utf8) { flush(over: record, time, &table, &out) }
    case .expressions(let start, _, _):
      if value.textBytes == nil, !value.isNull {
        return failures.add(time, record, "\(String(decoding: plan.key, as: UTF8.self)) is no text")
      }
      identify(record)
      addLine(time, record, hasStart: start != nil, isText: !value.isNull, &table, &sink, &out)
    }
  }

  private static func number(_ value: ValueView?) -> Int64 {
    guard let value else { return 0 }
    if let n = value.int64 { return n }
    return value.string.flatMap { Int64($0) } ?? 0
  }

  private mutating func identify(_ record: RecordView, _ id: [UInt8]? = nil) {
    identity.removeAll()
    identity.append(tag.description)
    identity.append(UInt8(ascii: ":"))
    if let key = plan.identity {
      if let value = record.find(key) { RubyText.write(value, into: &identity) }
    } else if id == nil {
      identity.append("default" as StaticString)
    }
    if let id, let value = record.find(id) { RubyText.write(value, into: &identity) }
  }

  // MARK: What to do with a line

  private mutating func addLine(
    _ time: EventTime, _ record: RecordView, hasStart: Bool, isText: Bool, _ table: inout HeldTable, _ sink: inout FilterSink,
    _ out: inout BatchBuilder
  ) {
    let isFirst = isText && (matchers?.start?.match(line) ?? false)
    let isLast = isText && (matchers?.end?.match(line) ?? false)
    let slot = table.find(identity.bytes)
    if isFirst {
      if let slot { flush(slot, over: record, time, &table, &out) }
      append(time, record, &table, &sink, &out)
      if isLast { flush(over: record, time, &table, &out) }
    } else if isLast {
      append(time, record, &table, &sink, &out)
      flush(over: record, time, &table, &out)
    } else if let slot {
      if matchers?.continues(line, isText) ?? true { return append(time, record, &table, &sink, &out) }
      let first = table[slot].time
      flush(slot, over: record, time, &table, &out)
      // As Fluentd does it: the line that belongs to nothing has the time of the event that it ends.
      pass(plan.useFirstTimestamp ? first : time, record, &out)
    } else if hasStart {
      pass(time, record, &out)
    } else {
      append(time, record, &table, &sink, &out)
    }
  }

  private mutating func addPartial(
    _ time: EventTime, _ record: RecordView, isLast: Bool, _ table: inout HeldTable, _ sink: inout FilterSink,
    _ out: inout BatchBuilder
  ) {
    let size = Self.size(record, &scratch)
    let slot = table.find(identity.bytes)
    let counted = slot.map { table[$0].mark } ?? 0
    if counted &+ size <= plan.bufferLimit || slot == nil || plan.overflow == .ignore {
      append(time, record, &table, &sink, &out, counting: counted &+ size > plan.bufferLimit ? -counted : size)
      if isLast { flush(over: record, time, &table, &out) }
      return
    }
    guard let slot else { return }
    switch plan.overflow {
    case .ignore: break
    case .truncate:
      sink.drop(1, "buffer_overflow")
      flush(slot, over: record, time, &table, &out)
    case .drop:
      _ = table.take(slot)
      sink.drop(2, "buffer_overflow")
    case .new:
      flush(slot, over: record, time, &table, &out)
      append(time, record, &table, &sink, &out, counting: size)
      if isLast { flush(over: record, time, &table, &out) }
    }
  }

  /// Bytes of names and of values as text.
  private static func size(_ record: RecordView, _ scratch: inout ByteWriter) -> Int {
    var size = 0
    record.forEachField { name, value in
      size += name.textBytes?.count ?? 0
      if let text = value.textBytes {
        size += text.count
      } else {
        scratch.removeAll()
        RubyText.write(value, into: &scratch)
        size += scratch.count
      }
    }
    return size
  }

  // MARK: What is held

  private mutating func append(
    _ time: EventTime, _ record: RecordView, _ table: inout HeldTable, _ sink: inout FilterSink, _ out: inout BatchBuilder,
    ordinal: Int64? = nil,
    counting size: Int = 0
  ) {
    var slot = table.find(identity.bytes)
    if let full = slot, table[full].byteCount &+ line.count > HeldStreams.maximumBytes {
      cut += 1
      flush(full, over: record, time, &table, &out)
      slot = nil
    }
    if let slot {
      sink.merged += 1
      let now = now
      table.change(slot, isUsed: true) { event in
        event.add(line, separator: plan.separator, ordinal: ordinal)
        event.mark &+= size
        event.since = now
      }
    } else if table.count >= HeldStreams.mostStreams {
      cut += 1
      pass(time, record, &out)
    } else {
      var event = HeldEvent(tag: tag, time: time, record: record, text: line, ordinal: ordinal, since: now)
      event.mark = max(0, size)
      table.begin(identity.bytes, event)
    }
  }

  /// The held event of the stream at hand is complete.
  private mutating func flush(over record: RecordView, _ time: EventTime, _ table: inout HeldTable, _ out: inout BatchBuilder) {
    if let slot = table.find(identity.bytes) { flush(slot, over: record, time, &table, &out) }
  }

  /// Fluentd puts the first record, with the whole text, over the record that is at hand: fields of the two are joined.
  private mutating func flush(
    _ slot: Int, over record: RecordView, _ time: EventTime, _ table: inout HeldTable, _ out: inout BatchBuilder
  ) {
    let event = table.take(slot)
    merged.removeAll()
    event.writeJoined(key: plan.key, separator: plan.separator, removing: partialKey, into: &merged)
    guard let start = merged.bytes.baseAddress else { return }
    let whole = RecordView(unchecked: ValueView(unchecked: start))
    out.begin(room: record.bytes.count + merged.count + 64)
    if plan.removed.isEmpty {
      out.writer.put(record, merging: whole)
    } else {
      scratch.removeAll()
      scratch.put(record, merging: whole)
      if let start = scratch.bytes.baseAddress {
        out.writer.put(RecordView(unchecked: ValueView(unchecked: start)), without: plan.removed)
      }
    }
    out.commit(time: plan.useFirstTimestamp ? event.time : time)
  }

  /// The field of the first record that gives way to the last one's.
  private var partialKey: [UInt8]? {
    switch plan.mode {
    case .partial(let key, _): key
    case .cri(let logtag): logtag
    default: nil
    }
  }

  private func pass(_ time: EventTime, _ record: RecordView, _ out: inout BatchBuilder) {
    let bytes = record.bytes
    out.begin(room: bytes.count)
    out.writer.append(bytes)
    out.commit(time: time)
  }
}
