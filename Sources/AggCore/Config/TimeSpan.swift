/// A length of time: `10s`, `5m`, `2h`, `1d`, or a plain number of seconds (`0.5`).
public struct TimeSpan: ConfigReadable, Hashable, Comparable {
  public var nanoseconds: Int
  public init(nanoseconds: Int) { self.nanoseconds = nanoseconds }
  /// Beyond about 292 years it stays at the limit.
  public init(seconds: Double) {
    let value = (seconds * 1e9).rounded()
    nanoseconds = Int(exactly: value) ?? (value.isNaN ? 0 : value < 0 ? .min : .max)
  }

  public var duration: Duration { .nanoseconds(nanoseconds) }
  public var seconds: Double { Double(nanoseconds) / 1e9 }

  public static var configType: String { "time" }

  /// Fluentd's rule: the digits just before the first s, else m, h or d count, whatever else the text holds: `0.5s` is 5 seconds,
  /// `100ms` is 100 minutes. Strictness refuses such texts.
  public init(configText: String, strict: Bool) throws(ConfigValueError) {
    for (unit, factor) in Self.units {
      guard let digits = UnitText.digits(before: [unit], in: configText) else { continue }
      if strict, digits.utf8.count + 1 != configText.utf8.count { throw ConfigValueError(Self.expected(configText)) }
      let seconds = Int(digits)?.multipliedReportingOverflow(by: factor)
      let product = seconds?.partialValue.multipliedReportingOverflow(by: 1_000_000_000)
      guard let seconds, let product, !seconds.overflow, !product.overflow else { throw ConfigValueError("is more than 292 years; got '\(configText)'") }
      nanoseconds = product.partialValue
      return
    }
    do throws(ConfigValueError) { nanoseconds = TimeSpan(seconds: try Double(configText: configText, strict: strict)).nanoseconds } catch { throw ConfigValueError(Self.expected(configText)) }
  }

  public var configText: String {
    guard nanoseconds % 1_000_000_000 == 0 else { return ConfigJSON.text(of: seconds) }
    let whole = nanoseconds / 1_000_000_000
    for (unit, factor) in Self.units.reversed() where whole > 0 && whole % factor == 0 { return "\(whole / factor)\(UnicodeScalar(unit))" }
    return String(whole)
  }

  public static func configCaution(_ text: String) -> String? {
    guard (try? Self(configText: text, strict: true)) == nil, let value = try? Self(configText: text, strict: false) else { return nil }
    return "'\(text)' is read as \(value.configText); write a whole number and s, m, h or d, or seconds without a unit (0.5)"
  }

  public static func < (a: Self, b: Self) -> Bool { a.nanoseconds < b.nanoseconds }

  private static let units: [(UInt8, Int)] = [(0x73, 1), (0x6d, 60), (0x68, 3600), (0x64, 86400)]
  private static func expected(_ text: String) -> String { "must be a time such as 10s, 5m, 2h, 1d or a number of seconds; got '\(text)'" }
}
