import AggCore
import AggEngine
import AggPlugins
import ArgumentParser

/// `agg plugins`: the list; `agg plugins NAME`: one plugin's parameters, from their declarations.
struct Plugins: ParsableCommand {
  static let configuration = CommandConfiguration(abstract: "List the plugins, or one plugin's parameters.")
  @Argument(help: "Plugin name.")
  var name: String?

  mutating func run() throws {
    let rows =
      rows("input", builtins.inputs) + rows("filter", builtins.filters) + rows("output", builtins.outputs) + rows("parser", builtins.parsers)
      + rows("formatter", builtins.formatters)
      + [("buffer", "memory, file", "Keeps events until the output has them.", { BufferConfig.docs }), ("section", "system", "The daemon itself.", { SystemConfig.docs })]
    guard let name else {
      for row in rows { print("\(row.0.padded(10))\(row.1.padded(20))\(row.2)") }
      return
    }
    let found = rows.filter { $0.1 == name || $0.0 == name }
    if found.isEmpty { exitWithError("no plugin is named '\(name)'\(nearest(name, rows.map(\.1)).map { "; did you mean '\($0)'?" } ?? "; `agg plugins` lists them")") }
    for row in found {
      print("\(row.0) \(row.1): \(row.2)\n")
      print(ParameterTable.markdown(row.3()))
    }
  }

  private func rows<I>(_ kind: String, _ list: [PluginType<I>]) -> [(String, String, String, @Sendable () -> [ParameterDoc])] {
    list.map { (kind, $0.name, $0.summary, $0.parameters) }
  }
}

extension String {
  fileprivate func padded(_ n: Int) -> String { self + String(repeating: " ", count: Swift.max(1, n - utf8.count)) }
}
