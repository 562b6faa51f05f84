extension StrftimeProgram {
  func write(_ d: Directive, _ time: EventTime, _ civil: CivilTime, _ offset: Int, _ zone: Zone, _ out: inout ByteWriter) {
    switch d.letter {
    case UInt8(ascii: "Y"): number(civil.year, civil.year < 0 ? 5 : 4, d, &out)
    case UInt8(ascii: "C"): number(Self.floor(civil.year, 100), 2, d, &out)
    case UInt8(ascii: "y"): number(civil.year - Self.floor(civil.year, 100) * 100, 2, d, &out)
    case UInt8(ascii: "m"): number(Int64(civil.month), 2, d, &out)
    case UInt8(ascii: "d"): number(Int64(civil.day), 2, d, &out)
    case UInt8(ascii: "e"): number(Int64(civil.day), 2, d, &out, blank: true)
    case UInt8(ascii: "j"): number(Int64(civil.dayOfYear), 3, d, &out)
    case UInt8(ascii: "H"): number(Int64(civil.hour), 2, d, &out)
    case UInt8(ascii: "k"): number(Int64(civil.hour), 2, d, &out, blank: true)
    case UInt8(ascii: "I"): number(Int64((civil.hour + 11) % 12 + 1), 2, d, &out)
    case UInt8(ascii: "l"): number(Int64((civil.hour + 11) % 12 + 1), 2, d, &out, blank: true)
    case UInt8(ascii: "M"): number(Int64(civil.minute), 2, d, &out)
    case UInt8(ascii: "S"): number(Int64(civil.second), 2, d, &out)
    case UInt8(ascii: "s"): number(time.seconds, 1, d, &out)
    case UInt8(ascii: "N"): Self.fraction(time.nanoseconds, d.width ?? 9, &out)
    case UInt8(ascii: "L"): Self.fraction(time.nanoseconds, d.width ?? 3, &out)
    case UInt8(ascii: "u"): number(Int64((civil.weekday + 6) % 7 + 1), 1, d, &out)
    case UInt8(ascii: "w"): number(Int64(civil.weekday), 1, d, &out)
    case UInt8(ascii: "G"): number(civil.isoWeek.year, 4, d, &out)
    case UInt8(ascii: "g"):
      let year = civil.isoWeek.year
      number(year - Self.floor(year, 100) * 100, 2, d, &out)
    case UInt8(ascii: "V"): number(Int64(civil.isoWeek.week), 2, d, &out)
    case UInt8(ascii: "U"): number(Int64((civil.dayOfYear + 6 - civil.weekday) / 7), 2, d, &out)
    case UInt8(ascii: "W"): number(Int64((civil.dayOfYear + 6 - (civil.weekday + 6) % 7) / 7), 2, d, &out)
    case UInt8(ascii: "B"): text(Self.name(monthNames, civil.month - 1, 64), d, &out, swapped: .upper)
    case UInt8(ascii: "b"), UInt8(ascii: "h"): text(Self.name(monthNames, civil.month - 1, 3), d, &out, swapped: .upper)
    case UInt8(ascii: "A"): text(Self.name(weekdayNames, civil.weekday, 64), d, &out, swapped: .upper)
    case UInt8(ascii: "a"): text(Self.name(weekdayNames, civil.weekday, 3), d, &out, swapped: .upper)
    case UInt8(ascii: "p"): text(Array((civil.hour < 12 ? "AM" : "PM").utf8), d, &out, swapped: .swapped)
    case UInt8(ascii: "P"): text(Array((civil.hour < 12 ? "am" : "pm").utf8), d, &out, swapped: .upper)
    case UInt8(ascii: "Z"): text(Array(zone.abbreviation(at: time.seconds).utf8), d, &out, swapped: .swapped)
    case UInt8(ascii: "z"): Self.offset(offset, d, isUTC: zone.isUTC, &out)
    default: break
    }
  }

  private static func floor(_ value: Int64, _ by: Int64) -> Int64 { value / by - (value % by < 0 ? 1 : 0) }

  @inline(__always) private func number(
    _ value: Int64, _ width: Int, _ d: Directive, _ out: inout ByteWriter, blank: Bool = false
  ) {
    let isSpaced = d.padding == .space || (blank && d.padding == .standard)
    Self.pad(value, d.padding == .none ? 0 : d.width ?? width, isSpaced ? 32 : 48, &out)
  }

  static func pad(_ value: Int64, _ width: Int, _ fill: UInt8, _ out: inout ByteWriter) {
    var digits: (UInt64, UInt64, UInt64) = (0, 0, 0)
    withUnsafeMutableBytes(of: &digits) { buffer in
      var k = buffer.count
      var rest = value.magnitude
      repeat {
        k -= 1
        buffer[k] = 48 + UInt8(truncatingIfNeeded: rest % 10)
        rest /= 10
      } while rest > 0
      let count = buffer.count - k
      let filler = max(0, width - count - (value < 0 ? 1 : 0))
      if value < 0, fill == 48 { out.append(UInt8(ascii: "-")) }
      for _ in 0..<filler { out.append(fill) }
      if value < 0, fill != 48 { out.append(UInt8(ascii: "-")) }
      out.append(UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(buffer)[k...]))
    }
  }

  /// The first `width` digits of the fraction of a second.
  static func fraction(_ nanoseconds: UInt32, _ width: Int, _ out: inout ByteWriter) {
    var unit: UInt32 = 100_000_000
    for _ in 0..<max(width, 1) {
      out.append(unit == 0 ? 48 : 48 + UInt8(truncatingIfNeeded: nanoseconds / unit % 10))
      unit /= 10
    }
  }

  private static func name(_ names: [StaticString], _ index: Int, _ length: Int) -> [UInt8] {
    guard names.indices.contains(index) else { return [] }
    var bytes = Array(UnsafeBufferPointer(start: names[index].utf8Start, count: min(length, names[index].utf8CodeUnitCount)))
    bytes[0] &= 0xdf
    return bytes
  }

  private func text(_ bytes: [UInt8], _ d: Directive, _ out: inout ByteWriter, swapped: Case) {
    if d.padding != .none, let width = d.width {
      for _ in 0..<max(0, width - bytes.count) { out.append(d.padding == .zero ? 48 : 32) }
    }
    let letters = d.letters == .swapped ? swapped : d.letters
    for byte in bytes {
      let isLower = byte &- 97 < 26
      let isUpper = byte &- 65 < 26
      switch letters {
      case .upper: out.append(isLower ? byte & 0xdf : byte)
      case .swapped: out.append(isUpper ? byte | 0x20 : byte)
      case .asIs: out.append(byte)
      }
    }
  }

  private static func offset(_ seconds: Int, _ d: Directive, isUTC: Bool, _ out: inout ByteWriter) {
    let magnitude = abs(seconds)
    let parts = [magnitude / 3600, magnitude / 60 % 60, magnitude % 60]
    let count = d.colons == 2 ? 3 : 2
    let tail = (count - 1) * (d.colons > 0 ? 3 : 2)
    let sign = UInt8(ascii: seconds < 0 || (isUTC && d.padding == .none) ? "-" : "+")  // `%-z` is RFC 3339's unknown offset
    let hourDigits = max(2, (d.width ?? 0) - tail - 1)
    if d.padding == .space {
      let digits = parts[0] < 10 ? 1 : 2
      for _ in 0..<max(0, hourDigits - digits) { out.append(32) }
      out.append(sign)
      pad(Int64(parts[0]), 0, 48, &out)
    } else {
      out.append(sign)
      pad(Int64(parts[0]), hourDigits, 48, &out)
    }
    for part in parts[1..<count] {
      if d.colons > 0 { out.append(UInt8(ascii: ":")) }
      pad(Int64(part), 2, 48, &out)
    }
  }
}
