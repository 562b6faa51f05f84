package import NIOCore

/// Tells when a reader rests a little before it looks again, so that several messages come with one read.
///
/// Waking for each of 10,000 messages a second costs a fifth of a core, most of it the system's; once a millisecond costs a tenth of that.
/// A peer that is answered may be waiting for the answer before it sends more, and one that sends seldom is read at once.
package struct ReadPace: Sendable {
  package static let rest = TimeAmount.milliseconds(1)
  /// Of a datagram socket, whose kernel drops what it has no room for: a burst that fills `room` bytes while it rests has to come at
  /// two bytes a nanosecond, frames included. Nil: too little room to rest at all.
  package static func rest(room: Int) -> TimeAmount? { room < 128 << 10 ? nil : .nanoseconds(min(rest.nanoseconds, Int64(room) / 2)) }
  /// Reads that were further apart, or brought more, are no reason.
  private static let apart = TimeAmount.microseconds(2500)
  private static let small = 16 << 10
  /// So many in a row are.
  private static let many = 16

  private var streak = 0
  private var last = NIODeadline.uptimeNanoseconds(0)

  package var rests: Bool { streak >= Self.many }

  package init() {}

  package mutating func got(_ count: Int, at now: NIODeadline) {
    streak = count < Self.small && now - last < Self.apart ? streak + 1 : 0
    last = now
  }
  package mutating func answered() { streak = 0 }
}
