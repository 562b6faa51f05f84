import AggCore

/// Values as text the way Ruby prints them where a value stands inside a text: `to_s`, and `inspect` within containers.
enum RubyText {
  /// `to_s`: texts as they are, nil as nothing, `{"a"=>1}` and `[1, nil]` for containers.
  static func write(_ value: ValueView, into out: inout ByteWriter) {
    if let text = value.textBytes { out.append(text) } else if !value.isNull { inspect(value, into: &out) }
  }

  static func inspect(_ value: ValueView, into out: inout ByteWriter) {
    switch value.kind {
    case .null: out.append("nil")
    case .bool: out.append(value.bool == true ? "true" : "false" as StaticString)
    case .int: out.append(String(value.int64 ?? 0))
    case .uint: out.append(String(value.uint64 ?? 0))
    case .double: out.append(ConfigJSON.double(value.double ?? 0).json)
    case .string, .binary: quote(value.textBytes ?? UnsafeRawBufferPointer(start: nil, count: 0), into: &out)
    case .array:
      out.append("[")
      var isFirst = true
      value.forEachElement { element in
        if !isFirst { out.append(", ") }
        isFirst = false
        inspect(element, into: &out)
      }
      out.append("]")
    case .map:
      out.append("{")
      var isFirst = true
      value.map?.forEachField { key, value in
        if !isFirst { out.append(", ") }
        isFirst = false
        inspect(key, into: &out)
        out.append("=>")
        inspect(value, into: &out)
      }
      out.append("}")
    case .ext:
      if let time = value.eventTime { out.append("\(time.seconds).\(String(time.nanoseconds + 1_000_000_000).dropFirst())") } else { out.append("nil") }
    }
  }

  private static func quote(_ bytes: UnsafeRawBufferPointer, into out: inout ByteWriter) {
    out.append(0x22 as UInt8)
    let isText = UTF8Text.isValid(bytes)
    for (index, byte) in bytes.enumerated() {
      switch byte {
      case 0x22, 0x5c:
        out.append(0x5c as UInt8)
        out.append(byte)
      case 0x23:
        if index + 1 < bytes.count, [0x24, 0x40, 0x7b].contains(bytes[index + 1]) { out.append(0x5c as UInt8) }
        out.append(byte)
      case 0x0a: out.append("\\n")
      case 0x0d: out.append("\\r")
      case 0x09: out.append("\\t")
      case 0x0c: out.append("\\f")
      case 0x0b: out.append("\\v")
      case 0x08: out.append("\\b")
      case 0x07: out.append("\\a")
      case 0x1b: out.append("\\e")
      case 0x7f: out.append("\\x7F")
      case ..<0x20: out.append(isText ? "\\u00\(hex(byte))" : "\\x\(hex(byte))")
      case 0x80... where !isText: out.append("\\x\(hex(byte))")
      default: out.append(byte)
      }
    }
    out.append(0x22 as UInt8)
  }
  private static func hex(_ byte: UInt8) -> String { (byte < 16 ? "0" : "") + String(byte, radix: 16, uppercase: true) }
}
