/// How much longer a peer may take for the message that it has begun.
///
/// Counted is only the time that the reader waits for bytes, so that a consumer that is slow, or suspended, cuts nobody off. Each
/// `bytesPerSecond` of the message give a second more: a large message on a slow line comes through, a byte now and then does not.
package struct MessagePatience: Sendable {
  package static let bytesPerSecond: Int64 = 4096

  private let limit: Int64
  /// Nanoseconds waited for the message, and its bytes so far (a few more may be those of the one before it).
  private var waited: Int64 = 0
  private var received: Int64 = 0
  /// What the reader had when it was given the last bytes.
  private var held = 0
  private var wasInside = false
  /// A message has begun and not ended.
  package private(set) var isPartial = false

  /// Nil for a limit that is not positive: no limit.
  package init?(_ limit: Duration) {
    let nanoseconds = limit.nanoseconds
    guard nanoseconds > 0 else { return nil }
    self.limit = nanoseconds
  }

  /// A read begins. `held`: bytes that the reader could not use yet; fewer than it had tell that a message has ended.
  /// `isInside`: it has dropped the beginning of one that is too long.
  package mutating func begin(held count: Int, isInside: Bool) {
    let goesOn = isInside && wasInside || count > 0 && count == held
    if !goesOn { (waited, received) = (0, 0) }
    isPartial = count > 0 || isInside
    wasInside = isInside
  }

  package mutating func got(_ count: Int, held total: Int) {
    received += Int64(count)
    held = total
  }

  /// Of a partial message.
  package mutating func wait(_ nanoseconds: Int64) { waited += max(0, nanoseconds) }

  /// Nanoseconds, 0 or less when its time is over.
  package var left: Int64 { Self.extended(limit, by: received) - waited }

  /// The limit of a message of which so many bytes have come.
  package static func extended(_ limit: Int64, by bytes: Int64) -> Int64 {
    let (more, tooMuch) = bytes.multipliedReportingOverflow(by: 1_000_000_000 / bytesPerSecond)
    let (sum, isOver) = limit.addingReportingOverflow(more)
    return tooMuch || isOver ? .max : sum
  }
}

extension Duration {
  /// At most some 292 years.
  var nanoseconds: Int64 {
    let (seconds, attoseconds) = components
    let (whole, isOver) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
    let (sum, isBeyond) = whole.addingReportingOverflow(attoseconds / 1_000_000_000)
    return isOver || isBeyond ? (seconds < 0 ? .min : .max) : sum
  }
}
