/// Cuts a stream of messages that each begin with their length and a blank (RFC 6587, section 3.4.1).
package struct OctetFrames {
  package enum Result {
    /// The whole messages and how many bytes they take; the rest waits.
    case messages([UnsafeRawBufferPointer], taken: Int)
    /// Nothing further can be read behind these.
    case broken([UnsafeRawBufferPointer], reason: String)
  }
  /// Longer messages are not waited for.
  let limit: Int
  package init(limit: Int) { self.limit = limit }

  /// The messages point into `bytes`.
  package func messages(_ bytes: UnsafeRawBufferPointer) -> Result {
    var messages: [UnsafeRawBufferPointer] = []
    var at = 0
    while at < bytes.count {
      var digits = at
      // Senders that end messages with a line break, too.
      while digits < bytes.count, bytes[digits] == 0x20 || (0x09...0x0d).contains(bytes[digits]) { digits += 1 }
      // The end of a message, not the beginning of one.
      if digits == bytes.count { return .messages(messages, taken: digits) }
      var length = 0
      var end = digits
      while end < bytes.count, bytes[end] &- 0x30 < 10, end - digits < 10 {
        length = length * 10 + Int(bytes[end] &- 0x30)
        end += 1
      }
      if end == bytes.count, end - digits < 10 { break }
      guard end > digits, end < bytes.count, bytes[end] == 0x20 else {
        return .broken(messages, reason: "no length of a message: \(QuietLog.excerpt(UnsafeRawBufferPointer(rebasing: bytes[digits...].prefix(40))))")
      }
      guard length <= limit else { return .broken(messages, reason: "a message of \(length) bytes is longer than \(limit)") }
      guard bytes.count - (end + 1) >= length else { break }
      messages.append(UnsafeRawBufferPointer(rebasing: bytes[(end + 1)..<(end + 1 + length)]))
      at = end + 1 + length
    }
    return .messages(messages, taken: at)
  }
}
