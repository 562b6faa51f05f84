extension ConfigElement: CustomStringConvertible {
  /// The section as text, with what looks like a secret by its name masked.
  public var description: String { text() }

  /// The section in the classic form, which reads back as the same tree where nothing is masked.
  ///
  /// The root prints as `<ROOT>`, as Fluentd prints it; `isSecret` gets the section and the line.
  public func text(indent: Int = 0, isSecret: (ConfigElement, Entry) -> Bool = { Self.looksSecret($1.name) }) -> String {
    var out = ""
    write(&out, indent, isSecret)
    return out
  }

  /// Names that hold passwords and keys in Fluentd's plugins; a plugin's own `secret:` parameters say it exactly.
  public static func looksSecret(_ name: String) -> Bool {
    let name = name.lowercased()
    return ["password", "passphrase", "passwd", "secret", "shared_key", "token", "api_key", "apikey", "access_key"].contains { name.contains($0) }
  }

  private func write(_ out: inout String, _ indent: Int, _ isSecret: (ConfigElement, Entry) -> Bool) {
    let margin = String(repeating: "  ", count: indent)
    out += "\(margin)<\(name)\(argument.isEmpty ? "" : " " + Self.argumentText(argument))>\n"
    for entry in entries {
      out += "\(margin)  \(Self.nameText(entry.name))"
      if isSecret(self, entry) { out += " xxxxxx\n"; continue }
      switch entry.value {
      case .text(""): out += " \"\"\n"
      case .text(let text): out += " \(Self.valueText(text))\n"
      case .useNil: out += " \"#{use_nil}\"\n"
      case .useDefault: out += " \"#{use_default}\"\n"
      }
    }
    for child in children { child.write(&out, indent + 1, isSecret) }
    out += "\(margin)</\(name)>\n"
  }

  private static func nameText(_ name: String) -> String {
    let isPlain = !name.isEmpty && name.utf8.allSatisfy { $0 > 0x20 && $0 != 0x7f } && !"\"'<#".utf8.contains(name.utf8.first ?? 0)
    return isPlain ? name : quoted(name)
  }

  private static func argumentText(_ text: String) -> String {
    let isPlain = text == RubyNumber.strip(text) && text.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x3e } && !"\"'#".utf8.contains(text.utf8.first ?? 0)
    return isPlain ? text : quoted(text)
  }

  /// Bare where the language reads it back as it is.
  private static func valueText(_ text: String) -> String {
    guard let first = text.utf8.first, text == RubyNumber.strip(text), text.utf8.allSatisfy({ $0 >= 0x20 }) else { return quoted(text) }
    if first == UInt8(ascii: "[") || first == UInt8(ascii: "{") {
      guard let json = try? ConfigJSON(parsing: text), json.json == text, !text.contains("#{") else { return quoted(text) }
      return text
    }
    return "\"'#".utf8.contains(first) || text.contains(" #") ? quoted(text) : text
  }

  private static func quoted(_ text: String) -> String {
    var out = "\""
    var previous: UnicodeScalar = " "
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": out += "\\\""
      case "\\": out += "\\\\"
      case "\n": out += "\\n"
      case "\r": out += "\\r"
      case "\t": out += "\\t"
      case "\u{c}": out += "\\f"
      case "\u{8}": out += "\\b"
      case "\0": out += "\\0"
      case "{" where previous == "#": out += "\\{"
      default: out.unicodeScalars.append(scalar)
      }
      previous = scalar
    }
    return out + "\""
  }
}
