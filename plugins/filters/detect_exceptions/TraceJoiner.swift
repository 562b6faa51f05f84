import AggCore

/// Joins the lines of stack traces: what the filter and the output have in common.
///
/// Source: fluent-plugin-detect-exceptions 0.0.15, `TraceAccumulator`.
final class TraceJoiner: Sendable {
  private let options: TraceOptions
  private let machine: TraceMachine
  private let fields: [[UInt8]]
  private let stream: [UInt8]?
  private let streams: HeldStreams
  private let cuts = QuietCount()
  private let log: Log
  /// A trace is never held beyond this.
  private let byteLimit: Int

  init(_ options: TraceOptions, route: HoldEmitter.Route, _ context: PluginContext) throws {
    self.options = options
    machine = try TraceMachine(options.languages)
    fields = (options.message.isEmpty ? ["message", "log"] : [options.message]).map { Array($0.utf8) }
    stream = options.stream.isEmpty ? nil : Array(options.stream.utf8)
    let limit = options.maximumBytes.bytes
    byteLimit = limit > 0 ? min(limit, HeldStreams.maximumBytes) : HeldStreams.maximumBytes
    streams = HeldStreams(
      .init(
        keys: fields, separator: [], wait: options.flushInterval.map { Int64($0.nanoseconds) }, route: route,
        lateReason: "a trace is let go"), context)
    log = context.log
  }

  /// The batch with its traces joined, under `tag`.
  func join(_ batch: EventBatch, as tag: Tag, _ sink: inout FilterSink) -> EventBatch {
    let now = MonotonicTime.now()
    var cut = 0
    let result = streams.change(&sink) { table, sink in
      var run = Run(self, batch.tag, tag, now)
      let result = batch.rewritten { time, record, out in run.add(time, record, &table, &sink, &out) }
      cut = run.cut
      return result.tagged(tag)
    }
    if cut > 0, let n = cuts.add(cut, now: now) {
      log.warn("\(n) lines were not joined: more than \(HeldStreams.mostStreams) streams have a trace that goes on")
    }
    return result
  }

  func restore(_ held: [(key: String, state: [UInt8])]) { streams.restore(held) }
  func run(_ emitter: HoldEmitter) async { await streams.run(emitter) }

  /// One batch's work.
  private struct Run: ~Copyable {
    let joiner: TraceJoiner
    let source: Tag
    let tag: Tag
    let now: MonotonicTime
    var beginning: RegexpMatcher
    var identity = ByteWriter(capacity: 256)
    var cut = 0

    init(_ joiner: TraceJoiner, _ source: Tag, _ tag: Tag, _ now: MonotonicTime) {
      self.joiner = joiner
      self.source = source
      self.tag = tag
      self.now = now
      beginning = joiner.machine.beginning.matcher()
      identity.append(source.description)
      identity.append(0 as UInt8)
    }

    mutating func add(
      _ time: EventTime, _ record: RecordView, _ table: inout HeldTable, _ sink: inout FilterSink, _ out: inout BatchBuilder
    ) {
      let prefix = source.description.utf8.count + 1
      identity.count = prefix
      if let stream = joiner.stream, let value = record.find(stream) { identity.append(value.bytes) }
      var slot = table.find(identity.bytes)
      let found = line(record, slot.map { table[$0].field })
      var state = TraceMachine.State.outside
      if let held = slot {
        if let found, table[held].text.count &+ found.text.count > joiner.byteLimit {
          flush(held, &table, &out)
          slot = nil
        } else {
          state = TraceMachine.State(rawValue: table[held].mark) ?? .outside
        }
      }
      guard let found else {
        if let slot { flush(slot, &table, &out) }
        return pass(time, record, &out)
      }
      let (next, verdict) = joiner.machine.next(state, found.text, &beginning)
      switch verdict {
      case .nothing:
        if let slot { flush(slot, &table, &out) }
        pass(time, record, &out)
      case .start:
        if let slot { flush(slot, &table, &out) }
        begin(time, record, found, next, &table, &out)
      case .inside, .end:
        // Without a held line there is no state but the first, from which no line is inside or an end.
        guard let slot else { return pass(time, record, &out) }
        sink.merged += 1
        let breaks = joiner.options.forceLineBreaks && !found.text.contains(0x0a)
        table.change(slot, isUsed: false) { event in
          event.add(found.text, separator: breaks ? [0x0a] : [])
          event.mark = next.rawValue
        }
        if verdict == .end || table[slot].lines == joiner.options.maximumLines { flush(slot, &table, &out) }
      }
    }

    private mutating func begin(
      _ time: EventTime, _ record: RecordView, _ found: (text: UnsafeRawBufferPointer, field: Int), _ state: TraceMachine.State,
      _ table: inout HeldTable,
      _ out: inout BatchBuilder
    ) {
      if joiner.options.maximumLines == 1 || table.count >= HeldStreams.mostStreams || found.text.count > joiner.byteLimit {
        if joiner.options.maximumLines != 1 { cut += 1 }
        return pass(time, record, &out)
      }
      var event = HeldEvent(tag: tag, time: time, record: record, text: found.text, since: now)
      event.mark = state.rawValue
      event.field = found.field
      table.begin(identity.bytes, event)
    }

    /// The line and which field holds it; while a trace goes on, that is the field of its first line.
    private func line(_ record: RecordView, _ field: Int?) -> (text: UnsafeRawBufferPointer, field: Int)? {
      let candidates = field.flatMap { joiner.fields.indices.contains($0) ? $0..<$0 + 1 : nil } ?? joiner.fields.indices
      for index in candidates {
        if let value = record.find(joiner.fields[index]) { return value.textBytes.map { ($0, index) } }
      }
      return nil
    }

    private func flush(_ slot: Int, _ table: inout HeldTable, _ out: inout BatchBuilder) {
      let event = table.take(slot)
      out.begin(room: event.byteCount + 64)
      if event.lines == 1 {
        event.record.withUnsafeBytes { out.writer.append($0) }
      } else {
        event.writeJoined(
          key: joiner.fields.indices.contains(event.field) ? joiner.fields[event.field] : [], separator: [], into: &out.writer)
      }
      out.commit(time: event.time)
    }

    private func pass(_ time: EventTime, _ record: RecordView, _ out: inout BatchBuilder) {
      let bytes = record.bytes
      out.begin(room: bytes.count)
      out.writer.append(bytes)
      out.commit(time: time)
    }
  }
}
