package import AggCore

/// When the events of one chunk came in: exactly for the latest, coarser the longer ago, in bounded room.
///
/// One entry a batch. When there are too many, neighbours that are close for their age become one, under the earlier time: what is told is
/// never too short, and too long by a part of the age.
package struct Arrivals: Sendable {
  package struct Entry: Sendable, Equatable {
    package var at: MonotonicTime
    package var count: Int
    /// Of the latest event in it.
    var last: MonotonicTime
  }
  package static let limit = 64
  /// Batches within a millisecond are one entry.
  private static let grain: Int64 = 1_000_000
  package private(set) var entries: [Entry] = []
  package init() {}

  package mutating func add(_ n: Int, at time: MonotonicTime) {
    if let last = entries.last, time.since(last.at) < Self.grain {
      let place = entries.count - 1
      entries[place].count += n
      // One that waited for room comes behind later ones.
      if time < last.at { entries[place].at = place > 0 ? max(time, entries[place - 1].last) : time }
      return
    }
    if entries.count == Self.limit { join(now: time) }
    entries.append(Entry(at: time, count: n, last: time))
  }

  /// Frees a quarter at least, so that it is seldom done.
  private mutating func join(now: MonotonicTime) {
    var part = 0.05
    while entries.count > Self.limit * 3 / 4 {
      var joined: [Entry] = []
      joined.reserveCapacity(Self.limit)
      for entry in entries {
        if let before = joined.last, Double(entry.last.since(before.at)) <= part * Double(now.since(entry.last)) {
          joined[joined.count - 1].count += entry.count
          joined[joined.count - 1].last = entry.last
        } else {
          joined.append(entry)
        }
      }
      entries = joined
      part *= 1.5
    }
  }

  /// A batch was taken back: it is among the latest.
  package mutating func remove(_ n: Int) {
    var left = n
    while left > 0, let last = entries.last {
      let part = min(left, last.count)
      left -= part
      if part == last.count { entries.removeLast() } else { entries[entries.count - 1].count -= part }
    }
  }

  /// How long ago at most `n` of the events came.
  package func ages(of n: Int, now: MonotonicTime) -> LatencyHistogram {
    var histogram = LatencyHistogram()
    var left = n
    for entry in entries where left > 0 {
      histogram.add(min(left, entry.count), nanoseconds: now.since(entry.at))
      left -= min(left, entry.count)
    }
    return histogram
  }
}
