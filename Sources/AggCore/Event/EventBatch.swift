/// A run of events with one tag: `count` MessagePack arrays `[time, record]`, back to back.
///
/// Only validated bytes become a batch (`BatchBuilder`, `EventBatch.validating`), so readers need not check again.
/// Copying shares the block. `time` is EventTime (fixext8 or ext8, type 0) or an integer, as it came.
public struct EventBatch: Sendable {
  public var tag: Tag
  public let count: Int
  public let block: Block
  /// The part of `block` that this batch is.
  public let range: Range<Int>
  public let times: TimeBounds

  /// The caller vouches that `range` holds exactly `count` valid events, with times within `times`.
  public init(unchecked block: Block, range: Range<Int>, count: Int, tag: Tag, times: TimeBounds = .unknown) {
    self.times = times
    self.tag = tag
    self.count = count
    self.block = block
    self.range = range
  }

  public static func empty(_ tag: Tag) -> EventBatch { EventBatch(unchecked: emptyBlock, range: 0..<0, count: 0, tag: tag, times: .none) }

  public var isEmpty: Bool { count == 0 }
  public var byteCount: Int { range.count }
  /// Valid as long as the batch (its block) lives: keep it with `withExtendedLifetime`, or use `withBytes`.
  public var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: block.bytes[range]) }

  public func withBytes<R, E: Error>(_ body: (UnsafeRawBufferPointer) throws(E) -> R) throws(E) -> R {
    let result = try body(bytes)
    withExtendedLifetime(block) {}
    return result
  }

  public func tagged(_ tag: Tag) -> EventBatch { EventBatch(unchecked: block, range: range, count: count, tag: tag, times: times) }
}

private let emptyBlock = Block(ByteWriter(capacity: 64))
