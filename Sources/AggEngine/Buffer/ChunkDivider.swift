public import AggCore

/// Splits a batch by chunk keys; whole batches pass untouched when only `tag`, or nothing, is a key.
public struct ChunkDivider: Sendable {
  public let keys: ChunkKeys
  private let fields: [RecordPath]
  private let zone: Zone?

  public init(_ keys: ChunkKeys) throws(ConfigValueError) {
    self.keys = keys
    fields = try keys.fields.map { (text) throws(ConfigValueError) in try RecordPath(text) }
    if keys.time {
      zone = keys.timekeyUTC ? .utc : try keys.timekeyZone.map { (text) throws(ConfigValueError) in try Zone(configText: text) } ?? .local()
    } else {
      zone = nil
    }
  }

  /// Start of the slice that holds `seconds`, aligned to the zone's midnight as Fluentd does.
  public func timekey(_ seconds: Int64) -> Int64? {
    guard let length = keys.timekey, length > 0, let zone else { return nil }
    let offset = keys.timekeyUTC ? 0 : Int64(zone.offset(at: seconds))
    let local = seconds &+ offset
    let remainder = ((local % length) + length) % length
    return seconds &- remainder
  }

  public func divide(_ batch: EventBatch) -> [(metadata: ChunkMetadata, batch: EventBatch)] {
    let tag = keys.tag ? batch.tag : nil
    if !keys.time, fields.isEmpty { return [(ChunkMetadata(tag: tag), batch)] }
    if fields.isEmpty { return divideByTime(batch, tag) }
    var order: [ChunkMetadata] = []
    var builders: [ChunkMetadata: Int] = [:]
    var owner: [Int] = []
    owner.reserveCapacity(batch.count)
    batch.forEachEvent { time, record in
      var metadata = ChunkMetadata(tag: tag, timekey: keys.time ? timekey(time.seconds) : nil)
      for (field, name) in zip(fields, keys.fields) {
        metadata.variables.append(.init(name: name, value: field.find(record).flatMap { $0.isNull ? nil : $0.displayText }))
      }
      if let index = builders[metadata] { owner.append(index) } else {
        builders[metadata] = order.count
        owner.append(order.count)
        order.append(metadata)
      }
    }
    if order.count == 1 { return [(order[0], batch)] }
    return order.indices.map { index in
      var at = -1
      let part = batch.filtered { _, _ in
        at += 1
        return owner[at] == index
      }
      return (order[index], part)
    }
  }

  /// The slice that all times between the bounds are in, where that can be said without looking at each.
  private func commonSlice(_ times: TimeBounds) -> Int64? {
    guard times.isKnown, let length = keys.timekey, let slice = timekey(Int64(times.low)) else { return nil }
    if times.low == times.high { return slice }
    let (low, high) = (Int64(times.low), Int64(times.high))
    // Where the zone's offset changes between them, slices end elsewhere.
    guard high - low < length, timekey(high) == slice, hasOneOffset(low, high) else { return nil }
    return slice
  }
  private func hasOneOffset(_ a: Int64, _ b: Int64) -> Bool { keys.timekeyUTC || zone?.offset(at: a) == zone?.offset(at: b) }

  /// Most batches lie in one slice: found out without copying.
  private func divideByTime(_ batch: EventBatch, _ tag: Tag?) -> [(metadata: ChunkMetadata, batch: EventBatch)] {
    if let slice = commonSlice(batch.times) { return [(ChunkMetadata(tag: tag, timekey: slice), batch)] }
    var slices: [Int64] = []
    var last: Int64?
    var lastRange: Range<Int64> = 0..<0
    batch.forEachEvent { time, _ in
      if lastRange.contains(time.seconds) { return }
      let slice = timekey(time.seconds) ?? 0
      // Seconds on this side of a change of the zone's offset have the same start; on the other it may be another one.
      lastRange = hasOneOffset(slice, time.seconds) ? slice..<max(slice, time.seconds) &+ 1 : time.seconds..<time.seconds &+ 1
      if slice != last, !slices.contains(slice) { slices.append(slice) }
      last = slice
    }
    if slices.count <= 1 { return [(ChunkMetadata(tag: tag, timekey: slices.first ?? 0), batch)] }
    return slices.map { slice in
      (ChunkMetadata(tag: tag, timekey: slice), batch.filtered { time, _ in timekey(time.seconds) == slice })
    }
  }
}
