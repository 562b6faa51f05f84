/// What Ruby's conversions make of values: `to_s` and `inspect`, `to_i` and `to_f`.
///
/// Source: Ruby 3.1, which Fluentd's packages bring; its hashes print as `{"k"=>1}`.
public enum RubyText {
  private static let zone = Zone.local()

  /// Appends `to_s`: text as it is, nil as nothing, containers as `inspect`, an EventTime as its seconds.
  public static func write(_ value: ValueView, into out: inout ByteWriter) {
    if let text = value.textBytes {
      out.append(text)
    } else if let time = value.eventTime, value.ext != nil {
      out.putDecimal(time.seconds)
    } else if !value.isNull {
      inspect(value, into: &out)
    }
  }

  /// Appends `inspect`: strings in quotes with escapes, nil as `nil`.
  public static func inspect(_ value: ValueView, into out: inout ByteWriter) {
    switch value.kind {
    case .null: out.append("nil" as StaticString)
    case .bool: out.append(value.bool == true ? "true" : "false" as StaticString)
    case .int: out.putDecimal(value.int64 ?? 0)
    case .uint: out.putDecimal(value.uint64 ?? 0)
    case .double: out.putRubyDouble(value.double ?? 0)
    case .string, .binary: if let text = value.textBytes { quote(text, into: &out) }
    case .array:
      out.append(UInt8(ascii: "["))
      var isFirst = true
      value.forEachElement { element in
        if !isFirst { out.append(", " as StaticString) }
        isFirst = false
        inspect(element, into: &out)
      }
      out.append(UInt8(ascii: "]"))
    case .map: if let map = value.map { inspect(map, into: &out) }
    case .ext:
      if let time = value.eventTime {
        out.append(StrftimeProgram("%Y-%m-%d %H:%M:%S.%N %z").string(time, zone: zone))
      } else {
        out.append("#<MessagePack::ExtensionValue>" as StaticString)
      }
    }
  }

  /// Appends `{"k"=>1}`.
  public static func inspect(_ record: RecordView, into out: inout ByteWriter) {
    out.append(UInt8(ascii: "{"))
    var isFirst = true
    record.forEachField { key, value in
      if !isFirst { out.append(", " as StaticString) }
      isFirst = false
      inspect(key, into: &out)
      out.append("=>" as StaticString)
      inspect(value, into: &out)
    }
    out.append(UInt8(ascii: "}"))
  }

  /// `"…"` with control bytes as `\x01`, as Ruby prints the binary strings that Fluentd mostly has; UTF-8 stays readable.
  private static func quote(_ text: UnsafeRawBufferPointer, into out: inout ByteWriter) {
    out.append(UInt8(ascii: "\""))
    var i = 0
    while i < text.count {
      let c = text[i]
      if c >= 0x80 {
        let step = UTF8Text.sequence(text, at: i)
        if step.isValid { out.append(UnsafeRawBufferPointer(rebasing: text[i..<i + step.length])) } else {
          for k in i..<min(i + step.length, text.count) { hexEscape(text[k], &out) }
        }
        i += step.length
        continue
      }
      i += 1
      switch c {
      case UInt8(ascii: "\""), UInt8(ascii: "\\"):
        out.append(UInt8(ascii: "\\"))
        out.append(c)
      case UInt8(ascii: "#"):
        if i < text.count, text[i] == UInt8(ascii: "{") || text[i] == UInt8(ascii: "$") || text[i] == UInt8(ascii: "@") {
          out.append(UInt8(ascii: "\\"))
        }
        out.append(c)
      case 0x0a: out.append("\\n" as StaticString)
      case 0x09: out.append("\\t" as StaticString)
      case 0x0d: out.append("\\r" as StaticString)
      case 0x0c: out.append("\\f" as StaticString)
      case 0x0b: out.append("\\v" as StaticString)
      case 0x08: out.append("\\b" as StaticString)
      case 0x07: out.append("\\a" as StaticString)
      case 0x1b: out.append("\\e" as StaticString)
      case 0x20..<0x7f: out.append(c)
      default: hexEscape(c, &out)
      }
    }
    out.append(UInt8(ascii: "\""))
  }

  private static func hexEscape(_ byte: UInt8, _ out: inout ByteWriter) {
    out.append("\\x" as StaticString)
    for digit in [byte >> 4, byte & 15] { out.append(digit < 10 ? 0x30 + digit : 0x37 + digit) }
  }
}

extension ByteWriter {
  /// Puts `String#to_i` of a text: the digits it begins with, 0 without any; what does not fit 64 bits becomes the nearest that does.
  public mutating func putRubyInteger(_ text: UnsafeRawBufferPointer) {
    var i = 0
    while i < text.count, text[i] == 32 || (9...13).contains(text[i]) { i &+= 1 }
    var isNegative = false
    if i < text.count, text[i] == UInt8(ascii: "-") || text[i] == UInt8(ascii: "+") {
      isNegative = text[i] == UInt8(ascii: "-")
      i &+= 1
    }
    var value: UInt64 = 0
    var isFirst = true
    while i < text.count {
      var digit = text[i] &- 48
      if digit > 9 {
        // One underscore between digits means nothing.
        guard text[i] == UInt8(ascii: "_"), !isFirst, i &+ 1 < text.count, text[i &+ 1] &- 48 <= 9 else { break }
        i &+= 1
        digit = text[i] &- 48
      }
      isFirst = false
      let (scaled, overflow) = value.multipliedReportingOverflow(by: 10)
      let (sum, carry) = scaled.addingReportingOverflow(UInt64(digit))
      value = overflow || carry ? .max : sum
      i &+= 1
      if overflow || carry { break }
    }
    if !isNegative { putUInt(value) } else {
      putInt(value > UInt64(Int64.max) ? .min : -Int64(value))
    }
  }

  /// Puts `String#to_f` of a text: the number it begins with, 0.0 without one.
  public mutating func putRubyFloat(_ text: UnsafeRawBufferPointer) { putDouble(RubyText.float(text)) }
}

extension RubyText {
  /// 10 to the powers that a double holds exactly.
  private static let powers: [Double] = (0...22).map { n in (0..<n).reduce(1.0) { value, _ in value * 10 } }

  /// `String#to_f`.
  public static func float(_ text: UnsafeRawBufferPointer) -> Double {
    // Plain digits with at most 15 of them are one exact division; anything else goes the long way.
    var i = 0
    let isNegative = text.first == UInt8(ascii: "-")
    if isNegative { i = 1 }
    var mantissa: UInt64 = 0
    var count = 0
    var places = 0
    var seenPoint = false
    while i < text.count, count <= 15 {
      let digit = text[i] &- 48
      if digit <= 9 {
        mantissa = mantissa &* 10 &+ UInt64(digit)
        count &+= 1
        if seenPoint { places &+= 1 }
      } else if text[i] == UInt8(ascii: "."), !seenPoint, count > 0, i &+ 1 < text.count {
        seenPoint = true
      } else {
        break
      }
      i &+= 1
    }
    if i == text.count, count > 0, count <= 15 {
      let value = Double(mantissa) / powers[places]
      return isNegative ? -value : value
    }
    return RubyNumber.doublePrefix(String(decoding: text, as: UTF8.self))
  }
}
