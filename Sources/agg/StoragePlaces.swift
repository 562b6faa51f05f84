import AggCore
import AggEngine
import AggNet
import AggPlugins
import ArgumentParser
import Glibc

/// Which buffers or dead letters a command means: those of a configuration, or of directories.
struct StoragePlaces: ParsableArguments {
  @Option(
    name: [.short, .long],
    help: ArgumentHelp(
      "Configuration whose outputs are meant (default without a directory: /etc/agg/agg.conf).", valueName: "file"))
  var config: String?
  @Option(help: ArgumentHelp("Only this output of the configuration (its @id); may be given again.", valueName: "id"))
  var output: [String] = []
  @Argument(help: "Directories, in place of a configuration.")
  var directories: [String] = []

  mutating func validate() throws {
    if config != nil, !directories.isEmpty { throw ValidationError("Give a configuration or directories, not both.") }
    if !output.isEmpty, !directories.isEmpty {
      throw ValidationError("--output names outputs of a configuration; it has no meaning for directories.")
    }
  }

  struct Store {
    var name: String
    var letters: DeadLetterDirectory
  }
  struct ChunkPlace {
    var name: String
    var directory: String
    var prefix: String
  }

  /// Ends the program where the configuration is wrong or holds no such output.
  func stores() -> [Store] {
    if !directories.isEmpty {
      return directories.flatMap { path -> [Store] in
        if File.status(path)?.isDirectory != true { exitWithError("\(path): not a directory") }
        return DeadLetterDirectory.find(under: path).map { Store(name: $0.path, letters: $0) }
      }
    }
    return places().compactMap { place in
      place.deadLetters.map { Store(name: place.id, letters: DeadLetterDirectory(path: $0, chunkDirectory: place.directory)) }
    }
  }

  func buffers() -> [ChunkPlace] {
    if !directories.isEmpty { return directories.flatMap { Self.withWorkers($0, name: nil, prefix: "") } }
    return places().compactMap { place in
      place.directory.map { ChunkPlace(name: place.id, directory: $0, prefix: place.prefix) }
    }
  }

  /// A directory and those of workers in it.
  private static func withWorkers(_ path: String, name: String?, prefix: String) -> [ChunkPlace] {
    guard let names = try? File.list(path) else { exitWithError("\(path): not a directory that can be read") }
    let workers = names.filter { $0.hasPrefix("worker") && Int($0.dropFirst(6)) != nil }.map { path + "/" + $0 }
    return ([path] + workers).map { ChunkPlace(name: name ?? $0, directory: $0, prefix: prefix) }
  }

  private func places() -> [Topology.StoragePlace] {
    let path = config ?? "/etc/agg/agg.conf"
    var found: [Topology.StoragePlace] = []
    var seen: Set<String> = []
    do {
      let workers = try LoadedConfig(path: path, warnings: ConfigWarnings(), workerID: nil).info.workers
      for worker in 0..<max(1, workers) {
        let loaded = try LoadedConfig(path: path, warnings: ConfigWarnings(), workerID: worker)
        let host = EngineHost(log: Log(level: .fatal, writer: DaemonLog()))
        host.register(Network())
        host.register(LedgerReader())
        let topology = try TopologyBuilder(
          plugins: builtins, host: host, system: loaded.system, info: loaded.info, context: loaded.context
        )
        .build(loaded.root)
        for place in topology.places
        where seen.insert("\(place.directory ?? "")/\(place.prefix) \(place.deadLetters ?? "")").inserted {
          found.append(place)
        }
      }
    } catch { exitWithError("\(error)") }
    for id in output where !found.contains(where: { $0.id == id }) {
      exitWithError(
        "\(path): no buffered output has the id '\(id)'\(nearest(id, found.map(\.id)).map { "; did you mean '\($0)'?" } ?? "")")
    }
    return output.isEmpty ? found : found.filter { output.contains($0.id) }
  }
}
