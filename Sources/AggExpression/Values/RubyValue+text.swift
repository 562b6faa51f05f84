import AggCore
import CAgg

extension RubyValue {
  /// `to_s`.
  public var displayBytes: [UInt8] {
    switch self {
    case .string(let text): return text.bytes
    case .symbol(let bytes): return bytes
    case .null: return []
    default:
      var out = ByteWriter(capacity: 64)
      display(into: &out)
      return out.array
    }
  }

  func display(into out: inout ByteWriter) {
    switch self {
    case .null: break
    case .string(let text): out.append(text.bytes)
    case .symbol(let bytes): out.append(bytes)
    case .time(let time): time.display(into: &out)
    case .match(let match): match.group(0).display(into: &out)
    case .range(let range):
      range.first.display(into: &out)
      out.append(range.excludesEnd ? "..." : ".." as StaticString)
      range.last.display(into: &out)
    case .regexp(let regexp):
      // `(?-mix:…)`, as Ruby prints an expression so that it can stand in another.
      let options = regexp.regexp.options
      let on = (options.contains(.multiline) ? "m" : "") + (options.contains(.ignoreCase) ? "i" : "") + (options.contains(.extended) ? "x" : "")
      let off = (options.contains(.multiline) ? "" : "m") + (options.contains(.ignoreCase) ? "" : "i") + (options.contains(.extended) ? "" : "x")
      out.append("(?" + on + (off.isEmpty ? "" : "-" + off) + ":" + regexp.regexp.source + ")")
    case .exception(let exception): out.append(exception.message)
    case .ext(let ext):
      if let time = ext.eventTime { out.putDecimal(time.seconds) } else { inspect(into: &out) }
    default: inspect(into: &out)
    }
  }

  /// `inspect`, as Ruby up to 3.3 prints it: `{"a"=>1, :b=>nil}`.
  var inspected: [UInt8] {
    var out = ByteWriter(capacity: 64)
    inspect(into: &out)
    return out.array
  }

  private func inspect(into out: inout ByteWriter) {
    // Containers may hold each other many times over; what is cut here is longer than an evaluation may use.
    var budget = InspectionBudget()
    inspect(into: &out, &budget, 0)
  }

  private func inspect(into out: inout ByteWriter, _ budget: inout InspectionBudget, _ depth: Int) {
    budget.values -= 1
    guard depth < Self.maximumDepth, budget.values > 0, !budget.isDeep, out.count < 32 << 20 else {
      out.append("..." as StaticString)
      return
    }
    switch self {
    case .null: out.append("nil" as StaticString)
    case .bool(let value): out.append(value ? "true" : "false" as StaticString)
    case .int(let value): out.putDecimal(value)
    case .uint(let value): out.putDecimal(value)
    case .double(let value): Self.display(value, into: &out)
    case .string(let text): Self.quote(text, into: &out)
    case .symbol(let bytes):
      out.append(":" as StaticString)
      if Self.isPlainSymbol(bytes) { out.append(bytes) } else { Self.quote(RubyString(bytes), into: &out) }
    case .array(let array):
      out.append("[" as StaticString)
      for (i, element) in array.elements.enumerated() where budget.values > 0 {
        if i > 0 { out.append(", " as StaticString) }
        element.inspect(into: &out, &budget, depth + 1)
      }
      out.append("]" as StaticString)
    case .hash(let hash):
      out.append("{" as StaticString)
      var isFirst = true
      for (key, value) in hash.pairs where budget.values > 0 {
        if !isFirst { out.append(", " as StaticString) }
        isFirst = false
        key.inspect(into: &out, &budget, depth + 1)
        out.append("=>" as StaticString)
        value.inspect(into: &out, &budget, depth + 1)
      }
      out.append("}" as StaticString)
    case .range(let range):
      if !range.first.isNull { range.first.inspect(into: &out, &budget, depth + 1) }
      out.append(range.excludesEnd ? "..." : ".." as StaticString)
      if !range.last.isNull { range.last.inspect(into: &out, &budget, depth + 1) }
    case .regexp(let regexp):
      let options = regexp.regexp.options
      out.append(
        "/" + regexp.regexp.source + "/" + (options.contains(.multiline) ? "m" : "") + (options.contains(.ignoreCase) ? "i" : "")
          + (options.contains(.extended) ? "x" : ""))
    case .match(let match):
      out.append("#<MatchData " as StaticString)
      match.group(0).inspect(into: &out, &budget, depth + 1)
      for n in match.groups.indices.dropFirst() {
        out.append(" " as StaticString)
        out.append(match.names.isEmpty ? String(n) : n <= match.names.count ? match.names[n - 1].name : String(n))
        out.append(":" as StaticString)
        match.group(n).inspect(into: &out, &budget, depth + 1)
      }
      out.append(">" as StaticString)
    case .time(let time): time.display(into: &out, isInspected: true)
    case .module(let module): out.append(module.displayName)
    case .exception(let exception): out.append("#<" + exception.type.rawValue + ": " + exception.message + ">")
    case .ext(let ext):
      if let time = ext.eventTime {
        out.append(Self.eventTimeProgram.string(time, zone: .local()))
      } else {
        out.append("#<MessagePack::ExtensionValue>" as StaticString)
      }
    }
  }

  private static let eventTimeProgram = StrftimeProgram("%Y-%m-%d %H:%M:%S.%N %z")

  static func isPlainSymbol(_ bytes: [UInt8]) -> Bool {
    guard let first = bytes.first, first == 0x5f || first >= 0x80 || (first | 0x20 >= 0x61 && first | 0x20 <= 0x7a) else { return false }
    var rest = bytes.dropFirst()
    if let last = rest.last, "?!=".utf8.contains(last) { rest = rest.dropLast() }
    return rest.allSatisfy { $0 == 0x5f || $0 >= 0x80 || ($0 >= 0x30 && $0 <= 0x39) || ($0 | 0x20 >= 0x61 && $0 | 0x20 <= 0x7a) }
  }

  private static func isPrintable(_ scalar: UnicodeScalar) -> Bool {
    switch scalar.properties.generalCategory {
    case .unassigned, .lineSeparator, .paragraphSeparator: false
    default: true
    }
  }

  /// `to_s` of a float.
  static func display(_ value: Double, into out: inout ByteWriter) { out.putRubyDouble(value) }

  /// A string as Ruby shows it in double quotes.
  private static func quote(_ text: RubyString, into out: inout ByteWriter) {
    let bytes = text.bytes
    let hex = Array("0123456789ABCDEF".utf8)
    out.append("\"" as StaticString)
    var i = 0
    while i < bytes.count {
      let c = bytes[i]
      switch c {
      case UInt8(ascii: "\""): out.append("\\\"" as StaticString)
      case UInt8(ascii: "\\"): out.append("\\\\" as StaticString)
      case 0x0a: out.append("\\n" as StaticString)
      case 0x0d: out.append("\\r" as StaticString)
      case 0x09: out.append("\\t" as StaticString)
      case 0x0c: out.append("\\f" as StaticString)
      case 0x0b: out.append("\\v" as StaticString)
      case 0x08: out.append("\\b" as StaticString)
      case 0x07: out.append("\\a" as StaticString)
      case 0x1b: out.append("\\e" as StaticString)
      case UInt8(ascii: "#") where i + 1 < bytes.count && "{$@".utf8.contains(bytes[i + 1]): out.append("\\#" as StaticString)
      case 0x20...0x7e: out.append(c)
      default:
        let step = RubyText.step(bytes, i)
        if !text.isBinary, step.isValid {
          let character = Array(bytes[i..<i + step.length])
          let scalar = String(decoding: character, as: UTF8.self).unicodeScalars.first ?? "?"
          if c >= 0x80, isPrintable(scalar) {
            out.append(character)
          } else {
            let digits = String(scalar.value, radix: 16, uppercase: true)
            out.append(digits.utf8.count > 4 ? "\\u{" + digits + "}" : "\\u" + String(repeating: "0", count: 4 - digits.utf8.count) + digits)
          }
          i += step.length
          continue
        }
        out.append("\\x" as StaticString)
        out.append(hex[Int(c >> 4)])
        out.append(hex[Int(c & 15)])
      }
      i += 1
    }
    out.append("\"" as StaticString)
  }
}

extension RubyTime {
  private static let plain = StrftimeProgram("%Y-%m-%d %H:%M:%S %z")
  private static let universal = StrftimeProgram("%Y-%m-%d %H:%M:%S UTC")
  private static let exact = StrftimeProgram("%Y-%m-%dT%H:%M:%S%:z")

  func display(into out: inout ByteWriter, isInspected: Bool = false) {
    guard time.seconds.magnitude < UInt64(Self.farthest) else {
      out.putDecimal(time.seconds)
      return
    }
    if isDateTime {
      Self.exact.format(time, zone: zone, into: &out)
    } else if isInspected, time.nanoseconds > 0 {
      var digits = String(time.nanoseconds)
      digits = String(repeating: "0", count: max(0, 9 - digits.count)) + digits
      while digits.hasSuffix("0") { digits.removeLast() }
      StrftimeProgram("%Y-%m-%d %H:%M:%S." + digits + (zone.isUTC ? " UTC" : " %z")).format(time, zone: zone, into: &out)
    } else {
      (zone.isUTC ? Self.universal : Self.plain).format(time, zone: zone, into: &out)
    }
  }
}

/// What one inspection may still use.
private struct InspectionBudget {
  var values = 1 << 20
  private let base = Int(agg_stack_place())
  /// Frames of an instrumented build are several times larger: the depth alone would not tell.
  @inline(__always) var isDeep: Bool { base &- Int(agg_stack_place()) > Bindings.stackLimit }
}
