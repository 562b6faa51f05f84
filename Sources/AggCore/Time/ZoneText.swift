/// Zones as they stand in a text: `+09:00`, `Z`, `EST`, `JST`.
enum ZoneText {
  /// How many bytes at `i` Ruby's `%Z` takes; nil when there is no zone.
  static func length(_ text: UnsafeRawBufferPointer, _ i: Int) -> Int? {
    var k = i
    for prefix in ["gmt", "utc", "ut"] as [StaticString] where matches(text, i, prefix) {
      let next = i + prefix.utf8CodeUnitCount
      if next < text.count, isSign(text[next]), next + 1 < text.count, isDigit(text[next + 1]) {
        k = next
        break
      }
    }
    guard k < text.count else { return nil }
    if isSign(text[k]) {
      k += 1
      guard k < text.count, isDigit(text[k]) else { return nil }
      while k < text.count, isDigit(text[k]) { k += 1 }
      if k + 1 < text.count, text[k] == UInt8(ascii: ":") || text[k] == UInt8(ascii: ".") || text[k] == UInt8(ascii: ","),
        isDigit(text[k + 1])
      {
        k += 1
        while k < text.count, isDigit(text[k]) { k += 1 }
        if k + 1 < text.count, text[k] == UInt8(ascii: ":"), isDigit(text[k + 1]) {
          k += 1
          while k < text.count, isDigit(text[k]) { k += 1 }
        }
      }
      return k - i
    }
    while k < text.count, isLetter(text[k]) { k += 1 }
    guard k > i, k == text.count || !(isDigit(text[k]) || text[k] == UInt8(ascii: "_")) else { return nil }
    return k - i
  }

  /// Seconds east of Greenwich of a zone that Ruby's `Time.zone_offset` knows; others are taken as local.
  static func offset(_ zone: UnsafeRawBufferPointer) -> Int? {
    guard let first = zone.first else { return nil }
    if isSign(first) {
      var digits: [Int] = []
      digits.reserveCapacity(6)
      var colons = 0
      for (index, byte) in zone.enumerated().dropFirst() {
        if isDigit(byte) {
          guard digits.count < 6 else { return nil }
          digits.append(Int(byte) - 48)
        } else if byte == UInt8(ascii: ":"), index == 3 || index == 6 {
          colons += 1
        } else {
          return nil
        }
      }
      guard digits.count == 2 && colons == 0 || digits.count == 4 && colons <= 1 || digits.count == 6 && colons != 1 else {
        return nil
      }
      var total = (digits[0] * 10 + digits[1]) * 3600
      if digits.count >= 4 { total += (digits[2] * 10 + digits[3]) * 60 }
      if digits.count == 6 { total += digits[4] * 10 + digits[5] }
      return first == UInt8(ascii: "-") ? -total : total
    }
    guard zone.count <= 3 else { return nil }
    if zone.count == 1 {
      let letter = first | 0x20
      switch letter {
      case UInt8(ascii: "z"): return 0
      case UInt8(ascii: "a")...UInt8(ascii: "i"): return (Int(letter) - 96) * 3600
      case UInt8(ascii: "k")...UInt8(ascii: "m"): return (Int(letter) - 97) * 3600
      case UInt8(ascii: "n")...UInt8(ascii: "y"): return -(Int(letter) - 109) * 3600
      default: return nil
      }
    }
    for (name, hours) in named where name.utf8CodeUnitCount == zone.count && matches(zone, 0, name) { return hours * 3600 }
    return nil
  }

  private static let named: [(StaticString, Int)] = [
    ("utc", 0), ("gmt", 0), ("ut", 0), ("est", -5), ("edt", -4), ("cst", -6), ("cdt", -5), ("mst", -7), ("mdt", -6), ("pst", -8),
    ("pdt", -7),
  ]

  private static func matches(_ text: UnsafeRawBufferPointer, _ i: Int, _ name: StaticString) -> Bool {
    let count = name.utf8CodeUnitCount
    guard i + count <= text.count else { return false }
    for k in 0..<count where text[i + k] | 0x20 != name.utf8Start[k] { return false }
    return true
  }
  private static func isSign(_ byte: UInt8) -> Bool { byte == UInt8(ascii: "+") || byte == UInt8(ascii: "-") }
  static func isDigit(_ byte: UInt8) -> Bool { byte &- 48 <= 9 }
  static func isLetter(_ byte: UInt8) -> Bool { (byte | 0x20) &- 97 < 26 }
}
