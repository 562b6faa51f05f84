package import AggCore

/// A chunk in a directory, agg's own or Fluentd's, looked at from outside: it takes no lock and changes nothing.
package struct ChunkFile: Sendable {
  package enum State: String, Sendable { case staged, queued, broken }
  package var path: String
  package var id: ChunkID
  package var state: State
  package var isFluentd: Bool
  package var size: Int
  /// In nanoseconds since 1970; when it was begun.
  package var created: Int64 = 0
  package var metadata = ChunkMetadata()
  /// Of Fluentd's: where the metadata is.
  var meta: String?

  /// Chunks of a directory in the order of their creation; `prefix` leaves out those of other buffers.
  package static func find(in directory: String, prefix: String = "") throws(FileError) -> [ChunkFile] {
    let names = try File.list(directory)
    let all = Set(names)
    var found: [ChunkFile] = []
    for name in names where name.hasPrefix(prefix) {
      let path = directory + "/" + name
      if var chunk = own(name, path) ?? fluentd(name, path, all, directory) {
        guard let status = File.status(path), status.isRegular else { continue }
        chunk.size = status.size
        chunk.look(status)
        found.append(chunk)
      }
    }
    return found.sorted { ($0.created, $0.path) < ($1.created, $1.path) }
  }

  private static func own(_ name: String, _ path: String) -> ChunkFile? {
    let isBroken = name.hasSuffix(".agg.broken")
    guard isBroken || name.hasSuffix(".agg") else { return nil }
    let state = name.dropLast(isBroken ? 11 : 4).suffix(33)
    guard let kind = state.first, kind == "b" || kind == "q", let id = ChunkID(String(state.dropFirst())) else { return nil }
    return ChunkFile(path: path, id: id, state: isBroken ? .broken : kind == "b" ? .staged : .queued, isFluentd: false, size: 0)
  }

  private static func fluentd(_ name: String, _ path: String, _ all: Set<String>, _ directory: String) -> ChunkFile? {
    let isBroken = name.hasSuffix(".broken")
    let plain = isBroken ? String(name.dropLast(7)) : name
    guard !plain.hasSuffix(".meta"), !plain.hasSuffix(".agg"), let parts = FluentdChunkFile.Name(plain) else { return nil }
    let other = "\(parts.before)\(parts.isStaged ? "q" : "b")\(parts.id)\(parts.after)"
    let meta =
      [name, plain, other].map { $0 + ".meta" }.first { all.contains($0) }
      ?? (all.contains(plain + ".meta.broken") ? plain + ".meta.broken" : nil)
    var chunk = ChunkFile(
      path: path, id: FluentdChunkFile.chunkID(parts.id), state: isBroken ? .broken : parts.isStaged ? .staged : .queued,
      isFluentd: true, size: 0)
    chunk.meta = meta.map { directory + "/" + $0 }
    if meta == nil {
      // file_single: the key is in the name.
      let key = FluentdChunkFile.unescaped(parts.before.drop { $0 != "." }.dropFirst().dropLast())
      if !key.isEmpty { chunk.metadata.tag = Tag(key) }
    }
    return chunk
  }

  /// The header, or Fluentd's metadata; what cannot be read leaves the rest as it is.
  private mutating func look(_ status: File.Status) {
    created = status.modified.seconds &* 1_000_000_000 &+ Int64(status.modified.nanoseconds)
    if isFluentd {
      let file = fluentd
      metadata = file.metadata
      if file.order >= 0, file.order < 9e9 { created = Int64(file.order * 1e9) }
      return
    }
    guard let file = try? File(path, .read) else { return }
    var head = ByteWriter(capacity: 4096)
    _ = try? file.read(at: 0, 4096, into: &head)
    // Long keys: as much as a header may hold.
    if Frame.readFile(head.bytes) == nil, size > 4096 { _ = try? file.read(at: 4096, 1 << 20, into: &head) }
    guard let header = Frame.readFile(head.bytes) else { return }
    created = header.created
    metadata = header.metadata
  }

  /// As the taking over reads it, with the metadata where there is some.
  var fluentd: FluentdChunkFile {
    var file = FluentdChunkFile(path: path, isStaged: state == .staged, id: id)
    file.metadata = metadata
    if let status = File.status(path) { file.modified = Double(status.modified.seconds) }
    if let meta, let bytes = try? File.contents(meta, limit: 4 << 20) { _ = file.read(meta: bytes.bytes, []) }
    return file
  }

  /// The chunk key as people read it: `tag=app.log timekey=1700000000 host=a`.
  package var key: String {
    var parts: [String] = []
    if let tag = metadata.tag { parts.append("tag=\(tag)") }
    if let timekey = metadata.timekey { parts.append("timekey=\(timekey)") }
    for variable in metadata.variables { parts.append("\(variable.name)=\(variable.value ?? "")") }
    return parts.joined(separator: " ")
  }
}
