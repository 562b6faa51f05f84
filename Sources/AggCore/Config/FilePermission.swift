/// A file's mode in octal digits: `0644`.
public struct FilePermission: ConfigReadable, Hashable {
  public var mode: UInt32
  public init(mode: UInt32) { self.mode = mode }

  public static var configType: String { "permission" }
  public init(configText: String, strict: Bool) throws(ConfigValueError) {
    let digits = configText.hasPrefix("0o") ? String(configText.dropFirst(2)) : configText
    guard digits.utf8.first.map({ $0 >= 0x30 && $0 <= 0x37 }) == true, let mode = UInt32(digits, radix: 8), mode <= 0o7777 else {
      throw ConfigValueError("must be a permission in octal digits such as 0644; got '\(configText)'")
    }
    self.mode = mode
  }
  public var configText: String { "0" + String(mode, radix: 8) }
}
