import AggCore

/// What a changed configuration does to buffers and their commit log.
extension Engine {
  /// In the commit log: the directories of this configuration's file buffers.
  static let bufferKeys = "@buffers"
  private static let pointer = "/.commit.at"

  /// The commit log lies beside the first file buffer, or in root_dir. After an edit that may be another place: each buffer says where
  /// its log was, and the log moves. Without it what was staged could not be told from what was refused.
  func findCommitLog(_ topology: Topology) {
    guard let path = topology.commitLogPath, File.status(path) == nil else { return }
    let told = topology.fileBuffers.compactMap { Self.told($0.directory) }
    let guessed = topology.fileBuffers.map { $0.directory + "/.commit.agg" }
    for places in [told, guessed] {
      let found = Set(places).compactMap { place in File.status(place).map { (place, $0.modified) } }.max { $0.1 < $1.1 }
      guard let (old, _) = found else { continue }
      do {
        let file = try File(old, [.readWrite])
        guard file.tryLock() else { throw StoreError("another agg writes there") }
        try File.makeDirectories(File.directory(of: path), permission: topology.system.directoryPermission.map { Int($0.mode) } ?? 0o755, sync: true)
        let contents = try File.contents(old)
        try File.replace(path, with: contents.bytes, permission: 0o600, sync: true)
        try File.remove(old)
        topology.host.log.info("the commit log was \(old), as the configuration was before; it is \(path) now")
      } catch { topology.host.log.error("\(old) is not taken for the commit log: \(error)") }
      return
    }
  }

  /// Each buffer remembers where its commit log is.
  func pointToCommitLog(_ topology: Topology) {
    guard let path = topology.commitLogPath else { return }
    for buffer in topology.fileBuffers where buffer.directory != File.directory(of: path) {
      if Self.told(buffer.directory) == path { continue }
      var text = path + "\n"
      do {
        try text.withUTF8 { try File.replace(buffer.directory + Self.pointer, with: UnsafeRawBufferPointer($0), sync: buffer.durability == .fsync) }
      } catch {
        topology.host.log.error("\(error)")
      }
    }
  }

  /// Where the commit log of a buffer's directory was when it was last used; nil where it lies in it.
  static func told(_ directory: String) -> String? {
    do {
      let text = try File.contents(directory + pointer, limit: 4096)
      return text.string.split(separator: "\n").first.map(String.init)
    } catch { return nil }
  }

  struct Leftover: Sendable {
    var directory: String
    var chunks = 0
    var staged = 0
  }
  /// Buffers of outputs that are no longer configured: kept, ignored, and told of in one line.
  func leftovers(_ topology: Topology, _ known: [String]) -> [Leftover] {
    let here = Set(topology.fileBuffers.map(\.directory))
    var found: [Leftover] = []
    for directory in known.sorted() where !here.contains(directory) {
      var leftover = Leftover(directory: directory)
      try? File.forEachName(in: directory) { name in
        guard name.hasSuffix(".agg"), !name.hasPrefix("."), name.utf8.count > 37, let kind = name.dropLast(36).last else { return }
        if kind == "b" || kind == "q" { leftover.chunks += 1 }
        if kind == "b" { leftover.staged += 1 }
      }
      found.append(leftover)
    }
    let full = found.filter { $0.chunks > 0 }
    if !full.isEmpty {
      topology.host.log.warn(
        "buffers of outputs that are no longer configured are kept and not delivered: "
          + full.map { "\($0.directory) (\($0.chunks) chunks)" }.joined(separator: ", ") + "; an output with such a buffer path delivers them")
    }
    return found
  }

  func remember(_ topology: Topology, _ leftovers: [Leftover], in log: CommitLog) async {
    let known = Set(log.keys(Self.bufferKeys))
    var spans = topology.fileBuffers.map(\.directory).filter { !known.contains($0) }.map { SourceSpan(key: $0, state: [1]) }
    spans += leftovers.filter { $0.chunks == 0 }.map { SourceSpan(key: $0.directory, state: []) }
    if spans.isEmpty { return }
    // Only what a later start can tell depends on it.
    try? await log.commit(log.begin(), spans.map { (Self.bufferKeys, $0) })
  }
}
