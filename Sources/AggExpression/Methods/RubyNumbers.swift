/// How Ruby reads numbers out of texts.
enum RubyNumbers {
  /// `to_i`: what stands at the start, 0 without a number; nil when it does not fit 64 bits.
  static func integerPrefix(_ bytes: [UInt8], radix: Int) -> Int64? {
    var i = 0
    while i < bytes.count, RubyText.isSpace(bytes[i]) { i += 1 }
    var isNegative = false
    if i < bytes.count, bytes[i] == UInt8(ascii: "-") || bytes[i] == UInt8(ascii: "+") {
      isNegative = bytes[i] == UInt8(ascii: "-")
      i += 1
    }
    if i + 1 < bytes.count, bytes[i] == UInt8(ascii: "0") {
      let letter = bytes[i + 1] | 0x20
      if radix == 16 && letter == UInt8(ascii: "x") || radix == 2 && letter == UInt8(ascii: "b") || radix == 8 && letter == UInt8(ascii: "o") {
        if i + 2 < bytes.count, digit(bytes[i + 2]) < radix { i += 2 }
      }
    }
    var value: Int64 = 0
    var wasDigit = false
    while i < bytes.count {
      if bytes[i] == UInt8(ascii: "_"), wasDigit {
        wasDigit = false
        i += 1
        continue
      }
      let d = digit(bytes[i])
      guard d < radix else { break }
      let (product, over) = value.multipliedReportingOverflow(by: Int64(radix))
      let (sum, beyond) = isNegative ? product.subtractingReportingOverflow(Int64(d)) : product.addingReportingOverflow(Int64(d))
      if over || beyond { return nil }
      value = sum
      wasDigit = true
      i += 1
    }
    return value
  }

  private static func digit(_ c: UInt8) -> Int {
    switch c {
    case 0x30...0x39: Int(c) - 0x30
    case 0x61...0x7a: Int(c) - 0x61 + 10
    case 0x41...0x5a: Int(c) - 0x41 + 10
    default: 99
    }
  }

  /// `to_f`: what stands at the start, 0.0 without a number.
  static func floatPrefix(_ bytes: [UInt8]) -> Double {
    var i = 0
    while i < bytes.count, RubyText.isSpace(bytes[i]) { i += 1 }
    var text: [UInt8] = []
    if i < bytes.count, bytes[i] == UInt8(ascii: "-") || bytes[i] == UInt8(ascii: "+") {
      text.append(bytes[i])
      i += 1
    }
    func isDigit(_ k: Int) -> Bool { k < bytes.count && bytes[k] >= 48 && bytes[k] <= 57 }
    func digits() {
      while isDigit(i) || (i < bytes.count && bytes[i] == 0x5f && i > 0 && isDigit(i - 1) && isDigit(i + 1)) {
        if bytes[i] != 0x5f { text.append(bytes[i]) }
        i += 1
      }
    }
    if i < bytes.count, bytes[i] == UInt8(ascii: "."), isDigit(i + 1) {
      text.append(48)
    } else {
      guard isDigit(i) else { return 0 }
      digits()
    }
    if i < bytes.count, bytes[i] == UInt8(ascii: "."), isDigit(i + 1) {
      text.append(bytes[i])
      i += 1
      digits()
    }
    if i < bytes.count, bytes[i] | 0x20 == UInt8(ascii: "e") {
      var k = i + 1
      if k < bytes.count, bytes[k] == UInt8(ascii: "-") || bytes[k] == UInt8(ascii: "+") { k += 1 }
      if isDigit(k) {
        text += bytes[i..<k]
        i = k
        digits()
      }
    }
    return Double(String(decoding: text, as: UTF8.self)) ?? 0
  }

  enum Strict {
    case value(Int64)
    case tooLarge
    case invalid
  }
  /// `Integer(text)`: all of it is one integer; 0x, 0b, 0o and a leading 0 choose the base.
  static func integer(_ bytes: [UInt8], radix given: Int? = nil) -> Strict {
    var text = RubyText.strip(bytes, left: true, right: true)
    if text.contains(0) { return .invalid }
    var sign: [UInt8] = []
    if let c = text.first, c == UInt8(ascii: "-") || c == UInt8(ascii: "+") {
      if c == UInt8(ascii: "-") { sign = [c] }
      text.removeFirst()
    }
    var radix = given ?? 10
    if text.count > 1, text[0] == 48 {
      let letters: [UInt8: Int] = [UInt8(ascii: "x"): 16, UInt8(ascii: "b"): 2, UInt8(ascii: "o"): 8, UInt8(ascii: "d"): 10]
      if let base = letters[text[1] | 0x20], given == nil || given == base {
        radix = base
        text.removeFirst(2)
      } else if given == nil {
        radix = 8
        text.removeFirst(text[1] == 0x5f ? 2 : 1)
      }
    }
    guard let first = text.first, let last = text.last, first != 0x5f, last != 0x5f,
      !zip(text, text.dropFirst()).contains(where: { $0 == 0x5f && $1 == 0x5f })
    else {
      return .invalid
    }
    guard text.allSatisfy({ $0 == 0x5f || digit($0) < radix }) else { return .invalid }
    let plain = String(decoding: sign + text.filter { $0 != 0x5f }, as: UTF8.self)
    return Int64(plain, radix: radix).map { .value($0) } ?? .tooLarge
  }

  /// `Float(text)`: all of it is one number.
  static func float(_ bytes: [UInt8]) -> Double? {
    let text = RubyText.strip(bytes, left: true, right: true)
    guard let last = text.last, last >= 48 && last <= 57 || text.contains(UInt8(ascii: "x")) else { return nil }
    if text.allSatisfy({ ($0 >= 48 && $0 <= 57) || "+-._eE".utf8.contains($0) }) {
      let pairs = zip(text, text.dropFirst())
      if pairs.contains(where: {
        ($0 == 0x5f && !($1 >= 48 && $1 <= 57)) || ($1 == 0x5f && !($0 >= 48 && $0 <= 57)) || ($0 == 0x2e && !($1 >= 48 && $1 <= 57))
      }) {
        return nil
      }
      guard let first = text.first, first != 0x5f, first != 0x2e else { return nil }
      return Double(String(decoding: text.filter { $0 != 0x5f }, as: UTF8.self))
    }
    if case .value(let value) = integer(text), text.contains(where: { $0 | 0x20 == UInt8(ascii: "x") }) { return Double(value) }
    return nil
  }
}
