extension EventBatch {
  /// The events for which `keep` says true; shares the block when that is all, or one run of them.
  @inlinable public func filtered<E: Error>(_ keep: (EventTime, RecordView) throws(E) -> Bool) throws(E) -> EventBatch {
    var runs = EventRuns(self)
    try forEach { (event: EventView) throws(E) in runs.add(event, try keep(event.time, event.record)) }
    return runs.finish()
  }

  /// Both halves, in order: the events that `belongs` takes, and the rest.
  @inlinable public func split<E: Error>(
    _ belongs: (EventTime, RecordView) throws(E) -> Bool
  ) throws(E) -> (matching: EventBatch, rest: EventBatch) {
    var matching = EventRuns(self)
    var rest = EventRuns(self)
    try forEach { (event: EventView) throws(E) in
      let belongs = try belongs(event.time, event.record)
      matching.add(event, belongs)
      rest.add(event, !belongs)
    }
    return (matching.finish(), rest.finish())
  }

  /// A new batch of what `body` writes for each event: `begin`, one map, `commit`; or nothing; or several.
  @inlinable public func rewritten<E: Error>(
    _ body: (EventTime, RecordView, inout BatchBuilder) throws(E) -> Void
  ) throws(E) -> EventBatch {
    var builder = BatchBuilder(capacity: byteCount &+ byteCount / 4)
    var cursor = EventCursor(unchecked: bytes)
    while let event = cursor.next() { try body(event.time, event.record, &builder) }
    withExtendedLifetime(block) {}
    return builder.finish(tag: tag)
  }

  /// The first `n` events and those after them; both share the block.
  public func split(at n: Int) -> (first: EventBatch, rest: EventBatch) {
    if n <= 0 { return (.empty(tag), self) }
    if n >= count { return (self, .empty(tag)) }
    let middle = withBytes { bytes in
      var cursor = EventCursor(unchecked: bytes)
      for _ in 0..<n { _ = cursor.next() }
      return range.lowerBound + (cursor.position - bytes.baseAddress!)  // not empty: count > n > 0
    }
    return (
      EventBatch(unchecked: block, range: range.lowerBound..<middle, count: n, tag: tag, times: times),
      EventBatch(unchecked: block, range: middle..<range.upperBound, count: count - n, tag: tag, times: times)
    )
  }

  public func prefix(_ n: Int) -> EventBatch { split(at: n).first }
  public func dropFirst(_ n: Int) -> EventBatch { split(at: n).rest }

  /// Every event with its time replaced; the records are copied as they are.
  public func retimed(_ newTime: (EventTime, RecordView) -> EventTime) -> EventBatch {
    rewritten { time, record, builder in
      let bytes = record.bytes
      builder.begin(room: bytes.count)
      builder.writer.append(bytes)
      builder.commit(time: newTime(time, record))
    }
  }
}

/// Collects some of a batch's events as runs: one run is a slice, several are copied.
@usableFromInline struct EventRuns: ~Copyable {
  @usableFromInline let batch: EventBatch
  @usableFromInline let base: UnsafeRawPointer
  /// The run that is still growing, as offsets into the block.
  @usableFromInline var start = 0
  @usableFromInline var end = 0
  @usableFromInline var runCount = 0
  /// Runs that were copied since another one followed.
  var copied: BatchBuilder?

  @usableFromInline init(_ batch: EventBatch) {
    self.batch = batch
    base = batch.block.base
  }

  @inlinable @inline(__always) mutating func add(_ event: EventView, _ wanted: Bool) {
    guard wanted else { return }
    let position = event.bytes.baseAddress! - base  // an event is never empty
    if position != end || runCount == 0 {
      closeRun()
      start = position
    }
    end = position &+ event.bytes.count
    runCount &+= 1
  }

  @usableFromInline mutating func closeRun() {
    guard runCount > 0 else { return }
    if copied == nil { copied = BatchBuilder(capacity: batch.byteCount) }
    copied?.append(events: UnsafeRawBufferPointer(rebasing: batch.block.bytes[start..<end]), count: runCount, times: batch.times)
    runCount = 0
  }

  @usableFromInline consuming func finish() -> EventBatch {
    let batch = batch
    if copied == nil {
      if runCount == 0 { return .empty(batch.tag) }
      return EventBatch(unchecked: batch.block, range: start..<end, count: runCount, tag: batch.tag, times: batch.times)
    }
    closeRun()
    return copied.take()?.finish(tag: batch.tag) ?? .empty(batch.tag)
  }
}
