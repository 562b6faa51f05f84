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

  /// Most batches lie in one slice: found out without copying.
  private func divideByTime(_ batch: EventBatch, _ tag: Tag?) -> [(metadata: ChunkMetadata, batch: EventBatch)] {
    var slices: [Int64] = []
    var last: Int64?
    var lastRange: Range<Int64> = 0..<0
    batch.forEachEvent { time, _ in
      if lastRange.contains(time.seconds) { return }
      let slice = timekey(time.seconds) ?? 0
      // A slice ends early where the zone's offset changes; within it every second has the same start.
      lastRange = slice..<max(slice, time.seconds) &+ 1
      if slice != last, !slices.contains(slice) { slices.append(slice) }
      last = slice
    }
    if slices.count <= 1 { return [(ChunkMetadata(tag: tag, timekey: slices.first ?? 0), batch)] }
    return slices.map { slice in
      (ChunkMetadata(tag: tag, timekey: slice), batch.filtered { time, _ in timekey(time.seconds) == slice })
    }
  }
}
