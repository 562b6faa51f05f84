package import AggCore

/// How fast a memory buffer empties, and whether a source should wait for it instead of piling up memory.
///
/// A tail reads faster than any output writes. Without a pause it fills the buffer up to its limit, and every byte goes through memory
/// that is no longer in a cache. Only an output that works and is fast is waited for: what is slow, or stands, has its whole buffer,
/// as `total_limit_size` says, and holds up nobody before that is full.
package struct Pace {
  /// Bytes a second; below, an output is slow and its buffer is for it.
  static let fast = 32.0e6
  /// What may wait beside `chunks` chunks of the largest size.
  static let least = 8 << 20
  static let chunks = 1
  /// Nanoseconds that a rate is taken over, at least; and how long it holds after the last delivery.
  private static let window: Int64 = 20_000_000
  private static let validity: Int64 = 200_000_000

  private var begun = MonotonicTime(nanoseconds: 0)
  private var last = MonotonicTime(nanoseconds: 0)
  private var bytes = 0
  private var rate = 0.0

  package init() {}

  package mutating func delivered(_ n: Int, at now: MonotonicTime) {
    // After a pause its time is nobody's.
    if now.since(last) > Self.validity { (begun, bytes, rate) = (now, 0, 0) } else { bytes += n }
    last = now
    let time = now.since(begun)
    guard time >= Self.window else { return }
    rate = Double(bytes) * 1e9 / Double(time)
    (begun, bytes) = (now, 0)
  }

  package func isFast(at now: MonotonicTime) -> Bool { rate >= Self.fast && now.since(last) <= Self.validity }
}
