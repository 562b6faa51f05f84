/// A number of bytes: `8m`, `256k`, `1g`, `1t` in units of 1024, or a plain number.
public struct ByteSize: ConfigReadable, Hashable, Comparable {
  public var bytes: Int
  public init(bytes: Int) { self.bytes = bytes }

  public static var configType: String { "size" }

  /// Fluentd's rule: the digits just before the first k, else m, g or t count, whatever else the text holds.
  public init(configText: String, strict: Bool) throws(ConfigValueError) {
    for (unit, shift) in Self.units {
      guard let digits = UnitText.digits(before: [unit, unit - 0x20], in: configText) else { continue }
      if strict, digits.utf8.count + 1 != configText.utf8.count { throw ConfigValueError(Self.expected(configText)) }
      let product = Int(digits)?.multipliedReportingOverflow(by: 1 << shift)
      guard let product, !product.overflow else { throw ConfigValueError("is more than 8 exbibytes; got '\(configText)'") }
      bytes = product.partialValue
      return
    }
    do throws(ConfigValueError) { bytes = try Int(configText: configText, strict: strict) } catch { throw ConfigValueError(Self.expected(configText)) }
  }

  /// In the largest unit that divides it; what is below zero can only be said in bytes.
  public var configText: String {
    for (unit, shift) in Self.units.reversed() where bytes > 0 && bytes % (1 << shift) == 0 {
      return "\(bytes >> shift)\(UnicodeScalar(unit))"
    }
    return String(bytes)
  }

  public static func configCaution(_ text: String) -> String? {
    if isPlain(text) { return nil }
    guard (try? Self(configText: text, strict: true)) == nil, let value = try? Self(configText: text, strict: false) else { return nil }
    return "'\(text)' is read as \(value.bytes) bytes; write a whole number and k, m, g or t"
  }

  /// `8MB` and `8MiB`, which Fluentd's own documents write, say what is meant.
  private static func isPlain(_ text: String) -> Bool {
    let rest = text.drop { $0.isASCII && $0.isNumber }.lowercased()
    return rest.utf8.count < text.utf8.count && ["kb", "mb", "gb", "tb", "kib", "mib", "gib", "tib"].contains(rest)
  }

  public static func < (a: Self, b: Self) -> Bool { a.bytes < b.bytes }

  private static let units: [(UInt8, Int)] = [(0x6b, 10), (0x6d, 20), (0x67, 30), (0x74, 40)]
  private static func expected(_ text: String) -> String { "must be a size such as 512k, 8m, 1g or a number of bytes; got '\(text)'" }
}

/// Numbers with a unit, found as Fluentd's `/([0-9]+)k/i` finds them.
enum UnitText {
  static func digits(before units: [UInt8], in text: String) -> String? {
    var start: Int?
    let bytes = Array(text.utf8)
    for (i, c) in bytes.enumerated() {
      if c >= 0x30, c <= 0x39 { start = start ?? i } else {
        if let start, units.contains(c) { return String(decoding: bytes[start..<i], as: UTF8.self) }
        start = nil
      }
    }
    return nil
  }
}
