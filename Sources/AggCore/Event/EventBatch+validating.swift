/// What came of bytes from outside that should have been events.
public struct ValidatedBatch: Sendable {
  public var batch: EventBatch
  /// Entries that were no event. Bytes after which nothing could be read count as one.
  public var rejected: Int
  /// Why the first entry was rejected.
  public var reason: String?
}

extension EventBatch {
  /// Makes a batch of entries that a peer sent, back to back: `[time, record]`, time an integer, a float or an EventTime.
  ///
  /// Shares `block` when every entry is already as a batch holds it, else copies. Also taken, and normalised: Fluent Bit's
  /// `[[time, metadata], record]`, further elements, wide array headers, float times. A wrong entry is rejected alone while the
  /// structure holds; where it does not, the rest is rejected.
  /// A time that is nil or 0 becomes `zeroTime`, as Fluentd's in_forward does for Forward mode; nil leaves it.
  public static func validating(
    _ block: Block, range: Range<Int>? = nil, tag: Tag, zeroTime: EventTime? = nil, maxDepth: Int = MessagePack.maximumDepth
  ) -> ValidatedBatch {
    let range = (range ?? 0..<block.count).clamped(to: 0..<block.count)
    let bytes = UnsafeRawBufferPointer(rebasing: block.bytes[range])
    let run = EntryScanner.normalRun(bytes, rejectZero: zeroTime != nil, maxDepth: maxDepth)
    if run.end == bytes.count {
      return ValidatedBatch(batch: EventBatch(unchecked: block, range: range, count: run.count, tag: tag, times: run.times), rejected: 0)
    }
    let result = normalising(bytes, after: run, tag: tag, zeroTime: zeroTime, maxDepth: maxDepth)
    withExtendedLifetime(block) {}
    return result
  }

  /// As above, for bytes that are not the caller's to keep: always copies.
  public static func validating(
    _ bytes: UnsafeRawBufferPointer, tag: Tag, zeroTime: EventTime? = nil, maxDepth: Int = MessagePack.maximumDepth
  ) -> ValidatedBatch {
    validating(Block(copying: bytes), tag: tag, zeroTime: zeroTime, maxDepth: maxDepth)
  }

  private static func normalising(
    _ bytes: UnsafeRawBufferPointer, after run: EntryScanner.Run, tag: Tag, zeroTime: EventTime?, maxDepth: Int
  ) -> ValidatedBatch {
    var builder = BatchBuilder(capacity: bytes.count)
    builder.append(events: UnsafeRawBufferPointer(rebasing: bytes[..<run.end]), count: run.count, times: run.times)
    var rejected = 0
    var reason: String?
    var position = run.end
    while position < bytes.count {
      guard case .complete(let end) = MessagePackScanner.skip(bytes, at: position, maxDepth: maxDepth &+ 2) else {
        rejected += 1
        reason = reason ?? "not MessagePack, or cut off, at byte \(position)"
        break
      }
      // Scanned as complete, so the unchecked views are safe from here.
      if let problem = EntryScanner.append(ValueView(unchecked: bytes.baseAddress! + position), to: &builder, zeroTime: zeroTime)
      {
        rejected += 1
        reason = reason ?? problem
      }
      position = end
    }
    return ValidatedBatch(batch: builder.finish(tag: tag), rejected: rejected, reason: reason)
  }
}

private enum EntryScanner {
  struct Run {
    var end = 0
    var count = 0
    var times = TimeBounds.none
  }
  /// How far entries are as a batch holds them, how many they are, and their times.
  static func normalRun(_ bytes: UnsafeRawBufferPointer, rejectZero: Bool, maxDepth: Int) -> Run {
    guard let base = bytes.baseAddress else { return Run() }
    let maxDepth = min(max(maxDepth, 0), MessagePack.maximumDepth)
    return withUnsafeTemporaryAllocation(of: Int.self, capacity: MessagePack.maximumDepth) { buffer in
      let stack = buffer.baseAddress!
      var position = 0
      var count = 0
      var times = TimeBounds.none
      while position < bytes.count {
        guard let record = recordStart(base + position, available: bytes.count &- position, rejectZero: rejectZero, &times),
          case .complete(let end) = MessagePackScanner.skip(
            base, bytes.count, at: position &+ record, maxDepth: maxDepth, stack: stack)
        else { break }
        position = end
        count &+= 1
      }
      return Run(end: position, count: count, times: times)
    }
  }

  /// Where the record starts in an entry `[time, map …`; nil when the entry is anything else.
  @inline(__always)
  private static func recordStart(_ p: UnsafeRawPointer, available: Int, rejectZero: Bool, _ times: inout TimeBounds) -> Int? {
    guard available >= 3, p.byte() == 0x92 else { return nil }
    let first = p.byte(1)
    var start = 11
    switch first {
    case 0xd7:
      guard available > 11, p.byte(2) == 0 else { return nil }
      let seconds = p.bigEndian(3, as: UInt32.self)
      if rejectZero, seconds == 0 { return nil }
      times.add(seconds)
    case 0xce:
      start = 6
      guard available > 6 else { return nil }
      let seconds = p.bigEndian(2, as: UInt32.self)
      if rejectZero, seconds == 0 { return nil }
      times.add(seconds)
    case 0xc7:
      start = 12
      guard available > 12, p.byte(2) == 8, p.byte(3) == 0 else { return nil }
      let seconds = p.bigEndian(4, as: UInt32.self)
      if rejectZero, seconds == 0 { return nil }
      times.add(seconds)
    case 0xd3:
      start = 10
      guard available > 10 else { return nil }
      if rejectZero, p.bigEndian(2, as: Int64.self) == 0 { return nil }
      times = .unknown
    default: return nil
    }
    return ValueView(unchecked: p + start).isMap ? start : nil
  }

  /// Appends one scanned entry, or says what is wrong with it.
  static func append(_ entry: ValueView, to builder: inout BatchBuilder, zeroTime: EventTime?) -> String? {
    guard entry.kind == .array, entry.count >= 2, var timeView = entry.element(0), let record = entry.element(1) else {
      return "an entry is no array of time and record"
    }
    if timeView.kind == .array { timeView = timeView.element(0) ?? timeView }
    guard record.isMap else { return "a record is no map" }
    guard var time = timeView.eventTime ?? (timeView.isNull ? zeroTime : nil) else { return "a time is no time" }
    if let zeroTime, time.seconds == 0 { time = zeroTime }
    let bytes = record.bytes
    builder.begin(room: bytes.count)
    builder.writer.append(bytes)
    builder.commit(time: time)
    return nil
  }
}
