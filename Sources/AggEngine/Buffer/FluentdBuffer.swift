package import AggCore
import Synchronization

/// The chunks that Fluentd left in a buffer's directory, delivered from where they are.
///
/// A chunk is never copied: it stays Fluentd's file, under Fluentd's id, until its output has it, and is removed then. So a
/// kill at any moment leaves it either whole or delivered; that a chunk comes again with the same id is what outputs know.
/// Fluentd takes no lock: that it has ended shows in nobody having its chunks open.
public final class FluentdBuffer: Sendable {
  struct Place: Sendable {
    var directory: String
    /// With the dot at its end: `buffer.`, `fsb.`.
    var prefix: String
    /// With the dot at its beginning: `.log`, `.buf`.
    var suffix: String
    /// `file_single`: the key is in the name, and there is no `.meta` file.
    var isSingle: Bool
  }
  package struct Options: Sendable {
    /// As in the configuration, and `path_suffix`.
    var path: String
    var suffix: String
    /// `@type file_single`.
    var isSingle: Bool
    /// Nil with one worker.
    var workerID: Int?
    var keys: ChunkKeys
    /// The output delivers formatted bytes as they stand.
    var takesFormatted: Bool
    /// `chunk_format text`: not looked at as MessagePack.
    var isText = false
    package init(path: String, suffix: String, isSingle: Bool, workerID: Int?, keys: ChunkKeys, takesFormatted: Bool, isText: Bool = false) {
      (self.path, self.suffix, self.isSingle, self.workerID) = (path, suffix, isSingle, workerID)
      (self.keys, self.takesFormatted, self.isText) = (keys, takesFormatted, isText)
    }
  }
  private struct Entry {
    var file: FluentdChunkFile
    /// Kept as `.broken` once what could be read of it is delivered.
    var problem: String?
    var isAside = false
  }
  private let options: Options
  private let log: Log
  private let entries = Mutex<[ChunkID: Entry]>([:])

  package init(_ options: Options, log: Log) {
    self.options = options
    self.log = log
  }

  /// What is there, oldest first. Content that no output could use is moved aside. `lost` are events of chunks that are unreadable.
  package func open() -> (chunks: [FileChunkStore.Recovered], lost: Int) {
    var files: [FluentdChunkFile] = []
    var lost = 0
    var broken: [(FluentdChunkFile, String)] = []
    var empty: [FluentdChunkFile] = []
    for place in places { find(place, &files, &broken, &empty) }
    let all = files + broken.map(\.0) + empty
    if all.isEmpty { return ([], 0) }
    if let process = OpenFiles.holder(of: Set(all.map(\.path))) {
      log.error("\(options.path): process \(process) has chunks in it open, so Fluentd may still be running: they are left to it. Stop it, then start agg again")
      return ([], 0)
    }
    for (file, why) in broken { setAside(file, why) }
    for file in empty { erase(file) }  // opened, and nothing written
    files.sort { ($0.order, $0.path) < ($1.order, $1.path) }
    var taken: [FileChunkStore.Recovered] = []
    var kept: [String] = []
    var staged = 0
    var formatted = 0
    for file in files {
      // Not read before it is delivered, where its writer counted its events.
      if let records = file.records, let isEvents = file.glance(asText: options.isText), isEvents || options.takesFormatted {
        if !isEvents { formatted += 1 }
        if file.isStaged { staged += 1 }
        taken.append(take(file, problem: nil, records))
        continue
      }
      let (content, problem) = file.content(asText: options.isText)
      guard let content else {
        lost += file.records ?? 0
        setAside(file, problem ?? "nothing in it can be read")
        continue
      }
      var records = 0
      switch content {
      case .events(let batch): records = batch.count
      case .formatted(let chunk):
        if !options.takesFormatted {
          if chunk.isText { kept.append(file.path) } else {
            lost += file.records ?? 0
            setAside(file, "it holds neither events nor text")
          }
          continue
        }
        records = chunk.count
        formatted += 1
      }
      if let problem {
        records = max(records, file.records ?? 0)
        log.error("\(file.path): \(problem); what is whole of it is delivered, then it is kept as \(File.name(of: file.path)).broken")
      }
      if file.isStaged { staged += 1 }
      taken.append(take(file, problem: problem, records))
    }
    if !taken.isEmpty {
      log.info(
        "took over \(taken.count) chunks that Fluentd left in \(options.path): \(taken.reduce(0) { $0 + $1.records }) events, \(taken.count - staged) chunks queued, "
          + "\(staged) staged, \(formatted) of formatted bytes")
    }
    if let first = kept.first {
      log.error(
        "\(kept.count) chunks in \(options.path), such as \(File.name(of: first)), hold text that another output formatted; this output needs events, so they stay where they are")
    }
    return (taken, lost)
  }

  private func take(_ file: FluentdChunkFile, problem: String?, _ records: Int) -> FileChunkStore.Recovered {
    var file = file
    if holds(file.id) { file.id = FluentdChunkFile.chunkID(file.path[...]) }
    let entry = Entry(file: file, problem: problem)
    entries.withLock { $0[entry.file.id] = entry }
    return .init(id: file.id, bytes: File.status(file.path)?.size ?? 0, records: records, timekey: file.metadata.timekey)
  }

  /// Looks only; `empty` is what holds nothing, metadata without a chunk included.
  private func find(
    _ place: Place, _ files: inout [FluentdChunkFile], _ broken: inout [(FluentdChunkFile, String)], _ empty: inout [FluentdChunkFile]
  ) {
    let meta = place.suffix + ".meta"
    let wanted = { (name: String) in name.hasPrefix(place.prefix) && (name.hasSuffix(place.suffix) || name.hasSuffix(meta)) }
    guard let names = try? File.list(place.directory, where: wanted) else { return }
    let all = Set(names)
    for name in names {
      if name.hasSuffix(meta) {
        if isOrphan(name, place, all) { empty.append(FluentdChunkFile(path: place.directory + "/" + name, isStaged: false, id: ChunkID(high: 0, low: 0))) }
        continue
      }
      guard name.hasSuffix(place.suffix), let parts = FluentdChunkFile.Name(name), parts.before.utf8.count >= place.prefix.utf8.count,
        place.isSingle ? parts.after == place.suffix : true
      else { continue }
      let path = place.directory + "/" + name
      guard let status = File.status(path), status.isRegular else { continue }
      var file = FluentdChunkFile(path: path, isStaged: parts.isStaged, id: FluentdChunkFile.chunkID(parts.id))
      file.modified = Double(status.modified.seconds) + Double(status.modified.nanoseconds) / 1e9
      if place.isSingle {
        let key = FluentdChunkFile.unescaped(parts.before.dropFirst(place.prefix.count).dropLast())
        if let field = options.keys.fields.first { file.metadata.variables = [.init(name: field, value: key)] } else if !key.isEmpty { file.metadata.tag = Tag(key) }
      } else if let meta = Self.meta(of: name, parts, all) {
        file.metaPath = place.directory + "/" + meta
        guard let bytes = try? Block(File.contents(place.directory + "/" + meta, limit: 4 << 20)), file.read(meta: bytes.bytes, options.keys.fields) else {
          broken.append((file, "\(meta) is not the metadata of a chunk"))
          continue
        }
      }
      if status.size == 0, file.records ?? 0 == 0 {
        empty.append(file)
        continue
      }
      files.append(file)
    }
  }

  /// Fluentd renames a chunk before its metadata: a kill between leaves the one queued and the other staged.
  private static func meta(of name: String, _ parts: FluentdChunkFile.Name, _ all: Set<String>) -> String? {
    [name, "\(parts.before)\(parts.isStaged ? "q" : "b")\(parts.id)\(parts.after)"].lazy.map { $0 + ".meta" }.first { all.contains($0) }
  }
  /// Metadata whose chunk was delivered just before a kill.
  private func isOrphan(_ name: String, _ place: Place, _ all: Set<String>) -> Bool {
    guard !place.isSingle, let parts = FluentdChunkFile.Name(String(name.dropLast(5))) else { return false }
    return ["b", "q"].allSatisfy { !all.contains("\(parts.before)\($0)\(parts.id)\(parts.after)") }
  }

  /// Nothing is deleted that nobody has had: a person may look at it.
  private func setAside(_ file: FluentdChunkFile, _ why: String) {
    log.error("\(file.path): \(why); moved to \(File.name(of: file.path)).broken")
    moveAside(file)
  }
  private func moveAside(_ file: FluentdChunkFile) {
    for path in [file.path, file.metaPath].compactMap({ $0 }) {
      do { try File.rename(path, to: path + ".broken") } catch { log.error("\(error)") }
    }
  }
  private func erase(_ file: FluentdChunkFile) {
    // The chunk first: metadata without one is removed at the next start, a chunk without metadata would be delivered wrongly.
    for path in [file.path, file.metaPath].compactMap({ $0 }) { do { try File.remove(path) } catch { log.error("\(error)") } }
  }

  package func holds(_ id: ChunkID) -> Bool { entries.withLock { $0[id] != nil } }

  /// The chunk as outputs take it; nil when it is not one of these.
  package func view(_ id: ChunkID, timekeySeconds: Int64?) throws(StoreError) -> ChunkView? {
    guard let entry = entries.withLock({ $0[id] }) else { return nil }
    let (content, problem) = entry.file.content(asText: options.isText)
    var view = ChunkView(id: id, metadata: entry.file.metadata, batches: [], timekeySeconds: timekeySeconds)
    switch content {
    case .events(let batch): view = ChunkView(id: id, metadata: entry.file.metadata, batches: [batch], timekeySeconds: timekeySeconds)
    case .formatted(let chunk): view.formatted = chunk
    case nil:
      // Its metadata promised more: what it had is counted as damaged.
      if !entry.isAside { setAside(entry.file, problem ?? "nothing in it can be read") }
      entries.withLock { $0[id]?.isAside = true }
    }
    if let problem, entry.problem == nil, !entry.isAside {
      entries.withLock { $0[id]?.problem = problem }
      if content != nil {
        log.error("\(entry.file.path): \(problem); what is whole of it is delivered, then it is kept as \(File.name(of: entry.file.path)).broken")
      }
    }
    return view
  }

  /// It cannot be read any more. False when it is not one of these.
  package func setAside(_ id: ChunkID) -> Bool {
    guard let entry = entries.withLock({ $0.removeValue(forKey: id) }) else { return false }
    setAside(entry.file, "it cannot be read")
    return true
  }

  /// The output has the chunk, or it was given up. False when it is not one of these.
  package func remove(_ id: ChunkID) -> Bool {
    guard let entry = entries.withLock({ $0.removeValue(forKey: id) }) else { return false }
    if entry.isAside { return true }
    if entry.problem == nil { erase(entry.file) } else { moveAside(entry.file) }
    return true
  }
}

extension FluentdBuffer {
  /// Where Fluentd keeps the chunks of a buffer with this `path`; both kinds where it is a directory.
  private var places: [Place] {
    let (path, suffix, isSingle) = (options.path, options.suffix, options.isSingle)
    let name = File.name(of: path)
    let star = name.contains(".*.") || name.hasSuffix(".*")
    if star || File.status(path).map({ !$0.isDirectory }) ?? false {
      let directory = File.directory(of: path)
      if isSingle, name.contains(".*.") { return [.init(directory: directory, prefix: "fsb.", suffix: ".buf", isSingle: true)] }
      guard star, let at = name.lastIndex(of: "*") else {
        return [.init(directory: directory, prefix: name + ".", suffix: isSingle ? ".buf" : suffix, isSingle: isSingle)]
      }
      let after = String(name[name.index(after: at)...])
      return [.init(directory: directory, prefix: String(name[..<at]), suffix: after.isEmpty ? isSingle ? ".buf" : suffix : after, isSingle: isSingle)]
    }
    // Worker 0 also looks where a Fluentd without workers has put them.
    let directories = options.workerID.map { ($0 == 0 ? [path] : []) + ["\(path)/worker\($0)"] } ?? [path]
    return directories.flatMap { directory in
      [
        Place(directory: directory, prefix: "buffer.", suffix: suffix, isSingle: false),
        Place(directory: directory, prefix: "fsb.", suffix: ".buf", isSingle: true),
      ]
    }
  }
}
