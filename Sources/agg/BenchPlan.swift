import AggCore
import AggPlugins
import Glibc

/// A configuration made into what `agg bench` runs: one source, buffers in a folder, and, where wished, outputs that drop.
struct BenchPlan {
  let folder: String
  /// Outputs keep their buffers and drop what they are to write.
  let dropsAtOutputs: Bool
  private var buffers = 0
  /// Outputs that only send on to others.
  private static let routing: Set<String> = Set(builtins.outputs.map(\.name)).intersection([
    "copy", "detect_exceptions", "relabel", "rewrite_tag_filter", "roundrobin", "sampling_filter",
  ])

  init(folder: String, dropsAtOutputs: Bool) {
    self.folder = folder
    self.dropsAtOutputs = dropsAtOutputs
  }

  /// `parse` nil: the `<parse>` section of the source that has the tag, or lines as they are.
  mutating func root(_ root: ConfigElement, tag: String?, parse: BenchCommand.Kind?) throws -> ConfigElement {
    let sources = root.children.flatMap { $0.name == "worker" ? $0.children : [$0] }.filter { $0.name == "source" }
    let source = sources.first { source in source["tag"].map { tag == nil || $0 == tag } ?? false }
    guard let tag = tag ?? source?["tag"] else {
      throw ConfigErrors(at: root.at, "no source has a 'tag'; --tag says under which one to send")
    }
    var result = root
    result.children = root.children.compactMap { element in element.name == "source" ? nil : element }.map { change($0) }
    var section: ConfigElement
    switch parse {
    case .json?, .nginx?:
      section = ConfigElement(name: "parse", entries: [entry("@type", parse == .json ? "json" : "nginx", root.at)], at: root.at)
    case .syslog?:
      section = ConfigElement(
        name: "parse", entries: [entry("@type", "syslog", root.at), entry("with_priority", "true", root.at)], at: root.at)
    case .raw?: section = ConfigElement(name: "parse", entries: [entry("@type", "none", root.at)], at: root.at)
    case nil:
      section = source?.child("parse") ?? ConfigElement(name: "parse", entries: [entry("@type", "none", root.at)], at: root.at)
      section.argument = ""
    }
    var replaced = ConfigElement(
      name: "source", entries: [entry("@type", BenchInput.name, root.at), entry("tag", tag, root.at)], children: [section],
      at: root.at)
    if let label = source?["@label"] { replaced.entries.append(entry("@label", label, root.at)) }
    result.children.insert(replaced, at: 0)
    return result
  }

  private func entry(_ name: String, _ text: String, _ at: SourceLocation) -> ConfigElement.Entry {
    .init(name: name, text: text, at: at)
  }

  private mutating func change(_ element: ConfigElement) -> ConfigElement {
    var result = element
    if element.name == "system" {
      result.entries.removeAll { ["root_dir", "dead_letter_path"].contains($0.name) }
      return result
    }
    result.children.removeAll { $0.name == "source" }
    let isOutput = element.name == "match" || element.name == "store"
    if isOutput, dropsAtOutputs, let type = element.type, !Self.routing.contains(type) {
      result.entries = element.entries.filter { $0.name == "@id" } + [entry("@type", "null", element.at)]
      result.children = element.children.filter { $0.name == "buffer" }
      let isBuffered = builtins.outputs.first { $0.name == type }?.buffering != nil && type != "null" && type != "stdout"
      if result.children.isEmpty, isBuffered {
        result.children = [ConfigElement(name: "buffer", argument: "tag", at: element.at)]
      }
    }
    for i in result.children.indices {
      result.children[i] =
        result.children[i].name == "buffer" && isOutput ? moved(result.children[i]) : change(result.children[i])
    }
    return result
  }

  /// The buffer with a place of its own, whose rest is delivered at the end.
  private mutating func moved(_ buffer: ConfigElement) -> ConfigElement {
    var result = buffer
    result.entries.removeAll { ["path", "dead_letter_path", "flush_at_shutdown"].contains($0.name) }
    buffers += 1
    if let type = buffer.type, type != "memory" { result.entries.append(entry("path", "\(folder)/buffer\(buffers)", buffer.at)) }
    result.entries.append(entry("flush_at_shutdown", "true", buffer.at))
    return result
  }

  /// The folder and what is in it; nothing is followed out of it.
  static func removeAll(_ path: String) {
    guard let status = File.status(path, followingLinks: false) else { return }
    guard status.isDirectory else {
      try? File.remove(path)
      return
    }
    for name in (try? File.list(path)) ?? [] { removeAll(path + "/" + name) }
    rmdir(path)
  }
}
