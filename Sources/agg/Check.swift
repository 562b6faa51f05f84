import AggCore
import AggEngine
import AggNet
import AggPlugins
import ArgumentParser
import Glibc

/// `agg check FILE`: every mistake and everything without effect, then where each tag goes.
struct Check: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Read a configuration and report every mistake; warnings are mistakes here.")
  @Argument(help: "Configuration file.")
  var file: String
  @Flag(help: "Print the configuration as it was read, secrets masked.")
  var dump = false

  mutating func run() throws {
    let warnings = ConfigWarnings()
    do {
      let loaded = try LoadedConfig(path: file, warnings: warnings)
      let host = EngineHost(log: Log(level: .fatal, writer: DaemonLog()))
      host.register(Network())
      host.register(LedgerReader())
      let topology = try TopologyBuilder(plugins: builtins, host: host, system: loaded.system, info: loaded.info, context: loaded.context).build(loaded.root)
      if dump { print(loaded.root.description) }
      if warnings.all.isEmpty {
        for input in topology.inputIDs { print("input  \(input.id) -> \(input.label)") }
        for rule in topology.rules { print("\(rule.kind == "match" ? "match " : "filter") \(rule.label) \(rule.pattern.configText) -> \(rule.id)") }
        print("\(file): valid")
        return
      }
    } catch {
      for warning in warnings.all { printError("\(warning)") }
      exitWithError("\(error)")
    }
    for warning in warnings.all { printError("\(warning)") }
    exitWithError("\(file): \(warnings.all.count) mistake\(warnings.all.count == 1 ? "" : "s")")
  }
}
