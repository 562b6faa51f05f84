/// The parameter table of a plugin's README and of `agg plugins NAME`, made from its declarations.
public enum ParameterTable {
  public static func markdown(_ docs: [ParameterDoc]) -> String {
    var lines = ["| parameter | type | default | meaning |", "|---|---|---|---|"]
    append(docs, prefix: "", to: &lines)
    return lines.joined(separator: "\n") + "\n"
  }
  private static func append(_ docs: [ParameterDoc], prefix: String, to lines: inout [String]) {
    for doc in docs {
      let name: String
      let value: String
      switch doc.kind {
      case .section:
        name = "<\(doc.name)>"
        value = doc.isRequiredSection ? "required" : ""
      case .argument:
        name = "(argument)"
        value = ""
      case .rest:
        name = "(any other)"
        value = ""
      case .required:
        name = doc.name
        value = "required"
      case .ignored:
        name = doc.name
        value = "ignored"
      case .unsupported:
        name = doc.name
        value = "not supported"
      case .optional:
        name = doc.name
        value = doc.defaultText ?? ""
      }
      lines.append("| \(prefix)\(name) | \(cell(doc.type)) | \(cell(value)) | \(cell(doc.text)) |")
      if let nested = doc.nested { append(nested(), prefix: prefix + name + " ", to: &lines) }
    }
  }
  private static func cell(_ text: String) -> String {
    var out = ""
    for character in text {
      switch character {
      case "|": out += "\\|"
      case "\n": out += "\\n"
      case "\t": out += "\\t"
      default: out.append(character)
      }
    }
    return out
  }
}
