import AggCore
import Synchronization

/// Which of the events of a stream are taken: every `interval`th, and the first ones of a minute where a least rate is wanted.
///
/// Source: fluent-plugin-sampling-filter 1.2. The counts of a refused batch are taken back. Used from several tasks at once.
final class SampleCounts: Sendable {
  /// Streams come from outside: beyond this many the one seen longest ago starts anew.
  static let maximumStreams = 100_000
  private struct Stream: Sendable {
    var count = 0
    /// When the minute ends; nanoseconds of the monotonic clock.
    var reset: MonotonicTime?
  }
  private let streams = Mutex(RecentTable<Stream>(capacity: maximumStreams))
  private let interval: Int
  private let minimum: Int?

  init(interval: Int, minimumPerMinute: Int?) {
    self.interval = max(interval, 1)
    minimum = minimumPerMinute
  }

  /// What a batch has counted.
  struct Additions: Sendable {
    fileprivate var counts: [(key: [UInt8], count: Int, reset: MonotonicTime?)] = []
  }

  /// Marks the events that are taken; `key` gives each one's stream, nil: all are one.
  func take(_ batch: EventBatch, _ key: (RecordView) -> UnsafeRawBufferPointer, whole: Bool, now: MonotonicTime = .now()) -> (
    taken: [Bool], additions: Additions
  ) {
    var taken = [Bool](repeating: false, count: batch.count)
    var additions = Additions()
    streams.withLock { streams in
      var slot = -1
      var index = 0
      var places: [Int: Int] = [:]
      var last = (slot: -1, place: -1)
      batch.forEachEvent { _, record in
        defer { index += 1 }
        if slot < 0 || !whole {
          let (found, evicted) = streams.use(key(record)) { Stream() }
          // Slots have moved.
          if evicted != nil {
            places.removeAll(keepingCapacity: true)
            last = (-1, -1)
          }
          slot = found
          start(&streams[slot], now)
        }
        streams[slot].count &+= 1
        taken[index] = isTaken(streams[slot].count)
        if last.slot != slot {
          let place = places[slot] ?? additions.counts.count
          if place == additions.counts.count {
            places[slot] = place
            additions.counts.append((streams.key(slot), 0, streams[slot].reset))
          }
          last = (slot, place)
        }
        additions.counts[last.place].count += 1
      }
    }
    return (taken, additions)
  }

  func takeBack(_ additions: Additions) {
    streams.withLock { streams in
      for (key, count, reset) in additions.counts {
        guard let slot = streams.find(key), streams[slot].reset == reset else { continue }
        streams[slot].count = max(0, streams[slot].count &- count)
      }
    }
  }

  private func start(_ stream: inout Stream, _ now: MonotonicTime) {
    guard minimum != nil else { return }
    guard let reset = stream.reset else {
      // The first minutes of many streams do not end together.
      stream.reset = now.adding(nanoseconds: Int64.random(in: 31...60) * 1_000_000_000)
      return
    }
    if now > reset {
      stream.reset = now.adding(nanoseconds: 60_000_000_000)
      stream.count = 0
    }
  }
  private func isTaken(_ count: Int) -> Bool {
    if let minimum, count < minimum { return true }
    return count % interval == 0
  }
}
