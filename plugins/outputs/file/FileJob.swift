import AggCore
import Glibc

/// The writing of one chunk, once: what an attempt before a kill left is found by its note and completed.
struct FileJob {
  let chunk: ChunkView
  let encoder: ChunkEncoder
  let notes: OutputNotes?
  let isSynced: Bool
  let permission: Int
  let context: PluginContext

  // MARK: One file for many chunks

  func append(to path: String) async throws -> [Rejection] {
    await PathGate.shared.enter(path)
    defer { PathGate.shared.leave(path) }
    let file = try await PathGate.open(path, permission: permission)
    var status = try file.status()
    let (behind, isStrange) = try notes.map { try foreign($0) } ?? ([], false)
    if let note = notes?.find(chunk.id), let size = note.size {
      if note.isDone {
        notes?.removeAsides(chunk.id)
        return []
      }
      if let rejects = try await complete(note, size, behind, file, status) {
        finished(isStrange)
        return rejects
      }
    }
    if let notes {
      try cutOthers(file, status, notes)
      status = try file.status()
    }
    if isSynced, status.size == 0 { try File.syncDirectory(File.directory(of: path)) }
    notes?.begin(chunk.id, .init(device: status.device, inode: status.inode, size: status.size, path: path))
    Faults.hit(.note)
    do {
      let rejects = try encode(behind) { block in
        if Faults.isArmed(.tornOutput) { try file.write(UnsafeRawBufferPointer(rebasing: block.prefix(block.count / 2))) }
        Faults.hit(.tornOutput)
        try file.write(block)
      }
      if isSynced { try file.sync() }
      Faults.hit(.outputWritten)
      finished(isStrange)
      Faults.hit(.outputDone)
      return rejects
    } catch {
      // Half a chunk would come twice with the retry; nobody else writes while the file is locked.
      if (try? cut(file, to: status.size)) != nil { notes?.forget(chunk.id) }
      throw error
    }
  }

  /// Another chunk was being written here when agg was killed, and this one comes before it (several flush threads): what is there of
  /// it is put aside and cut off, else it could not be told later where it ended.
  private func cutOthers(_ file: File, _ status: File.Status, _ notes: OutputNotes) throws {
    while let (id, size) = notes.unfinished(status.device, status.inode, besides: chunk.id) {
      let end = try file.status().size
      // A chunk that is gone was delivered, and only the line that said so is missing: what follows it is others'.
      if end > size, notes.isBuffered(id) {
        var part = ByteWriter(capacity: end - size)
        while part.count < end - size, try file.read(at: size + part.count, end - size - part.count, into: &part) > 0 {}
        try notes.putAside(id, part.bytes, isSynced: isSynced)
        try cut(file, to: size)
      }
      notes.forget(id)
    }
  }

  /// The chunk is there, and what was put aside for it is not needed any more.
  private func finished(_ isStrange: Bool) {
    if isStrange { maybeDuplicated("what it left is not its beginning") }
    notes?.done(chunk.id)
    notes?.removeAsides(chunk.id)
  }

  /// The chunk, and behind it what goes with it.
  private func encode(_ behind: [UInt8], _ body: (UnsafeRawBufferPointer) throws -> Void) throws -> [Rejection] {
    let rejects = try encoder.encode(chunk, body)
    if !behind.isEmpty { try behind.withUnsafeBytes(body) }
    return rejects
  }

  /// What was put aside as this chunk's beginning is, but for somebody else's lines behind it: they go back into the file, behind the chunk
  /// and under its note, so that a kill in between brings them neither twice nor never. What was put aside of that attempt is again its
  /// beginning. `isStrange`: something of it is not.
  private func foreign(_ notes: OutputNotes) throws -> (behind: [UInt8], isStrange: Bool) {
    var behind: [UInt8] = []
    var isStrange = false
    for block in try notes.asides(chunk.id) {
      let part = block.bytes
      var done = 0
      var isSame = true
      var isTorn = isSynced
      _ = try encode(behind) { block in
        let known = max(0, min(block.count, part.count - done))
        if known > 0, !part[done..<done + known].elementsEqual(block.prefix(known)) {
          isSame = false
          if Self.holes(UnsafeRawBufferPointer(rebasing: part[done..<done + known]), block) == nil { isTorn = false }
        }
        done += known
      }
      if isSame {
        behind += part[done...]
      } else if !isTorn || part.count > done {
        behind += part
        isStrange = true
      }
      // Else it is what power loss had kept of it.
      withExtendedLifetime(block) {}
    }
    return (behind, isStrange)
  }

  /// What follows the noted size is this chunk, or its beginning: the rest is appended. nil: it has to be written anew.
  private func complete(
    _ note: OutputNotes.Note, _ size: Int, _ behind: [UInt8], _ current: File, _ status: File.Status
  ) async throws -> [Rejection]? {
    var file = current
    if note.inode != status.inode || note.device != status.device {
      guard let moved = moved(note) else {
        maybeDuplicated("\(note.path) is gone")
        return nil
      }
      file = try File(moved, [.readWrite, .append])
      while !file.tryLock() { try await Task.sleep(for: .milliseconds(5)) }
    }
    let existing = try file.status().size - size
    if existing == 0 { return file === current ? nil : try rest(of: file, from: size, existing: 0, behind) }
    if existing < 0 {
      maybeDuplicated("\(note.path) became shorter")
      return nil
    }
    if isSynced, try isTorn(file, from: size, existing: existing, behind) {
      try cut(file, to: size)
      return file === current ? nil : try rest(of: file, from: size, existing: 0, behind)
    }
    guard let rejects = try rest(of: file, from: size, existing: existing, behind) else {
      maybeDuplicated("\(note.path) was written by somebody else")
      return nil
    }
    return rejects
  }

  /// Compares the chunk with the file's bytes from `start`, and appends what is missing; nil, and nothing changed, when they differ.
  private func rest(of file: File, from start: Int, existing: Int, _ behind: [UInt8]) throws -> [Rejection]? {
    struct Different: Error {}
    var done = 0
    var there = ByteWriter(capacity: ChunkEncoder.blockSize)
    do {
      let rejects = try encode(behind) { block in
        let known = max(0, min(block.count, existing - done))
        if known > 0 {
          there.removeAll()
          while there.count < known, try file.read(at: start + done + there.count, known - there.count, into: &there) > 0 {}
          guard there.count == known, there.bytes.elementsEqual(block.prefix(known)) else { throw Different() }
        }
        done += block.count
        if known < block.count { try file.write(UnsafeRawBufferPointer(rebasing: block[known...])) }
      }
      // More is there than the chunk: a chunk of another process follows, which is fine.
      if isSynced { try file.sync() }
      return rejects
    } catch is Different { return nil }
  }

  /// Power loss may have kept some sectors of the chunk and not others, which are zeros then: all that follows the noted size is this
  /// chunk's, and not its beginning.
  private func isTorn(_ file: File, from start: Int, existing: Int, _ behind: [UInt8]) throws -> Bool {
    struct Foreign: Error {}
    var done = 0
    var holes = 0
    var there = ByteWriter(capacity: ChunkEncoder.blockSize)
    do {
      _ = try encode(behind) { block in
        let known = max(0, min(block.count, existing - done))
        there.removeAll()
        while there.count < known, try file.read(at: start + done + there.count, known - there.count, into: &there) > 0 {}
        guard there.count == known, let n = Self.holes(there.bytes, block) else { throw Foreign() }
        holes += n
        done += block.count
      }
    } catch is Foreign { return false }
    return holes > 0 && existing <= done
  }
  /// How many bytes of `found` are zeros where the chunk has others; nil when they differ in another way.
  private static func holes(_ found: UnsafeRawBufferPointer, _ block: UnsafeRawBufferPointer) -> Int? {
    var holes = 0
    for (n, byte) in found.enumerated() where n >= block.count || byte != block[n] {
      if byte != 0 { return nil }
      holes += 1
    }
    return holes
  }

  /// Where the noted file is now: a rotation has renamed it within its directory.
  private func moved(_ note: OutputNotes.Note) -> String? {
    let directory = File.directory(of: note.path)
    guard let names = try? File.list(directory) else { return nil }
    return names.lazy.map { directory + "/" + $0 }.first {
      guard let status = File.status($0, followingLinks: false) else { return false }
      return status.inode == note.inode && status.device == note.device && status.isRegular
    }
  }

  private func maybeDuplicated(_ why: String) {
    context.counters.add(.duplicates, chunk.count)
    context.log.warn("chunk \(chunk.id) may be written twice (maybe_duplicated): agg was killed while writing it and \(why)")
  }

  /// Before a note of it is forgotten, what is cut off has to be gone for good.
  private func cut(_ file: File, to size: Int) throws {
    try file.truncate(to: size)
    if isSynced { try file.sync() }
  }

  // MARK: A file of its own

  /// Writes beside the final place and gives it its name by a link, so that a reader sees whole files; the first free index.
  func writeWhole(_ path: String, _ indices: IndexHints) throws -> ([Rejection], path: String) {
    let temporary = File.directory(of: path) + "/.agg-" + chunk.id.description
    // An earlier attempt's, noted, and without its final name: written over, since a noted file that is gone counts as delivered.
    var isNoted = false
    if let note = notes?.find(chunk.id), note.size == nil {
      // The temporary name goes only after the link is there; two links: only its removal is missing.
      let left = File.status(temporary, followingLinks: false)
      if note.isDone || left == nil || left.map({ $0.inode == note.inode && $0.links > 1 }) ?? false {
        if isSynced { try File.syncDirectory(File.directory(of: path)) }
        try File.remove(temporary)
        notes?.done(chunk.id)
        return ([], note.path)
      }
      isNoted = left.map { $0.inode == note.inode && $0.device == note.device && $0.isRegular } ?? false
    }
    if !isNoted { try File.remove(temporary) }
    let file = try File(temporary, isNoted ? [.write, .truncate] : [.write, .create, .exclusive], permission: permission)
    defer { if !isNoted { try? File.remove(temporary) } }
    let rejects = try encoder.encode(chunk) { try file.write($0) }
    // The temporary name too: a note whose file is gone says that it has its final name.
    if isSynced {
      try file.sync()
      try File.syncDirectory(File.directory(of: path))
    }
    let status = try file.status()
    notes?.begin(chunk.id, .init(device: status.device, inode: status.inode, size: nil, path: path))
    isNoted = notes != nil
    Faults.hit(.publish)
    let name = try publish(temporary, path, indices)
    Faults.hit(.published)
    if isSynced { try File.syncDirectory(File.directory(of: name)) }
    notes?.done(chunk.id)
    isNoted = false
    return (rejects, name)
  }

  private func publish(_ temporary: String, _ path: String, _ indices: IndexHints) throws -> String {
    var index = indices.start(path)
    // Where somebody has cleared the directory, counting begins anew.
    if index > 0, File.status(FilePathTemplate.indexed(path, index - 1), followingLinks: false) == nil { index = 0 }
    while index < 10_000_000 {
      let name = FilePathTemplate.indexed(path, index)
      let code: Int32
      do throws(FileError) {
        try File.link(temporary, to: name)
        indices.took(path, index)
        return name
      } catch { code = error.code }
      switch code {
      case EEXIST: index += 1
      case EPERM, EOPNOTSUPP, ENOSYS, EMLINK, EACCES:
        // A file system without links: the name is claimed by an empty file first.
        do { _ = try File(name, [.write, .create, .exclusive], permission: permission) } catch {
          if error.code != EEXIST { throw error }
          index += 1
          continue
        }
        do { try File.rename(temporary, to: name) } catch {
          try? File.remove(name)
          throw error
        }
        indices.took(path, index)
        return name
      default: throw FileError(name, "link", code)
      }
    }
    throw WriteError.retry("\(FilePathTemplate.indexed(path, index)): there are too many files of this name")
  }
}
