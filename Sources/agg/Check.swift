import AggCore
import AggEngine
import AggNet
import AggPlugins
import ArgumentParser
import Glibc

/// `agg check FILE`: every mistake and everything without effect; then the topology, and what in it is surely not meant.
struct Check: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Read a configuration, report every mistake, and explain where events go.",
    discussion: """
      Mistakes, and what has no effect (unknown parameters), end with status 1. Warnings about the topology (a match that is never
      reached, a label nobody uses) do not, unless --strict is given.
      """)
  @Argument(help: "Configuration file.")
  var file: String
  @Flag(help: "Print the configuration as it was read, secrets masked.")
  var dump = false
  @Flag(help: "Warnings end with status 1 too.")
  var strict = false

  mutating func run() throws {
    let warnings = ConfigWarnings()
    let topology: Topology
    do {
      let loaded = try LoadedConfig(path: file, warnings: warnings)
      let host = EngineHost(log: Log(level: .fatal, writer: DaemonLog()))
      host.register(Network())
      host.register(LedgerReader())
      topology = try TopologyBuilder(plugins: builtins, host: host, system: loaded.system, info: loaded.info, context: loaded.context).build(loaded.root)
      if dump { print(SecretMask(builtins).text(loaded.root)) }
    } catch {
      for warning in warnings.all { printError("\(warning)") }
      exitWithError("\(error)")
    }
    for warning in warnings.all { printError("\(warning)") }
    if !warnings.all.isEmpty { exitWithError("\(file): \(warnings.all.count) mistake\(warnings.all.count == 1 ? "" : "s")") }
    let explanation = TopologyText(topology)
    print(explanation.text, terminator: "")
    let doubts = explanation.warnings
    for warning in doubts { printError("\(warning.at): warning: \(warning.message)") }
    print("\(file): valid\(doubts.isEmpty ? "" : ", \(doubts.count) warning\(doubts.count == 1 ? "" : "s")")")
    if strict, !doubts.isEmpty { throw ExitCode(1) }
  }
}
