import AggCore
import AggExpression

/// Writes records as a plan says; made once a batch. For each event: `evaluate`, then `time` and `write`.
struct RecordWriter: ~Copyable {
  let plan: RecordPlan
  var scratch: RecordScratch
  private var placed: [Bool]
  private var spare = ByteWriter(capacity: 1024)
  /// What expressions gave for this event, back to back, and where each field's is.
  private var values = ByteWriter(capacity: 1024)
  private var ranges: [Range<Int>?]
  /// The time that `renew_time_key`'s expression gave as a Time.
  private var exactTime: EventTime?
  /// The record with what expressions changed in place.
  private var changed = ByteWriter(capacity: 1024)

  init(_ plan: RecordPlan, _ bindings: Bindings? = nil) {
    self.plan = plan
    scratch = RecordScratch(bindings)
    placed = [Bool](repeating: false, count: plan.fields.count)
    ranges = [Range<Int>?](repeating: nil, count: plan.fields.count)
  }

  /// Evaluates the event's expressions, in the configuration's order.
  mutating func evaluate(_ record: RecordView, _ time: EventTime) throws(RecordFailure) {
    guard !plan.computed.isEmpty, let bindings = scratch.bindings else { return }
    bindings.begin(time, record)
    values.removeAll()
    changed.removeAll()
    exactTime = nil
    // What one value holds a later expression may still change: only then are values kept before they are written.
    var kept: [(index: Int, value: RubyValue)] = []
    for index in plan.computed {
      if case .expression(let template) = plan.fields[index].value, plan.changesRecord || plan.fields[index].key == plan.timeKey {
        do throws(EvaluationError) { kept.append((index, try template.evaluate(bindings))) } catch {
          throw RecordFailure(error.reason(template.source))
        }
        continue
      }
      let start = values.count
      plan.fields[index].value.write(record, time, &scratch, &values)
      ranges[index] = start..<values.count
      try scratch.check()
    }
    for (index, value) in kept {
      let start = values.count
      do throws(EvaluationError) { try value.write(into: &values) } catch { throw RecordFailure(error.message) }
      ranges[index] = start..<values.count
      if plan.fields[index].key == plan.timeKey { exactTime = value.eventTime }
    }
    if plan.changesRecord, bindings.isRecordOpened { try rebase(record, bindings) }
  }

  /// Fluentd copies the record one level deep before it evaluates: what nests in it is seen as expressions left it.
  private mutating func rebase(_ record: RecordView, _ bindings: Bindings) throws(RecordFailure) {
    changed.putMapHeader(record.fieldCount)
    var cursor = record.fields
    while let (key, value) = cursor.next() {
      changed.append(key.bytes)
      if let name = key.stringBytes, let container = bindings.container(Array(name)) {
        do throws(EvaluationError) { try container.write(into: &changed) } catch { throw RecordFailure(error.message) }
      } else {
        changed.append(value.bytes)
      }
    }
  }

  private func current(_ record: RecordView) -> RecordView {
    guard !changed.isEmpty, let base = changed.bytes.baseAddress else { return record }
    return RecordView(unchecked: ValueView(unchecked: base))
  }

  mutating func write(_ record: RecordView, _ time: EventTime, _ out: inout ByteWriter) {
    let record = current(record)
    for index in placed.indices { placed[index] = false }
    let mark = out.beginMap()
    var count = plan.kept == nil ? copy(record, time, &out) : keep(record, time, &out)
    for index in placed.indices where !placed[index] && !plan.fields[index].isRemoved {
      set(index, record, time, &out)
      count &+= 1
    }
    out.end(mark, count: count)
  }

  /// Copies the record's fields, in runs, around those that the plan names.
  private mutating func copy(_ record: RecordView, _ time: EventTime, _ out: inout ByteWriter) -> Int {
    var count = 0
    var cursor = record.fields
    var run: UnsafeRawPointer?
    var end = record.pointer
    while let (key, value) = cursor.next() {
      let next = value.end
      guard let name = key.stringBytes, let action = plan.action(name) else {
        if run == nil { run = key.pointer }
        end = next
        count &+= 1
        continue
      }
      if let start = run { out.append(start, end - start) }
      run = nil
      switch action {
      case .remove: break
      case .set(let index):
        if plan.fields[index].isRemoved || placed[index] { break }
        set(index, record, time, &out)
        count &+= 1
      case .prune(let paths):
        out.append(key.bytes)
        prune(value, paths, &out)
        count &+= 1
      }
    }
    if let start = run { out.append(start, end - start) }
    return count
  }

  /// `renew_record`: only the fields of `keep_keys`.
  private mutating func keep(_ record: RecordView, _ time: EventTime, _ out: inout ByteWriter) -> Int {
    var count = 0
    for name in plan.kept ?? [] {
      guard let value = record.find(name) else { continue }
      switch name.withUnsafeBytes({ plan.action($0) }) {
      case .remove?: continue
      case .set(let index)?:
        if plan.fields[index].isRemoved || placed[index] { continue }
        set(index, record, time, &out)
      case .prune(let paths)?:
        out.putString(name)
        prune(value, paths, &out)
      case nil:
        out.putString(name)
        out.append(value.bytes)
      }
      count &+= 1
    }
    return count
  }

  private mutating func set(_ index: Int, _ record: RecordView, _ time: EventTime, _ out: inout ByteWriter) {
    placed[index] = true
    if let constant = plan.fields[index].constant { return out.append(constant) }
    out.append(plan.fields[index].header)
    if plan.fields[index].pruned.isEmpty { return put(index, record, time, &out) }
    var whole = ByteWriter(capacity: 256)
    put(index, record, time, &whole)
    if let base = whole.bytes.baseAddress { prune(ValueView(unchecked: base), plan.fields[index].pruned, &out) }
    withExtendedLifetime(whole.count) {}
  }

  private mutating func put(_ index: Int, _ record: RecordView, _ time: EventTime, _ out: inout ByteWriter) {
    if let range = ranges[index] { return out.append(UnsafeRawBufferPointer(rebasing: values.bytes[range])) }
    plan.fields[index].value.write(record, time, &scratch, &out)
  }

  private mutating func prune(_ value: ValueView, _ paths: [RecordPath], _ out: inout ByteWriter) {
    var value = value
    for (index, path) in paths.enumerated() {
      if index == paths.count - 1 { return out.put(value, without: path.steps.dropFirst()) }
      var next = ByteWriter(capacity: 256)
      next.put(value, without: path.steps.dropFirst())
      swap(&spare, &next)
      if let base = spare.bytes.baseAddress { value = ValueView(unchecked: base) }
      withExtendedLifetime(next.count) {}
    }
  }

  /// The new time that `renew_time_key` gives: nil where the new record has no such field.
  mutating func time(_ record: RecordView, _ time: EventTime) throws(RecordFailure) -> EventTime? {
    guard let key = plan.timeKey else { return nil }
    if let exactTime { return exactTime }
    if let index = plan.fields.firstIndex(where: { $0.key == key }) {
      var whole = ByteWriter(capacity: 256)
      put(index, record, time, &whole)
      guard let base = whole.bytes.baseAddress else { return nil }
      return try Self.unixTime(ValueView(unchecked: base))
    }
    if let kept = plan.kept, !kept.contains(key) { return nil }
    guard let value = current(record).find(key) else { return nil }
    return try Self.unixTime(value)
  }

  /// Ruby's `to_f` as a time: a number, the number that a text begins with, or 0; other values have none.
  private static func unixTime(_ value: ValueView) throws(RecordFailure) -> EventTime {
    if value.isNull { return EventTime(seconds: 0) }
    if let text = value.textBytes { return EventTime(RubyText.float(text)) }
    guard value.double?.isFinite ?? true, let time = value.eventTime else {
      throw RecordFailure("'renew_time_key' names a value that is no time")
    }
    return time
  }
}
