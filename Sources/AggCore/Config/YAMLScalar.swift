/// What a YAML scalar without quotes means, by the rules of Ruby's YAML 1.1 reader (psych).
enum YAMLScalar {
  static func value(_ text: String) -> ConfigJSON {
    let bytes = Array(text.utf8)
    guard let first = bytes.first else { return .null }
    if bytes.count <= 5 {
      switch text.lowercased() {
      case "~", "null": return .null
      case "yes", "true", "on": return .bool(true)
      case "no", "false", "off": return .bool(false)
      default: break
      }
    }
    if first == UInt8(ascii: ":"), bytes.count > 1 { return .string(symbol(text)) }
    guard (first >= 0x30 && first <= 0x39) || "+-.".utf8.contains(first) else { return .string(text) }
    return number(bytes) ?? sexagesimal(text) ?? .string(text)
  }

  /// `:name` is a Ruby symbol, and reads as its name.
  private static func symbol(_ text: String) -> String {
    let name = text.dropFirst()
    if let quote = name.first, quote == "\"" || quote == "'", name.count >= 2, name.last == quote { return String(name.dropFirst().dropLast()) }
    return String(name)
  }

  private static func number(_ bytes: [UInt8]) -> ConfigJSON? {
    let isNegative = bytes[0] == UInt8(ascii: "-")
    let unsigned = bytes[0] == UInt8(ascii: "-") || bytes[0] == UInt8(ascii: "+") ? bytes.dropFirst() : bytes[...]
    let digits = unsigned.filter { $0 != UInt8(ascii: "_") && $0 != UInt8(ascii: ",") }
    guard let first = unsigned.first else { return nil }
    let sign = isNegative ? "-" : ""
    let text = String(decoding: digits, as: UTF8.self)
    if ".inf" == text.lowercased() { return .double(isNegative ? -.infinity : .infinity) }
    if ".nan" == text.lowercased(), bytes[0] == UInt8(ascii: ".") { return .double(.nan) }
    if first >= 0x30, first <= 0x39, unsigned.last.map({ $0 != UInt8(ascii: "_") && $0 != UInt8(ascii: ",") }) == true {
      for (prefix, radix) in [("0x", 16), ("0b", 2), ("0o", 8), ("0", 8)] where text.count > prefix.count && text.hasPrefix(prefix) {
        if let value = Int(sign + text.dropFirst(prefix.count), radix: radix) { return .int(value) }
      }
      if first != 0x30 || digits.count == 1, digits.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }) {
        return Int(sign + text).map { .int($0) } ?? Double(sign + text).map { .double($0) }
      }
    }
    // A float needs its point, and its exponent a sign.
    guard let point = digits.firstIndex(of: UInt8(ascii: ".")), digits.count > 1 else { return nil }
    let fraction = digits[(point + 1)...]
    let mantissa = fraction.prefix { $0 >= 0x30 && $0 <= 0x39 }
    guard digits[..<point].allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }), point > 0 || !mantissa.isEmpty else { return nil }
    let exponent = Array(fraction.dropFirst(mantissa.count))
    if !exponent.isEmpty {
      guard exponent.count > 2, exponent[0] | 0x20 == UInt8(ascii: "e"), exponent[1] == UInt8(ascii: "+") || exponent[1] == UInt8(ascii: "-") else { return nil }
      guard exponent[2...].allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }) else { return nil }
    }
    let whole = String(decoding: digits[..<point], as: UTF8.self)
    let part = String(decoding: mantissa, as: UTF8.self)
    return Double("\(sign)\(whole.isEmpty ? "0" : whole).\(part.isEmpty ? "0" : part)\(String(decoding: exponent, as: UTF8.self))").map { .double($0) }
  }

  /// `12:30` and `1:02:03` count in sixties; two parts count as hours and minutes do (`12:30` is 45000).
  private static func sexagesimal(_ text: String) -> ConfigJSON? {
    let parts = text.split(separator: ":", omittingEmptySubsequences: false)
    guard parts.count == 2 || parts.count == 3, let head = Int(parts[0].filter { $0 != "_" }) else { return nil }
    var total = head.multipliedReportingOverflow(by: 3600)
    if total.overflow { return nil }
    for (part, unit) in zip(parts.dropFirst(), [60, 1]) {
      guard part.utf8.count <= 2, part.utf8.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }), let value = Int(part), value < 60 else { return nil }
      total = total.partialValue.addingReportingOverflow(value * unit)
      if total.overflow { return nil }
    }
    return .int(total.partialValue)
  }
}
