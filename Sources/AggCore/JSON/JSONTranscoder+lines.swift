import Glibc

extension JSONTranscoder {
  /// Why a line made no event.
  public enum Rejection: Sendable {
    /// Not JSON as a whole: broken, more than one value, nested too deep, cut off.
    case invalid
    /// JSON, but no object, nor an array of objects.
    case notAnObject
    /// The time key's value was refused.
    case badTime
  }

  /// Appends an event for every line of `block` that is a JSON object, all with the same time.
  ///
  /// A line ends with a newline or the block; blank lines count for nothing. An array of objects makes an event of each, as
  /// Fluentd's json parser does. `rejects` gets every other line's range; it is called in order.
  public mutating func transcodeLines(
    _ block: UnsafeRawBufferPointer, into builder: inout BatchBuilder, time: EventTime,
    rejects: (_ line: Range<Int>, _ why: Rejection) -> Void
  ) {
    soughtCount = -1
    lines(block, into: &builder, keepTimeKey: true, time: { _ in time }, rejects: rejects)
  }

  /// As above, with each event's time from the value of its top-level `timeKey`, which `time` converts.
  ///
  /// `time` gets nil when the record has no such key, and refuses a line by returning nil. The field is removed unless
  /// `keepTimeKey`.
  public mutating func transcodeLines(
    _ block: UnsafeRawBufferPointer, into builder: inout BatchBuilder, timeKey: [UInt8], keepTimeKey: Bool,
    time: (ValueView?) -> EventTime?, rejects: (_ line: Range<Int>, _ why: Rejection) -> Void
  ) {
    soughtKey = timeKey
    soughtCount = timeKey.count
    lines(block, into: &builder, keepTimeKey: keepTimeKey, time: time, rejects: rejects)
    soughtCount = -1
  }

  @inline(__always)
  private mutating func lines(
    _ block: UnsafeRawBufferPointer, into builder: inout BatchBuilder, keepTimeKey: Bool, time: (ValueView?) -> EventTime?,
    rejects: (Range<Int>, Rejection) -> Void
  ) {
    guard let base = block.baseAddress else { return }
    let blockEnd = base + block.count
    var line = base
    while line < blockEnd {
      let lineEnd = memchr(line, 0x0a, blockEnd - line).map { Source($0) } ?? blockEnd
      let next = lineEnd + 1
      let start = line
      line = next
      // The value's end is the line's, so that a carriage return is white space behind it.
      if start.byte() == 0x5b {
        if let why = array(start, lineEnd, &builder, keepTimeKey: keepTimeKey, time: time) { rejects(start - base..<lineEnd - base, why) }
        continue
      }
      builder.begin(room: Self.room(for: lineEnd - start))
      if start < lineEnd, let end = value(start, lineEnd, builder.writer.end) {
        finishValue(end, into: &builder.writer)
        if let why = commit(&builder, keepTimeKey: keepTimeKey, time: time) { rejects(start - base..<lineEnd - base, why) }
      } else {
        builder.cancel()
        if Self.skipSpace(start, lineEnd) != lineEnd { rejects(start - base..<lineEnd - base, .invalid) }
      }
    }
  }

  /// Appends an event for each object of the array that the line is; nothing when the line as a whole is not JSON.
  @inline(never)
  private mutating func array(
    _ start: Source, _ end: Source, _ builder: inout BatchBuilder, keepTimeKey: Bool, time: (ValueView?) -> EventTime?
  ) -> Rejection? {
    let (count, written) = (builder.count, builder.writer.count)
    var rejection: Rejection?
    var s = Self.skipSpace(start + 1, end)
    if s < end, s.byte() == 0x5d, Self.skipSpace(s + 1, end) == end { return nil }
    while s < end {
      builder.begin(room: Self.room(for: end - s))
      keys.begin()
      sawDuplicate = false
      foundKey = nil
      let c = s.byte()
      let o = builder.writer.end
      guard let result = c | 0x20 == 0x7b ? container(s, end, o) : Self.scalar(c, s, end, o, powers), result.source < end else { break }
      if c == 0x7b {
        finishValue(result.target, into: &builder.writer)
        rejection = commit(&builder, keepTimeKey: keepTimeKey, time: time) ?? rejection
      } else {
        builder.cancel()
        rejection = .notAnObject
      }
      s = Self.skipSpace(result.source, end)
      guard s < end else { break }
      if s.byte() == 0x2c {
        s = Self.skipSpace(s + 1, end)
      } else if s.byte() == 0x5d, Self.skipSpace(s + 1, end) == end {
        return rejection
      } else {
        break
      }
    }
    builder.count = count
    builder.writer.count = written
    return .invalid
  }

  /// Makes an event of the value that was written at the builder's record start.
  @inline(__always)
  private mutating func commit(_ builder: inout BatchBuilder, keepTimeKey: Bool, time: (ValueView?) -> EventTime?) -> Rejection? {
    guard let record = RecordView(writtenAt: builder.recordStart, in: builder.writer) else {
      return commitArray(&builder, keepTimeKey: keepTimeKey, time: time)
    }
    guard let foundKey else {
      guard let time = time(nil) else { builder.cancel(); return .badTime }
      builder.commit(time: time)
      return nil
    }
    let value = ValueView(unchecked: MessagePack.end(of: Source(foundKey)))
    guard let time = time(value) else { builder.cancel(); return .badTime }
    if !keepTimeKey { Self.removeField(record, from: foundKey, to: value.end, &builder.writer) }
    builder.commit(time: time)
    return nil
  }

  /// Takes the pair between `start` and `end` out of the record that is last in `out`.
  static func removeField(_ record: RecordView, from start: Target, to end: Source, _ out: inout ByteWriter) {
    let (count, header) = MessagePack.container(record.pointer)
    let first = Target(mutating: record.pointer)
    memmove(start, end, Source(out.end) - end)
    out.count -= end - Source(start)
    // A map of 15 has its one-byte header again, and one of 65,535 its three bytes.
    let newHeader = Source(MessagePack.putHeader(fix: 0x80, count - 1, first)) - Source(first)
    if newHeader < header {
      memmove(first + newHeader, first + header, Source(out.end) - Source(first + header))
      out.count -= header - newHeader
    }
  }

  /// Replaces the array at the record's place by one event for each map in it.
  @inline(never)
  private mutating func commitArray(_ builder: inout BatchBuilder, keepTimeKey: Bool, time: (ValueView?) -> EventTime?)
    -> Rejection?
  {
    let written = Array(builder.writer.bytes[builder.recordStart...])
    builder.cancel()
    return written.withUnsafeBytes { bytes in
      guard let base = bytes.baseAddress, ValueView(unchecked: base).kind == .array else { return .notAnObject }
      var rejection: Rejection?
      ValueView(unchecked: base).forEachElement { element in
        guard element.isMap else { rejection = .notAnObject; return }
        builder.begin(room: element.bytes.count)
        builder.writer.append(element.bytes)
        foundKey = nil
        if soughtCount >= 0, let record = RecordView(writtenAt: builder.recordStart, in: builder.writer) {
          foundKey = record.key(soughtKey).map { Target(mutating: $0) }
        }
        if let why = commit(&builder, keepTimeKey: keepTimeKey, time: time) { rejection = why }
      }
      return rejection
    }
  }
}
