public import AggCore

extension FileChunkStore {
  /// Where workers that are no longer configured, or an agg without workers, had the chunks of this buffer.
  public struct Adoption: Sendable {
    public struct Place: Sendable, Equatable {
      public var directory: String
      /// Says which frames of its staged chunks count.
      public var commitLog: String
      public init(directory: String, commitLog: String) {
        self.directory = directory
        self.commitLog = commitLog
      }
    }
    /// Holds the `workerN` directories.
    var parent: String
    /// How many run now.
    var workers: Int
    var worker: @Sendable (Int) -> [Place]
    var single: [Place]

    public init(parent: String, workers: Int, single: [Place], worker: @escaping @Sendable (Int) -> [Place]) {
      self.parent = parent
      self.workers = workers
      self.single = single
      self.worker = worker
    }

    func places() -> [Place] {
      var numbers: [Int] = []
      try? File.forEachName(in: parent) { name in
        if name.hasPrefix("worker"), let number = Int(name.dropFirst(6)), number >= 0, workers == 1 || number >= workers { numbers.append(number) }
      }
      return (workers > 1 ? single : []) + numbers.sorted().flatMap(worker)
    }
  }

  /// Takes over what they left: staged chunks are sealed where they are, by their own commit log, then each is renamed into this
  /// directory. A kill at any moment leaves a chunk in one place or the other.
  func adopt() {
    guard let adoption = options.adoption else { return }
    for place in adoption.places() where place.directory != options.directory && holdsChunks(place.directory) {
      var theirs = options
      theirs.directory = place.directory
      theirs.adoption = nil
      let store = FileChunkStore(theirs, log: log)
      do {
        let found = try store.open(committed: CommitLog.committed(in: Engine.told(place.directory) ?? place.commitLog, log: log))
        // What was written of a chunk is known by the notes: they go first.
        try moveNotes(from: place.directory)
        for chunk in found.chunks {
          let from = store.path(chunk.id)
          try File.rename(from, to: options.directory + "/" + File.name(of: from))
        }
        if needsSync {
          try File.syncDirectory(options.directory)
          try File.syncDirectory(place.directory)
        }
        log.info("adopted \(found.chunks.count) chunks with \(found.records) events from \(place.directory), whose worker is no longer configured")
      } catch { log.error("\(place.directory) is not adopted: \(error)") }
      store.close()
    }
  }

  private func holdsChunks(_ directory: String) -> Bool {
    var holds = false
    try? File.forEachName(in: directory) { name in if name.hasPrefix(options.prefix), name.hasSuffix(".agg") { holds = true } }
    return holds
  }

  /// Hidden files beside chunks, which outputs keep: `.PREFIX…-ID` as they are, `.PREFIX…-N` behind those that are here.
  private func moveNotes(from directory: String) throws(FileError) {
    let hidden = "." + options.prefix
    let here = try File.list(options.directory) { $0.hasPrefix(hidden) }
    for name in try File.list(directory, where: { $0.hasPrefix(hidden) }) {
      guard let dash = name.lastIndex(of: "-") else { continue }
      let stem = name[...dash]
      var target = name
      if Int(name[name.index(after: dash)...]) != nil {
        let last = try File.list(options.directory) { $0.hasPrefix(stem) }.compactMap { Int($0.dropFirst(stem.count)) }.max() ?? 0
        target = "\(stem)\(last + 1)"
      } else if here.contains(name) {
        continue
      }
      try File.rename(directory + "/" + name, to: options.directory + "/" + target)
    }
  }
}
