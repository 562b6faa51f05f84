import AggCore
import AggEngine

/// `with_source_only`: sources run and their events are kept in file buffers, until SIGWINCH brings filters and outputs in.
///
/// The same file read two ways. While holding, each label that a source sends to has one output that keeps everything and delivers
/// nothing; afterwards that buffer is read into the label it was meant for, also at a later start. Needs `root_dir`: both ways then
/// share one commit log.
struct SourceOnly {
  private let directory: String
  private let bufferEntries: [ConfigElement.Entry]
  private let at: SourceLocation

  /// Throws without `root_dir`.
  init(_ system: SystemConfig, _ section: ConfigElement?, workerID: Int?, at: SourceLocation) throws {
    guard let root = system.rootDirectory else {
      throw ConfigErrors(at: at, "with_source_only needs <system> root_dir: where the events are kept")
    }
    directory = (section?["path"] ?? root + "/source-only-buffer") + (workerID.map { "/worker\($0)" } ?? "")
    bufferEntries = section?.entries.filter { $0.name != "path" && $0.name != "flush_thread_count" } ?? []
    self.at = at
  }

  /// The sources of `root`, each with an output that keeps its events.
  func holding(_ root: ConfigElement) -> ConfigElement {
    var result = root
    result.children = root.children.compactMap { element in
      switch element.name {
      case "source", "system": return element
      case "worker":
        var worker = element
        worker.children = element.children.filter { $0.name == "source" }
        return worker
      default: return nil
      }
    }
    for label in Self.labels(of: root) {
      let match = output(
        label,
        [
          .init(name: "flush_thread_count", text: "0", at: at), .init(name: "flush_at_shutdown", text: "false", at: at),
        ], overflow: true)
      result.children.append(label == "@ROOT" ? match : ConfigElement(name: "label", argument: label, children: [match], at: at))
    }
    return result
  }

  /// `root`, and for each label that has kept events an output that delivers them to it.
  func draining(_ root: ConfigElement) -> ConfigElement {
    var result = root
    let known = Set(root.children("label").map(\.argument) + ["@ROOT"])
    for label in Self.labels(of: root) where known.contains(label) && !((try? File.list(path(label))) ?? []).isEmpty {
      let match = output(
        label,
        [
          .init(name: "flush_mode", text: "immediate", at: at), .init(name: "flush_at_shutdown", text: "true", at: at),
          .init(name: "retry_forever", text: "true", at: at),
        ], overflow: false)
      result.children.append(ConfigElement(name: "label", argument: "@source_only\(label)", children: [match], at: at))
    }
    return result
  }

  private static func labels(of root: ConfigElement) -> [String] {
    let sources = root.children.flatMap { $0.name == "worker" ? $0.children : [$0] }.filter { $0.name == "source" }
    var labels = ["@ROOT"]
    for source in sources { if let label = source["@label"], !labels.contains(label) { labels.append(label) } }
    return labels
  }

  /// A label's characters that a file name may have; the rest as numbers.
  private func path(_ label: String) -> String {
    var name = ""
    for byte in label.utf8.dropFirst(label.hasPrefix("@") ? 1 : 0) {
      let isPlain =
        (0x30...0x39).contains(byte) || (0x41...0x5a).contains(byte) || (0x61...0x7a).contains(byte) || byte == 0x5f
        || byte == 0x2d
      name += isPlain ? String(UnicodeScalar(byte)) : "%\(byte)"
    }
    return directory + "/" + name
  }

  private func output(_ label: String, _ entries: [ConfigElement.Entry], overflow: Bool) -> ConfigElement {
    var buffer = ConfigElement(name: "buffer", argument: "tag", at: at)
    buffer.entries = [.init(name: "@type", text: "file", at: at), .init(name: "path", text: path(label), at: at)]
    buffer.entries += bufferEntries.filter { overflow || $0.name != "flush_interval" }
    if overflow, !bufferEntries.contains(where: { $0.name == "overflow_action" }) {
      buffer.entries.append(.init(name: "overflow_action", text: "drop_oldest_chunk", at: at))
    }
    buffer.entries += entries
    return ConfigElement(
      name: "match", argument: "**",
      entries: [
        .init(name: "@type", text: "buffer", at: at), .init(name: "@id", text: "source_only\(label)", at: at),
        .init(name: "@label", text: label, at: at),
      ], children: [buffer], at: at)
  }
}
