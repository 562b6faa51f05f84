import AggCore

/// Where an output's file buffer keeps its chunks, as the engine decides it; nil for a buffer in memory.
///
/// Files beside the chunks are hidden, since a buffer may lie in the directory of the output, and do not end in `.agg`.
struct FileBufferPlace: Sendable {
  /// Directory and the start of each file beside the chunks.
  let prefix: String
  /// `durability fsync`: what is delivered is synced first.
  let isSynced: Bool

  init?(_ context: PluginContext, defaultType: String) {
    let buffer = context.element.child("buffer")
    guard (buffer?.type ?? defaultType) != "memory" else { return nil }
    let system = context.system
    let rooted = system.rootDirectory.map { "\($0)/worker\(system.workerID)/\(context.id)/buffer" }
    guard let path = buffer?["path"] ?? rooted ?? context.element["path"] else { return nil }
    var directory = path
    var name = "buffer."
    if let star = path.lastIndex(of: "*") {
      let before = String(path[..<star])
      directory = File.directory(of: before + "x")
      name = File.name(of: before)
    }
    if system.workers > 1 { directory += "/worker\(system.workerID)" }
    prefix = directory + "/." + name
    isSynced = buffer?["durability"] == "fsync"
  }
}
