/// A parameter with a fixed set of words; the cases' raw values are the words.
public protocol ConfigEnum: RawRepresentable, CaseIterable, ConfigReadable where RawValue == String {}

extension ConfigEnum {
  public static var configType: String { "enum: " + allCases.map(\.rawValue).joined(separator: ", ") }
  public init(configText: String, strict: Bool) throws(ConfigValueError) {
    guard let value = Self(rawValue: configText) else {
      throw ConfigValueError("must be one of \(Self.allCases.map(\.rawValue).joined(separator: ", ")); got '\(configText)'")
    }
    self = value
  }
  public var configText: String { rawValue }
}
