import AggCore
import AggEngine
import AggPlugins

/// The declarations of agg under the titles and names that fluentd.tsv has.
struct AggParameters {
  struct Row {
    var name: String
    var doc: ParameterDoc
    /// The plugin reads this section itself, or hands it to another plugin.
    var isOpen: Bool { doc.kind == .section && doc.nested == nil }
  }

  /// Nil where agg has no such plugin.
  func rows(_ title: String) -> [Row]? {
    let words = title.split(separator: " ", maxSplits: 1).map(String.init)
    let name = words.count > 1 ? words[1] : ""
    switch words[0] {
    case "system": return flat(SystemConfig.docs)
    case "input": return builtins.inputs.first { $0.name == name }.map { flat($0.parameters()) }
    case "filter": return builtins.filters.first { $0.name == name }.map { flat($0.parameters()) }
    case "output": return builtins.outputs.first { $0.name == name }.map { flat($0.allParameters) }
    case "parser": return builtins.parsers.first { $0.name == name }.map { flat($0.parameters()) }
    case "formatter": return builtins.formatters.first { $0.name == name }.map { flat($0.parameters()) }
    case "buffer": return flat(BufferConfig.docs(type: name))
    case "sd": return ForwardOutput.serviceDiscoveries.first { $0.name == name }.map { flat($0.parameters) }
    case "storage": return rows("input sample")?.under("<storage>").filter { $0.name != "@type" }
    case "section":
      switch name {
      case "buffer": return flat(BufferConfig.docs)
      case "secondary": return nil
      case "inject": return rows("filter stdout")?.under("<inject>")
      case "extract", "transport": return rows("input tcp")?.under("<\(name)>")
      case "parse": return rows("parser none")
      case "format": return rows("formatter out_file")
      default: return nil
      }
    default: return nil
    }
  }

  private func flat(_ docs: [ParameterDoc], _ prefix: String = "") -> [Row] {
    docs.flatMap { doc -> [Row] in
      switch doc.kind {
      case .section:
        let name = prefix + "<\(doc.name)>"
        // A rule's conditions stand in <and> and <or> too: once is enough to compare.
        return [Row(name: name, doc: doc)] + (doc.nested.map { flat($0(), name + " ") } ?? [])
      case .argument: return [Row(name: prefix + "(argument)", doc: doc)]
      default: return [Row(name: prefix + doc.name, doc: doc)]
      }
    }
  }
}

extension [AggParameters.Row] {
  /// The rows of one section, without its name.
  func under(_ section: String) -> [AggParameters.Row] {
    filter { $0.name.hasPrefix(section + " ") }.map { .init(name: String($0.name.dropFirst(section.count + 1)), doc: $0.doc) }
  }
}
