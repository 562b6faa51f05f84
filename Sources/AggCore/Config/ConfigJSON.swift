/// A JSON value inside a configuration; objects keep their order, a repeated key keeps its first place and last value.
public indirect enum ConfigJSON: Sendable, Hashable {
  case null
  case bool(Bool)
  case int(Int)
  case double(Double)
  case string(String)
  case array([ConfigJSON])
  case object([Pair])

  public struct Pair: Sendable, Hashable {
    public var key: String
    public var value: ConfigJSON
    public init(_ key: String, _ value: ConfigJSON) {
      self.key = key
      self.value = value
    }
  }

  /// Compact JSON, as Ruby's `JSON.dump` prints it.
  public var json: String {
    var out = ""
    write(&out)
    return out
  }

  /// The value as a configuration line would hold it: strings without quotes, null as nothing, the rest as JSON.
  public var text: String {
    switch self {
    case .string(let text): text
    case .null: ""
    default: json
    }
  }

  public subscript(_ key: String) -> ConfigJSON? {
    guard case .object(let pairs) = self else { return nil }
    return pairs.last { $0.key == key }?.value
  }

  private func write(_ out: inout String) {
    switch self {
    case .null: out += "null"
    case .bool(let value): out += value ? "true" : "false"
    case .int(let value): out += String(value)
    case .double(let value): out += Self.text(of: value)
    case .string(let text): Self.write(text, &out)
    case .array(let items):
      out += "["
      for (i, item) in items.enumerated() {
        if i > 0 { out += "," }
        item.write(&out)
      }
      out += "]"
    case .object(let pairs):
      out += "{"
      for (i, pair) in pairs.enumerated() {
        if i > 0 { out += "," }
        Self.write(pair.key, &out)
        out += ":"
        pair.value.write(&out)
      }
      out += "}"
    }
  }

  private static func write(_ text: String, _ out: inout String) {
    out += "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": out += "\\\""
      case "\\": out += "\\\\"
      case "\n": out += "\\n"
      case "\r": out += "\\r"
      case "\t": out += "\\t"
      case "\u{8}": out += "\\b"
      case "\u{c}": out += "\\f"
      case _ where scalar.value < 0x20:
        let hex = String(scalar.value, radix: 16)
        out += "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
      default: out.unicodeScalars.append(scalar)
      }
    }
    out += "\""
  }

  /// Ruby's `Float#to_s`: plain between 1e-4 and 1e16, else `1.0e+20`.
  static func text(of value: Double) -> String {
    guard value.isFinite else { return value.isNaN ? "NaN" : value < 0 ? "-Infinity" : "Infinity" }
    let text = "\(value)"
    guard let e = text.firstIndex(of: "e") else { return text }
    var mantissa = text[..<e].filter { $0 != "-" }
    guard let exponent = Int(text[text.index(after: e)...]) else { return text }
    let sign = value < 0 ? "-" : ""
    if !mantissa.contains(".") { mantissa += ".0" }
    if exponent >= 16 || exponent < -4 {
      let width = abs(exponent) < 10 ? "0" : ""
      return sign + mantissa + "e" + (exponent < 0 ? "-" : "+") + width + String(abs(exponent))
    }
    // Swift switches to an exponent a little earlier than Ruby does (below 1e-4 and from 2^54 on): only 1e-4…1e-5 is left here.
    let digits = mantissa.filter { $0 != "." }
    let trimmed = digits.hasSuffix("0") && digits.count > 1 ? String(digits.dropLast()) : digits
    return exponent < 0 ? sign + "0." + String(repeating: "0", count: -exponent - 1) + trimmed : text
  }
}
