enum YAMLConfig {
  static func read(_ bytes: [UInt8], file: String, _ session: ConfigSession) -> [ConfigElement] { [] }
}
