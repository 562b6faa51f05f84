/// Numbers at the start of a text, as Ruby's `to_i` and `to_f` find them.
enum RubyNumber {
  /// Without whitespace around it, and without a NUL at its end.
  static func strip(_ text: String) -> String {
    let bytes = Array(text.utf8)
    let isSpace = { (c: UInt8) in c == 0x20 || (c >= 0x09 && c <= 0x0d) }
    guard let first = bytes.firstIndex(where: { !isSpace($0) }), let last = bytes.lastIndex(where: { !isSpace($0) && $0 != 0 }), first <= last else { return "" }
    return String(decoding: bytes[first...last], as: UTF8.self)
  }

  /// `String#to_i`: "12x" is 12, "x" is 0, "1_000" is 1000; nil when it does not fit 64 bits.
  static func integerPrefix(_ text: String) -> Int? {
    let digits = integerText(Array(strip(text).utf8)[...])
    return digits.isEmpty || digits == "-" ? 0 : Int(digits)
  }

  /// `String#to_f`: "1.5x" is 1.5, "x" is 0.
  static func doublePrefix(_ text: String) -> Double {
    let bytes = Array(strip(text).utf8)[...]
    var at = 0
    let whole = integerText(bytes, &at)
    var number = whole.isEmpty || whole == "-" ? whole + "0" : whole
    let isDigit = { (i: Int) in i < bytes.count && bytes[i] >= 0x30 && bytes[i] <= 0x39 }
    if at < bytes.count, bytes[at] == UInt8(ascii: "."), isDigit(at + 1) {
      at += 1
      number += "."
      number += digits(bytes, &at)
    } else if whole.isEmpty || whole == "-" {
      return 0
    }
    if at < bytes.count, bytes[at] | 0x20 == UInt8(ascii: "e") {
      var next = at + 1
      var sign = ""
      if next < bytes.count, bytes[next] == UInt8(ascii: "-") || bytes[next] == UInt8(ascii: "+") {
        sign = String(UnicodeScalar(bytes[next]))
        next += 1
      }
      if isDigit(next) { number += "e" + sign + digits(bytes, &next) }
    }
    return Double(number) ?? 0
  }

  /// `Integer(text)`: the whole text is one integer; 0x, 0b, 0o and a leading 0 choose the base. nil when it is not, or does not fit.
  static func integer(_ text: String) -> Int? {
    var rest = strip(text)[...]
    var sign = ""
    if let c = rest.first, c == "-" || c == "+" {
      sign = c == "-" ? "-" : ""
      rest = rest.dropFirst()
    }
    var radix = 10
    for (prefix, base) in [("0x", 16), ("0b", 2), ("0o", 8), ("0d", 10), ("0", 8)] where rest.count > prefix.count && rest.lowercased().hasPrefix(prefix) {
      rest = rest.dropFirst(prefix.count)
      if prefix == "0", rest.first == "_" { rest = rest.dropFirst() }
      radix = base
      break
    }
    guard let first = rest.first, first != "_", first != "-", first != "+", rest.last != "_", !rest.contains("__") else { return nil }
    return Int(sign + rest.filter { $0 != "_" }, radix: radix)
  }

  /// `Float(text)`: the whole text is one number; nil when it is not.
  static func double(_ text: String) -> Double? {
    let rest = strip(text)
    guard rest.utf8.allSatisfy({ ($0 >= 0x30 && $0 <= 0x39) || "+-._eE".utf8.contains($0) }) else { return integer(rest).map(Double.init) }
    guard let first = rest.utf8.first, let last = rest.utf8.last, first != 0x5f, last >= 0x30, last <= 0x39, !rest.contains("__") else { return nil }
    guard !rest.contains("_."), !rest.contains("._"), !rest.contains(".e"), !rest.contains(".E") else { return nil }
    return Double(rest.filter { $0 != "_" })
  }

  private static func integerText(_ bytes: ArraySlice<UInt8>) -> String {
    var at = 0
    return integerText(bytes, &at)
  }

  private static func integerText(_ bytes: ArraySlice<UInt8>, _ at: inout Int) -> String {
    var out = ""
    if at < bytes.count, bytes[at] == UInt8(ascii: "-") || bytes[at] == UInt8(ascii: "+") {
      if bytes[at] == UInt8(ascii: "-") { out = "-" }
      at += 1
    }
    return out + digits(bytes, &at)
  }

  /// Digits with single underscores between them.
  private static func digits(_ bytes: ArraySlice<UInt8>, _ at: inout Int) -> String {
    var out = ""
    while at < bytes.count {
      let c = bytes[at]
      if c >= 0x30, c <= 0x39 { out.unicodeScalars.append(UnicodeScalar(c)) } else {
        guard c == 0x5f, !out.isEmpty, at + 1 < bytes.count, bytes[at + 1] >= 0x30, bytes[at + 1] <= 0x39 else { break }
      }
      at += 1
    }
    return out
  }
}
