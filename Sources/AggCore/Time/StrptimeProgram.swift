/// A Ruby `strptime` format, compiled once and run over bytes without allocating.
///
/// Fluentd reads with the strptime gem where the gem knows every directive (`b d e h m n y z B H M N S Y`), else with
/// Ruby's `Time.strptime`; the two differ in what digits and blanks they take, so both are here. Text after the last
/// directive is ignored, as both do.
public struct StrptimeProgram: Sendable {
  enum Op: Sendable {
    case literal(UInt8)
    case blanks
    case year(maximum: Int)
    case century, shortYear, month, monthName, day, dayOfYear, hour, hour12, minute, second, meridian
    /// `maximum` digits at most, as a fraction of a second.
    case fraction(maximum: Int)
    case epoch, epochMillis, offset, zone, weekdayName
    case weekday(lowest: Int)
    case isoYear, isoWeek
    case week(fromMonday: Bool)
  }

  public let format: String
  let ops: [Op]
  /// The gem's dialect, or Ruby's.
  let isGem: Bool
  /// Whether the text brings its own zone (`%z`, `%Z`).
  public let hasZone: Bool

  /// Throws when the format ends in `%`.
  public init(_ format: String) throws(ConfigValueError) {
    self.format = format
    let bytes = Array(format.utf8)
    isGem = Self.isGem(bytes)
    var ops: [Op] = []
    try Self.compile(bytes, &ops, isGem: isGem)
    self.ops = ops
    hasZone = ops.contains { op in
      switch op {
      case .offset, .zone: true
      default: false
      }
    }
  }

  private static func isGem(_ bytes: [UInt8]) -> Bool {
    var i = 0
    while i < bytes.count {
      if bytes[i] == UInt8(ascii: "%") {
        guard i + 1 < bytes.count, "BHMNSYbdehmnyz".utf8.contains(bytes[i + 1]) else { return false }
        i += 1
      }
      i += 1
    }
    return true
  }

  private static func compile(_ bytes: [UInt8], _ ops: inout [Op], isGem: Bool) throws(ConfigValueError) {
    var i = 0
    while i < bytes.count {
      let c = bytes[i]
      i += 1
      if c == 32 || (9...13).contains(c) {
        ops.append(.blanks)
        continue
      }
      guard c == UInt8(ascii: "%") else {
        ops.append(.literal(c))
        continue
      }
      let start = i
      var width: Int?
      while i < bytes.count, bytes[i] == UInt8(ascii: "E") || bytes[i] == UInt8(ascii: "O") || bytes[i] == UInt8(ascii: ":") {
        i += 1
      }
      while i < bytes.count, bytes[i] >= 48, bytes[i] <= 57 {
        width = min((width ?? 0) * 10 + Int(bytes[i]) - 48, 18)
        i += 1
      }
      guard i < bytes.count else { throw ConfigValueError("the time format ends in '%'") }
      let directive = bytes[i]
      if i > start, directive != UInt8(ascii: "z"), directive != UInt8(ascii: "N"), directive != UInt8(ascii: "L"), width != nil {
        ops.append(.literal(c))
        i = start
        continue
      }
      i += 1
      let isBeforeDigits = isNumeric(bytes, i)
      switch directive {
      case UInt8(ascii: "Y"): ops.append(.year(maximum: isGem || isBeforeDigits ? 4 : 9))
      case UInt8(ascii: "C"): ops.append(.century)
      case UInt8(ascii: "y"): ops.append(.shortYear)
      case UInt8(ascii: "m"): ops.append(.month)
      case UInt8(ascii: "B"), UInt8(ascii: "b"), UInt8(ascii: "h"): ops.append(.monthName)
      case UInt8(ascii: "d"), UInt8(ascii: "e"): ops.append(.day)
      case UInt8(ascii: "j"): ops.append(.dayOfYear)
      case UInt8(ascii: "H"), UInt8(ascii: "k"): ops.append(.hour)
      case UInt8(ascii: "I"), UInt8(ascii: "l"): ops.append(.hour12)
      case UInt8(ascii: "M"): ops.append(.minute)
      case UInt8(ascii: "S"): ops.append(.second)
      case UInt8(ascii: "p"), UInt8(ascii: "P"): ops.append(.meridian)
      case UInt8(ascii: "N"): ops.append(.fraction(maximum: width ?? (isGem || isBeforeDigits ? 9 : 4096)))
      case UInt8(ascii: "L"): ops.append(.fraction(maximum: width ?? (isBeforeDigits ? 3 : 4096)))
      case UInt8(ascii: "s"): ops.append(.epoch)
      case UInt8(ascii: "Q"): ops.append(.epochMillis)
      case UInt8(ascii: "z"): ops.append(isGem ? .offset : .zone)
      case UInt8(ascii: "Z"): ops.append(.zone)
      case UInt8(ascii: "A"), UInt8(ascii: "a"): ops.append(.weekdayName)
      case UInt8(ascii: "u"): ops.append(.weekday(lowest: 1))
      case UInt8(ascii: "w"): ops.append(.weekday(lowest: 0))
      case UInt8(ascii: "G"): ops.append(.isoYear)
      case UInt8(ascii: "V"): ops.append(.isoWeek)
      case UInt8(ascii: "U"): ops.append(.week(fromMonday: false))
      case UInt8(ascii: "W"): ops.append(.week(fromMonday: true))
      case UInt8(ascii: "n"), UInt8(ascii: "t"): ops.append(.blanks)
      case UInt8(ascii: "%"): ops.append(.literal(c))
      case UInt8(ascii: "c"): try compile(Array("%a %b %e %H:%M:%S %Y".utf8), &ops, isGem: false)
      case UInt8(ascii: "D"), UInt8(ascii: "x"): try compile(Array("%m/%d/%y".utf8), &ops, isGem: false)
      case UInt8(ascii: "F"): try compile(Array("%Y-%m-%d".utf8), &ops, isGem: false)
      case UInt8(ascii: "R"): try compile(Array("%H:%M".utf8), &ops, isGem: false)
      case UInt8(ascii: "r"): try compile(Array("%I:%M:%S %p".utf8), &ops, isGem: false)
      case UInt8(ascii: "T"), UInt8(ascii: "X"): try compile(Array("%H:%M:%S".utf8), &ops, isGem: false)
      case UInt8(ascii: "v"): try compile(Array("%e-%b-%Y".utf8), &ops, isGem: false)
      case UInt8(ascii: "+"): try compile(Array("%a %b %e %H:%M:%S %Z %Y".utf8), &ops, isGem: false)
      default:
        ops.append(.literal(c))
        i = start
      }
    }
  }

  /// Whether digits come next, so that a number before them must end at its width (Ruby's `NUM_PATTERN_P`).
  private static func isNumeric(_ bytes: [UInt8], _ at: Int) -> Bool {
    guard at < bytes.count else { return false }
    if bytes[at] >= 48, bytes[at] <= 57 { return true }
    guard bytes[at] == UInt8(ascii: "%"), at + 1 < bytes.count else { return false }
    var k = at + 1
    if bytes[k] == UInt8(ascii: "E") || bytes[k] == UInt8(ascii: "O") { k += 1 }
    return k < bytes.count && ("CDdeFGgHIjkLlMmNQRrSsTUuVvWwXxYy0123456789".utf8.contains(bytes[k]))
  }

  /// The instant that the text means, nil when it does not fit; fields that lack are those of `now` above the first
  /// one given, and the lowest below it. `zone` is where a time without a zone is.
  public func parse(_ text: UnsafeRawBufferPointer, zone: Zone, now: () -> EventTime = EventTime.now) -> EventTime? {
    if isGem { return parseGem(text, zone: zone, now: now) }
    var fields = StrptimeFields()
    guard scan(text, &fields) else { return nil }
    return fields.instant(zone: zone, now: now)
  }
}
