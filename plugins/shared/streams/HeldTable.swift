import AggCore

/// What a filter holds, one growing event a stream, and what the batch at hand has changed of it.
///
/// Not synchronised; lives in the lock of `HeldStreams`.
struct HeldTable: Sendable {
  private var streams = RecentTable<HeldEvent>(capacity: .max)
  private var nextSerial: UInt64 = 1
  /// What the streams that this batch has touched held before it.
  private var before: [[UInt8]: Earlier] = [:]
  private(set) var byteCount = 0

  struct Earlier: Sendable { var event: HeldEvent? }

  var count: Int { streams.count }
  var oldestSlot: Int? { streams.oldest }
  var oldest: HeldEvent? { streams.oldest.map { streams[$0] } }

  func find(_ key: UnsafeRawBufferPointer) -> Int? { streams.find(key) }
  subscript(slot: Int) -> HeldEvent { streams[slot] }

  /// Holds an event for a stream that has none.
  mutating func begin(_ key: UnsafeRawBufferPointer, _ event: HeldEvent) {
    var event = event
    event.serial = nextSerial
    nextSerial += 1
    let (slot, _) = streams.use(key) { event }
    byteCount += event.byteCount
    remember(streams.key(slot), nil)
  }

  /// Adds to what a stream holds; `isUsed`: its time to wait begins again.
  mutating func change(_ slot: Int, isUsed: Bool, _ body: (inout HeldEvent) -> Void) {
    remember(streams.key(slot), streams[slot])
    byteCount -= streams[slot].byteCount
    body(&streams[slot])
    byteCount += streams[slot].byteCount
    if isUsed { streams.touch(slot) }
  }

  /// Lets go what a stream holds.
  mutating func take(_ slot: Int) -> HeldEvent {
    let (key, event) = streams.remove(slot)
    remember(key, event)
    byteCount -= event.byteCount
    return event
  }

  private mutating func remember(_ key: [UInt8], _ event: HeldEvent?) {
    if before.isEmpty || before[key] == nil { before[key] = Earlier(event: event) }
  }

  /// Ends the batch: what is to be stored with it, and what it was before.
  mutating func settle() -> (spans: [SourceSpan], earlier: [[UInt8]: Earlier]) {
    var spans: [SourceSpan] = []
    for (key, earlier) in before {
      let now = streams.find(key).map { streams[$0] }
      if let gone = earlier.event, gone.serial != now?.serial { spans.append(SourceSpan(key: Self.name(gone.serial), state: [])) }
      if let now { spans.append(SourceSpan(key: Self.name(now.serial), state: now.encoded(key))) }
    }
    let earlier = before
    before = [:]
    return (spans, earlier)
  }

  /// The batch was refused.
  mutating func undo(_ earlier: [[UInt8]: Earlier]) {
    for key in earlier.keys { if let slot = streams.find(key) { byteCount -= streams.remove(slot).value.byteCount } }
    // Those that have waited longest come first again.
    let events = earlier.compactMap { key, earlier in earlier.event.map { (key: key, event: $0) } }
    for (key, event) in events.sorted(by: { ($0.event.since, $0.event.serial) < ($1.event.since, $1.event.serial) }) { put(key, event) }
  }

  private mutating func put(_ key: [UInt8], _ event: HeldEvent) {
    let (slot, _) = key.withUnsafeBytes { streams.use($0) { event } }
    streams[slot] = event
    byteCount += event.byteCount
  }

  /// Takes what an earlier run stored under `name`; false when it is none of this filter's.
  mutating func restore(_ name: String, _ state: [UInt8], since: MonotonicTime) -> Bool {
    guard let serial = Self.serial(name), let (key, decoded) = HeldEvent.decode(state, since: since) else { return false }
    var event = decoded
    event.serial = serial
    nextSerial = max(nextSerial, serial + 1)
    if streams.find(key) != nil { return false }
    put(key, event)
    return true
  }

  static func name(_ serial: UInt64) -> String { "held \(serial)" }
  private static func serial(_ name: String) -> UInt64? {
    guard name.hasPrefix("held "), let serial = UInt64(name.dropFirst(5)), serial < 1 << 62 else { return nil }
    return serial
  }
}
