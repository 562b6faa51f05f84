import AggCore
import Glibc
import Synchronization

/// `symlink_path`: a link to a readable copy of the newest chunk that is staged, and to the file once the chunk is written.
///
/// The copy lies beside the chunk, as formatted text. Fluentd links the chunk itself, which is text there.
final class StagedCopy: StagingObserver {
  private struct Copy {
    var file: File
    var link: String
  }
  private struct State {
    var copies: [ChunkID: Copy] = [:]
    /// What each link points at, and chunks that are older than what was linked when they came.
    var linked: [String: ChunkID] = [:]
    var passed: Set<ChunkID> = []
    /// Copies in the order they came: more than `limit` open files are not kept.
    var order: [ChunkID] = []
    var newest: Int64 = .min
    var isSwept = false
  }
  static let limit = 128
  private let template: ChunkTemplate
  private let formatter: any Formatter
  private let prefix: String
  private let isRelative: Bool
  private let permission: Int
  private let directoryPermission: Int
  private let log: Log
  private let hasWarned = Atomic(false)
  private let state = Mutex(State())

  init(_ template: ChunkTemplate, _ formatter: any Formatter, prefix: String, isRelative: Bool, _ context: PluginContext) {
    self.template = template
    self.formatter = formatter
    self.prefix = prefix + "copy-"
    self.isRelative = isRelative
    permission = context.system.filePermission ?? 0o644
    directoryPermission = context.system.directoryPermission ?? 0o755
    log = context.log
  }

  func staged(_ batch: EventBatch, in chunk: ChunkID, _ metadata: ChunkMetadata) {
    do {
      guard let file = try copy(chunk, metadata) else { return }
      var out = ByteWriter(capacity: batch.byteCount * 2 + 256)
      var rejects: [Rejection] = []
      formatter.format(batch, into: &out, &rejects)
      try file.write(out.bytes)
    } catch { warn("\(error)") }
  }

  /// The copy to append to; nil for a chunk of an older slice than one that is linked.
  private func copy(_ chunk: ChunkID, _ metadata: ChunkMetadata) throws -> File? {
    let (known, isPassed, mustSweep) = state.withLock { s in
      if s.copies[chunk] == nil {
        let timekey = metadata.timekey ?? 0
        if timekey < s.newest { s.passed.insert(chunk) } else { s.newest = timekey }
      }
      defer { s.isSwept = true }
      return (s.copies[chunk]?.file, s.passed.contains(chunk), !s.isSwept)
    }
    if let known { return known }
    if isPassed { return nil }
    let path = prefix + chunk.description
    if mustSweep { try sweep() }
    let file = try File(path, [.write, .create, .append], permission: permission)
    let link = template.renderPath(ChunkView(id: chunk, metadata: metadata, batches: []))
    let old = state.withLock { s -> Copy? in
      s.copies[chunk] = Copy(file: file, link: link)
      s.linked[link] = chunk
      if s.linked.count > 4096 { s.linked = [link: chunk] }
      s.order.append(chunk)
      if s.order.count <= Self.limit { return nil }
      let oldest = s.order.removeFirst()
      if s.passed.count > 65536 { s.passed.removeAll() }
      s.passed.insert(oldest)
      return s.copies.removeValue(forKey: oldest)
    }
    if let old { try File.remove(old.file.path) }
    try point(link, at: path)
    return file
  }

  /// Removes copies of chunks that are gone: an earlier run ended before it could.
  private func sweep() throws {
    let directory = File.directory(of: prefix)
    let name = File.name(of: prefix)
    let names = Set(try File.list(directory) { $0.hasPrefix(name) || $0.hasSuffix(".agg") })
    for copy in names where copy.hasPrefix(name) {
      let id = copy.dropFirst(name.utf8.count)
      if !names.contains(where: { $0.hasSuffix("\(id).agg") }) { try File.remove(directory + "/" + copy) }
    }
  }

  /// The chunk has been written to `path`: what pointed at its copy points there now.
  func written(_ chunk: ChunkID, to path: String) {
    let (copy, isLinked) = state.withLock { s in
      s.passed.remove(chunk)
      let copy = s.copies.removeValue(forKey: chunk)
      if copy != nil { s.order.removeAll { $0 == chunk } }
      let isLinked = copy.map { s.linked[$0.link] == chunk } ?? false
      if isLinked, let copy { s.linked[copy.link] = nil }
      return (copy, isLinked)
    }
    guard let copy else { return }
    do {
      if isLinked { try point(copy.link, at: path) }
      try File.remove(copy.file.path)
    } catch { warn("\(error)") }
  }

  /// Renames a new link over the old one: a reader always finds one.
  private func point(_ link: String, at target: String) throws {
    let directory = File.directory(of: link)
    try File.makeDirectories(directory, permission: directoryPermission)
    let temporary = link + ".agg-tmp"
    try File.remove(temporary)
    let to = isRelative ? Self.relative(Self.absolute(target), to: Self.absolute(directory)) : Self.absolute(target)
    guard symlink(to, temporary) == 0 else { throw FileError(link, "link to \(to)") }
    try File.rename(temporary, to: link)
  }

  private func warn(_ why: String) {
    if !hasWarned.exchange(true, ordering: .relaxed) { log.warn("symlink_path: \(why); told once") }
  }

  private static func absolute(_ path: String) -> String {
    if path.hasPrefix("/") { return path }
    guard let current = getcwd(nil, 0) else { return path }
    defer { free(current) }
    return String(cString: current) + "/" + path
  }
  /// Ruby's Pathname#relative_path_from: by names, not by what they link to.
  static func relative(_ path: String, to directory: String) -> String {
    func names(_ path: String) -> [Substring] {
      var names: [Substring] = []
      for name in path.split(separator: "/") where name != "." { if name == ".." { _ = names.popLast() } else { names.append(name) } }
      return names
    }
    let target = names(path)
    let base = names(directory)
    let shared = zip(target, base).prefix { $0 == $1 }.count
    return (Array(repeating: "..", count: base.count - shared) + target[shared...]).joined(separator: "/")
  }
}
