import AggCore
import Glibc

/// Writes the fields that a parser finds in a line as one event: takes the time out, converts values, ends or refuses it.
///
/// One a block (it keeps the last time text, which points into the block); per line `begin`, the fields, `finish` or `cancel`.
struct FieldWriter: ~Copyable {
  let rules: ParseRules
  private var nullMatcher: RegexpMatcher?
  private var time: EventTime?
  private var failed = false
  private var count = 0
  private var cache = TimeTextCache()

  init(_ rules: ParseRules) {
    self.rules = rules
    nullMatcher = rules.nullPattern.map { $0.matcher() }
  }

  /// `room`: encoded keys and texts together; headers and numbers are on top, for `fields` of them.
  @inline(__always) mutating func begin(_ batch: inout BatchBuilder, room: Int, fields: Int) {
    batch.begin(room: room &+ fields &* 16 &+ 64)
    batch.writer.uncheckedAppend(0x80)
    time = nil
    failed = false
    count = 0
  }

  /// A field of the table, whose room `begin` reserved; `text` has 31 readable bytes behind it.
  @inline(__always) mutating func put(_ table: KeyTable, _ index: Int, _ text: UnsafeRawBufferPointer, _ batch: inout BatchBuilder) {
    put(table, index, text.baseAddress ?? table.bytes, text.count, &batch)
  }
  @inline(__always)
  mutating func put(_ table: KeyTable, _ index: Int, _ text: UnsafeRawPointer, _ n: Int, _ batch: inout BatchBuilder) {
    let key = table.keys[index]
    if key.isTime {
      readTime(UnsafeRawBufferPointer(start: text, count: n))
      if !rules.keepTimeKey { return }
    }
    count &+= 1
    var o = MessagePackStore.raw(table.bytes + key.start, key.length, batch.writer.end)
    if !rules.convertsValues {
      o = MessagePackStore.string(text, n, o)
      batch.writer.advance(to: o)
    } else {
      batch.writer.advance(to: o)
      convert(UnsafeRawBufferPointer(start: text, count: n), key.conversion, &batch)
    }
  }

  /// A field of the table without a value.
  @inline(__always) mutating func putNil(_ table: KeyTable, _ index: Int, _ batch: inout BatchBuilder) {
    let key = table.keys[index]
    if key.isTime {
      failed = true
      return
    }
    count &+= 1
    batch.writer.append(table.bytes + key.start, key.length)
    batch.writer.putNil()
  }

  /// A field whose name is the line's own.
  @inline(__always)
  mutating func put(key: UnsafeRawBufferPointer, _ text: UnsafeRawBufferPointer, _ batch: inout BatchBuilder) {
    if rules.isTimeKey(key) {
      readTime(text)
      if !rules.keepTimeKey { return }
    }
    count &+= 1
    batch.writer.putString(key)
    if rules.convertsValues { convert(text, rules.conversion(key), &batch) } else { batch.writer.putString(text) }
  }

  /// A field of a value that is MessagePack already.
  mutating func put(key: ValueView, _ value: ValueView, _ batch: inout BatchBuilder) {
    let name = key.textBytes
    if let name, rules.isTimeKey(name) {
      readTime(value)
      if !rules.keepTimeKey { return }
    }
    count &+= 1
    batch.writer.append(key.bytes)
    let conversion = name.map { rules.conversion($0) } ?? -1
    if value.isNull || value.bool == false || !rules.convertsValues {
      batch.writer.append(value.bytes)
    } else if let text = value.textBytes {
      if conversion >= 0 || isNull(text) { convert(text, conversion, &batch) } else { batch.writer.append(value.bytes) }
    } else if conversion >= 0 {
      rules.conversions[conversion].put(value, &batch.writer)
    } else {
      batch.writer.append(value.bytes)
    }
  }

  /// The time, where a parser reads it by itself.
  mutating func set(time: EventTime) { self.time = time }
  /// Marks a field that the parser has written itself.
  @inline(__always) mutating func didPut(_ n: Int = 1) { count &+= n }

  @inline(__always)
  mutating func finish(_ batch: inout BatchBuilder, _ context: inout ParseContext) -> ParseOutcome {
    if failed {
      batch.cancel()
      return .rejected("its time cannot be read")
    }
    let header = batch.recordStart
    if count < 16 {
      batch.writer.mutableBytes[header] = 0x80 | UInt8(truncatingIfNeeded: count)
    } else {
      widen(header, &batch)
    }
    if let time {
      batch.commit(time: time)
      return .parsed
    }
    return commitUntimed(&batch, &context)
  }

  @inline(never) private func widen(_ header: Int, _ batch: inout BatchBuilder) {
    let body = Array(batch.writer.bytes[(header + 1)...])
    batch.writer.count = header
    batch.writer.putMapHeader(count)
    batch.writer.append(body)
  }

  @inline(__always) private func commitUntimed(_ batch: inout BatchBuilder, _ context: inout ParseContext) -> ParseOutcome {
    rules.commitUntimed(&batch, &context)
  }

  @inline(__always) private mutating func readTime(_ text: UnsafeRawBufferPointer) {
    time = cache.time(text, rules.time)
    if time == nil { failed = true }
  }

  private mutating func readTime(_ value: ValueView) {
    time = rules.time.parse(value)
    if time == nil { failed = true }
  }

  private mutating func isNull(_ text: UnsafeRawBufferPointer) -> Bool {
    if rules.nullEmptyString, text.isEmpty { return true }
    return nullMatcher?.match(text) ?? false
  }

  private mutating func convert(_ text: UnsafeRawBufferPointer, _ conversion: Int, _ batch: inout BatchBuilder) {
    if isNull(text) { batch.writer.putNil() } else if conversion >= 0 {
      rules.conversions[conversion].put(text, &batch.writer)
    } else {
      batch.writer.putString(text)
    }
  }
}

extension ParseRules {
  /// Ends an event that has no time: the current one, or what the caller said, or a refusal.
  @inline(__always) func commitUntimed(_ batch: inout BatchBuilder, _ context: inout ParseContext) -> ParseOutcome {
    if estimatesCurrentEvent {
      batch.commit(time: context.now)
      return .parsed
    }
    guard let time = context.timeOfUntimed else {
      batch.cancel()
      return .rejected("it has no time")
    }
    context.untimed.append(batch.count)
    batch.commit(time: time)
    return .parsed
  }
}

extension TimeParser {
  /// A field's value as a time: text, or a number where the type is one.
  func parse(_ value: ValueView) -> EventTime? {
    if let text = value.textBytes { return parse(text) }
    if let int = value.int64 { return parse(int: int) }
    if let double = value.double { return parse(double: double) }
    return nil
  }
}
