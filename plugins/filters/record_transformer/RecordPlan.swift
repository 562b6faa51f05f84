import AggCore
import Glibc

/// How the records of one batch are rewritten: which fields are set, removed or left, by name, without decoding a record.
struct RecordPlan: Sendable {
  struct Field: Sendable {
    /// The name as text, and as MessagePack.
    var key: [UInt8]
    var header: [UInt8]
    var value: RecordValue
    /// Name and value, where the value is the same for the batch.
    var constant: [UInt8]?
    var isRemoved = false
    /// Paths below this field that are removed from its value.
    var pruned: [RecordPath] = []

    init(key: [UInt8], value: RecordValue) {
      self.key = key
      self.value = value
      var out = ByteWriter(capacity: 64)
      out.putString(key)
      header = out.array
      if case .constant(let bytes) = value { constant = header + bytes }
    }
  }
  /// What happens to a field of this name.
  enum Action: Sendable {
    case set(Int)
    case remove
    case prune([RecordPath])
  }
  private struct Entry: Sendable {
    var key: [UInt8]
    var action: Action
  }

  var fields: [Field] = []
  /// nil: all fields stay; else only these, in this order.
  let kept: [[UInt8]]?
  let timeKey: [UInt8]?
  private var entries: [Entry] = []
  /// A bit for each name in `entries`: most fields of a record are none of them.
  private var mask: UInt64 = 0

  init(fields given: [(key: [UInt8], value: RecordValue)], removed: [RecordPath], kept: [[UInt8]]?, timeKey: [UInt8]?) {
    self.kept = kept
    self.timeKey = timeKey
    for field in given {
      // A name that comes twice keeps its first place and its last value.
      if let at = fields.firstIndex(where: { $0.key == field.key }) {
        fields[at] = Field(key: field.key, value: field.value)
      } else {
        fields.append(Field(key: field.key, value: field.value))
      }
    }
    var prunes: [(key: [UInt8], paths: [RecordPath])] = []
    var removals: [[UInt8]] = []
    for path in removed {
      guard case .key(let key)? = path.steps.first else { continue }
      if path.steps.count == 1 { removals.append(key) } else if let at = prunes.firstIndex(where: { $0.key == key }) {
        prunes[at].paths.append(path)
      } else {
        prunes.append((key, [path]))
      }
    }
    for index in fields.indices {
      fields[index].isRemoved = removals.contains(fields[index].key)
      fields[index].pruned = prunes.first { $0.key == fields[index].key }?.paths ?? []
      if !fields[index].pruned.isEmpty { fields[index].constant = nil }
      entries.append(Entry(key: fields[index].key, action: .set(index)))
    }
    for key in removals { entries.append(Entry(key: key, action: .remove)) }
    for prune in prunes { entries.append(Entry(key: prune.key, action: .prune(prune.paths))) }
    for entry in entries { entry.key.withUnsafeBytes { mask |= Self.bit($0) } }
  }

  @inline(__always) private static func bit(_ key: UnsafeRawBufferPointer) -> UInt64 {
    let n = key.count
    if n == 0 { return 1 }
    return 1 << UInt64((n &* 7 &+ Int(key[0]) &* 3 &+ Int(key[n &- 1])) & 63)
  }

  @inline(__always) func action(_ key: UnsafeRawBufferPointer) -> Action? {
    if mask & Self.bit(key) == 0 { return nil }
    return search(key)
  }
  private func search(_ key: UnsafeRawBufferPointer) -> Action? {
    for entry in entries where entry.key.count == key.count {
      let isSame = entry.key.withUnsafeBytes { known in
        guard let a = known.baseAddress, let b = key.baseAddress else { return true }
        return memcmp(a, b, key.count) == 0
      }
      if isSame { return entry.action }
    }
    return nil
  }
}

/// Writes records as a plan says; made once a batch.
struct RecordWriter: ~Copyable {
  let plan: RecordPlan
  var clock = RecordClock()
  private var placed: [Bool]
  private var scratch = ByteWriter(capacity: 1024)

  init(_ plan: RecordPlan) {
    self.plan = plan
    placed = [Bool](repeating: false, count: plan.fields.count)
  }

  mutating func write(_ record: RecordView, _ time: EventTime, _ out: inout ByteWriter) {
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
    if plan.fields[index].pruned.isEmpty { return plan.fields[index].value.write(record, time, &clock, &out) }
    var whole = ByteWriter(capacity: 256)
    plan.fields[index].value.write(record, time, &clock, &whole)
    if let base = whole.bytes.baseAddress { prune(ValueView(unchecked: base), plan.fields[index].pruned, &out) }
    withExtendedLifetime(whole.count) {}
  }

  private mutating func prune(_ value: ValueView, _ paths: [RecordPath], _ out: inout ByteWriter) {
    var value = value
    for (index, path) in paths.enumerated() {
      if index == paths.count - 1 { return out.put(value, without: path.steps.dropFirst()) }
      var next = ByteWriter(capacity: 256)
      next.put(value, without: path.steps.dropFirst())
      swap(&scratch, &next)
      if let base = scratch.bytes.baseAddress { value = ValueView(unchecked: base) }
      withExtendedLifetime(next.count) {}
    }
  }

  /// The new time that `renew_time_key` gives: nil where the new record has no such field.
  mutating func time(_ record: RecordView, _ time: EventTime) throws(NoTime) -> EventTime? {
    guard let key = plan.timeKey else { return nil }
    if let field = plan.fields.first(where: { $0.key == key }) {
      var whole = ByteWriter(capacity: 256)
      field.value.write(record, time, &clock, &whole)
      guard let base = whole.bytes.baseAddress else { return nil }
      return try Self.unixTime(ValueView(unchecked: base))
    }
    if let kept = plan.kept, !kept.contains(key) { return nil }
    guard let value = record.find(key) else { return nil }
    return try Self.unixTime(value)
  }

  struct NoTime: Error {}

  /// Ruby's `to_f` as a time: a number, the number that a text begins with, or 0; other values have none.
  private static func unixTime(_ value: ValueView) throws(NoTime) -> EventTime {
    if value.isNull { return EventTime(seconds: 0) }
    if let text = value.textBytes { return EventTime(RubyText.float(text)) }
    guard value.double?.isFinite ?? true, let time = value.eventTime else { throw NoTime() }
    return time
  }
}
