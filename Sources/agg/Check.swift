import AggCore
import AggEngine
import AggNet
import AggPlugins
import ArgumentParser
import Glibc

/// `agg check FILE`: every mistake and everything without effect; then the topology, and what in it is surely not meant.
struct Check: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "check",
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
    let first = worker(0, dump: dump)
    var topologies = [first.topology]
    // What is in <worker> sections differs from one to the next.
    if first.hasWorkerSections { topologies += (1..<max(1, first.workers)).map { worker($0, dump: false).topology } }
    var count = 0
    let explanations = topologies.map { TopologyText($0) }
    for (id, explanation) in explanations.enumerated() {
      if topologies.count > 1 { print("worker \(id)") }
      print(explanation.text.shown, terminator: "")
      // A match that serves one worker's sources is idle in the others.
      let warnings = explanation.warnings.filter { warning in
        !warning.message.contains(" gets nothing: ") || explanations.allSatisfy { $0.warnings.contains { $0.at == warning.at } }
      }
      for warning in warnings { printError("\(warning.at): warning: \(warning.message)\(topologies.count > 1 ? " (worker \(id))" : "")") }
      count += warnings.count
    }
    print("\(file): valid\(count == 0 ? "" : ", \(count) warning\(count == 1 ? "" : "s")")")
    if strict, count > 0 { throw ExitCode(1) }
  }

  /// The topology of one worker; ends the program where there are mistakes.
  private func worker(_ id: Int, dump: Bool) -> (topology: Topology, workers: Int, hasWorkerSections: Bool) {
    let warnings = ConfigWarnings()
    let topology: Topology
    let loaded: LoadedConfig
    do {
      loaded = try LoadedConfig(path: file, warnings: warnings, workerID: id)
      let host = EngineHost(log: Log(level: .fatal, writer: DaemonLog()))
      host.register(Network())
      host.register(LedgerReader())
      topology = try TopologyBuilder(plugins: builtins, host: host, system: loaded.system, info: loaded.info, context: loaded.context).build(loaded.root)
      if dump { print(SecretMask(builtins).text(loaded.root).shown) }
    } catch {
      for warning in warnings.all { printError("\(warning)") }
      exitWithError("\(error)")
    }
    for warning in warnings.all { printError("\(warning)") }
    if !warnings.all.isEmpty { exitWithError("\(file): \(warnings.all.count) mistake\(warnings.all.count == 1 ? "" : "s")") }
    return (topology, loaded.info.workers, !loaded.root.children("worker").isEmpty)
  }
}
