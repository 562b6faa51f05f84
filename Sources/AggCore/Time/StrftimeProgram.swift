/// A Ruby `strftime` format, compiled once and written without allocating.
public struct StrftimeProgram: Sendable {
  enum Padding: Sendable { case standard, none, zero, space }
  enum Case: Sendable { case asIs, upper, swapped }
  struct Directive: Sendable {
    var letter: UInt8
    var padding = Padding.standard
    var letters = Case.asIs
    var colons = 0
    var width: Int?
  }
  enum Op: Sendable {
    case literal([UInt8])
    case directive(Directive)
  }
  /// Ruby takes any width; nothing sensible is wider.
  static let maximumWidth = 1024

  public let format: String
  let ops: [Op]
  /// Whether the text changes within a second (`%N`, `%L`).
  public let hasFraction: Bool

  /// What Ruby does not know is written as it stands.
  public init(_ format: String) {
    self.format = format
    var ops: [Op] = []
    Self.compile(Array(format.utf8), &ops)
    self.ops = ops
    hasFraction = ops.contains { op in
      if case .directive(let d) = op { d.letter == UInt8(ascii: "N") || d.letter == UInt8(ascii: "L") } else { false }
    }
  }

  private static func compile(_ bytes: [UInt8], _ ops: inout [Op]) {
    var text: [UInt8] = []
    var i = 0
    func flush(_ ops: inout [Op]) {
      if !text.isEmpty { ops.append(.literal(text)) }
      text = []
    }
    while i < bytes.count {
      guard bytes[i] == UInt8(ascii: "%"), i + 1 < bytes.count else {
        text.append(bytes[i])
        i += 1
        continue
      }
      var directive = Directive(letter: 0)
      var k = i + 1
      flags: while k < bytes.count {
        switch bytes[k] {
        case UInt8(ascii: "-"): directive.padding = .none
        case UInt8(ascii: "0"): directive.padding = .zero
        case UInt8(ascii: "_"): directive.padding = .space
        case UInt8(ascii: "^"): directive.letters = .upper
        case UInt8(ascii: "#"): directive.letters = .swapped
        case UInt8(ascii: ":"): directive.colons += 1
        default: break flags
        }
        k += 1
      }
      while k < bytes.count, ZoneText.isDigit(bytes[k]) {
        directive.width = min((directive.width ?? 0) * 10 + Int(bytes[k]) - 48, maximumWidth)
        k += 1
      }
      if k < bytes.count, bytes[k] == UInt8(ascii: "E") || bytes[k] == UInt8(ascii: "O") { k += 1 }
      guard k < bytes.count, directive.colons == 0 || bytes[k] == UInt8(ascii: "z") else {
        text.append(bytes[i])
        i += 1
        continue
      }
      directive.letter = bytes[k]
      switch bytes[k] {
      case UInt8(ascii: "%"):
        text += repeatElement(directive.padding == .zero ? 48 : 32, count: max(0, (directive.width ?? 0) - 1))
        text.append(bytes[k])
      case UInt8(ascii: "n"): text.append(10)
      case UInt8(ascii: "t"): text.append(9)
      case _ where composites[bytes[k]] != nil && directive.width == nil:
        flush(&ops)
        compile(composites[bytes[k]] ?? [], &ops)
      case _ where "YCymBbhdejHkIlPpMSLNzZAauwGgVUWs".utf8.contains(bytes[k]):
        flush(&ops)
        ops.append(.directive(directive))
      default: text += bytes[i...k]
      }
      i = k + 1
    }
    flush(&ops)
  }

  private static let composites: [UInt8: [UInt8]] = [
    UInt8(ascii: "c"): Array("%a %b %e %H:%M:%S %Y".utf8), UInt8(ascii: "D"): Array("%m/%d/%y".utf8),
    UInt8(ascii: "x"): Array("%m/%d/%y".utf8), UInt8(ascii: "F"): Array("%Y-%m-%d".utf8),
    UInt8(ascii: "T"): Array("%H:%M:%S".utf8),
    UInt8(ascii: "X"): Array("%H:%M:%S".utf8), UInt8(ascii: "R"): Array("%H:%M".utf8),
    UInt8(ascii: "r"): Array("%I:%M:%S %p".utf8),
    UInt8(ascii: "v"): Array("%e-%^b-%4Y".utf8),
  ]

  /// Writes `time` as the clock of `zone` shows it.
  public func format(_ time: EventTime, zone: Zone, into out: inout ByteWriter) {
    let offset = zone.offset(at: time.seconds)
    let civil = CivilTime(epochSeconds: time.seconds.addingClamped(Int64(offset)))
    for op in ops {
      switch op {
      case .literal(let bytes): out.append(bytes)
      case .directive(let directive): write(directive, time, civil, offset, zone, &out)
      }
    }
  }

  public func string(_ time: EventTime, zone: Zone) -> String {
    var out = ByteWriter(capacity: 64)
    format(time, zone: zone, into: &out)
    return out.string
  }
}
