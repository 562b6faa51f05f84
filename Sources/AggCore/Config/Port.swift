/// A TCP or UDP port, 0 to 65535; 0 lets the system choose.
public struct Port: ConfigReadable, Hashable, ExpressibleByIntegerLiteral {
  public let number: UInt16
  public init(_ number: UInt16) { self.number = number }
  public init(integerLiteral value: UInt16) { number = value }

  public static var configType: String { "port" }
  public init(configText: String, strict: Bool) throws(ConfigValueError) {
    guard let number = UInt16(exactly: try Int(configText: configText, strict: strict)) else {
      throw ConfigValueError("must be a port from 0 to 65535; got '\(configText)'")
    }
    self.number = number
  }
  public var configText: String { String(number) }
  public static func configCaution(_ text: String) -> String? { Int.configCaution(text) }
}
