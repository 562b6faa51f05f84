import Glibc

/// A range of addresses: `192.168.0.0/16`, `fd00::/8`, or one address.
package struct IPNetwork: Sendable, Hashable {
  private let address: [UInt8]
  private let bits: Int

  /// Nil when the text is no address with an optional prefix length (or an IPv4 netmask, `10.0.0.0/255.0.0.0`).
  package init?(_ text: String) {
    let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
    guard let first = parts.first, let address = Self.bytes(first) else { return nil }
    self.address = address
    guard parts.count == 2 else {
      bits = address.count * 8
      return
    }
    if let bits = Int(parts[1]), (0...address.count * 8).contains(bits) {
      self.bits = bits
    } else if address.count == 4, let mask = Self.bytes(parts[1]), mask.count == 4 {
      let value = mask.reduce(0 as UInt32) { $0 << 8 | UInt32($1) }
      bits = value.nonzeroBitCount
      // Ones, then zeros.
      guard value == (bits == 0 ? 0 : UInt32.max << UInt32(32 - bits)) else { return nil }
    } else {
      return nil
    }
  }

  package func contains(_ text: String) -> Bool {
    guard let other = Self.bytes(text), other.count == address.count else { return false }
    for index in 0..<address.count {
      let n = min(max(bits - index * 8, 0), 8)
      let mask = n == 0 ? 0 : UInt8.max << UInt8(8 - n)
      if address[index] & mask != other[index] & mask { return false }
    }
    return true
  }

  private static func bytes(_ text: String) -> [UInt8]? {
    var buffer = [UInt8](repeating: 0, count: 16)
    if inet_pton(AF_INET, text, &buffer) == 1 { return Array(buffer.prefix(4)) }
    return inet_pton(AF_INET6, text, &buffer) == 1 ? buffer : nil
  }
}
