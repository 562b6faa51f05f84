import AggCore
import AggEngine
import AggPlugins
import ArgumentParser

/// `agg plugins`: the list; `agg plugins NAME`: one plugin's parameters, from their declarations.
struct Plugins: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "plugins", abstract: "List the plugins, or one plugin's parameters.")
  @Argument(help: "Plugin name.")
  var name: String?

  mutating func run() throws {
    let rows: [Row] =
      rows("input", builtins.inputs) + rows("filter", builtins.filters) + rows("output", builtins.outputs) + rows("parser", builtins.parsers)
      + rows("formatter", builtins.formatters)
      + [
        Row(kind: "buffer", name: "memory, file, file_single", summary: "Keeps events until the output has them.", docs: { BufferConfig.docs }),
        Row(kind: "section", name: "system", summary: "The daemon itself.", docs: { SystemConfig.docs }),
      ]
    guard let name else {
      for row in rows { print("\(row.kind.padded(10))\(row.name.padded(20))\(row.summary)") }
      return
    }
    let found = rows.filter { $0.name == name || $0.kind == name }
    if found.isEmpty { exitWithError("no plugin is named '\(name)'\(nearest(name, rows.map(\.name)).map { "; did you mean '\($0)'?" } ?? "; `agg plugins` lists them")") }
    for row in found {
      print("\(row.kind) \(row.name): \(row.summary)\n")
      print(ParameterTable.markdown(row.docs()))
    }
  }

  private struct Row {
    var kind: String
    var name: String
    var summary: String
    var docs: @Sendable () -> [ParameterDoc]
  }
  private func rows<I>(_ kind: String, _ list: [PluginType<I>]) -> [Row] {
    list.map { Row(kind: kind, name: $0.name, summary: $0.summary, docs: $0.parameters) }
  }
}

extension String {
  fileprivate func padded(_ n: Int) -> String { self + String(repeating: " ", count: Swift.max(1, n - utf8.count)) }
}
