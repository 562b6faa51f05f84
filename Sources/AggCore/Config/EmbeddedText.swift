/// The inside of a double-quoted text that has no quotes around it: escapes and `#{…}`.
enum EmbeddedText {
  /// nil when mistakes were reported.
  static func read(_ text: String, at: SourceLocation, _ session: ConfigSession) -> ConfigElement.Value? {
    var cursor = ConfigCursor(Array(text.utf8), file: at.file)
    var out: [UInt8] = []
    while let c = cursor.byte {
      cursor.advance(1)
      if c == UInt8(ascii: "\\"), let next = cursor.byte {
        cursor.advance(1)
        out.append(ClassicParser.escape(next) ?? next)
      } else if c == UInt8(ascii: "#"), cursor.byte == UInt8(ascii: "{") {
        cursor.advance(1)
        switch EmbeddedCode.value(&cursor, at: at, session) {
        case .text(let value)?: out += Array(value.utf8)
        case .useNil?: return .useNil
        case .useDefault?: return .useDefault
        case nil: return nil
        }
      } else {
        out.append(c)
      }
    }
    return .text(String(decoding: out, as: UTF8.self))
  }
}
