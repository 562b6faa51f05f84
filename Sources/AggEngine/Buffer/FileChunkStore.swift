public import AggCore
import Glibc
import Synchronization

/// Chunks as files in one directory: `PREFIXb<id>.agg` while staged, `PREFIXq<id>.agg` once sealed.
///
/// One process owns the directory (`.PREFIXlock`). Appends come through the buffer's lane. Only staged chunks are kept in mind:
/// a sealed one is its name.
public final class FileChunkStore: ChunkStore {
  public struct Options: Sendable {
    public var directory: String
    public var prefix: String
    public var permission = 0o644
    public var directoryPermission = 0o755
    public var durability = BufferConfig.Durability.os
    public var compress = BufferConfig.Compress.text
    /// The chunk's key is a part of its name: `PREFIXkey.b<id>.agg`.
    public var namesKeys = false
    /// Decoded size of a chunk above which a file is damaged or hostile.
    public var chunkLimit = 1 << 30
    /// Shared by the buffers of a daemon.
    public var files = ChunkFiles()
    public var adoption: Adoption?
    public init(directory: String, prefix: String) {
      self.directory = directory
      self.prefix = prefix
    }
  }

  /// Frames smaller than this are stored plain: they compress badly one by one.
  static let compressionThreshold = 16 << 10
  /// A staged chunk.
  struct Entry {
    var nonce: UInt64
    var size: Int
    /// As far as it would be there after power loss; with `fsync` only.
    var syncedSize = 0
    /// What stands between prefix and state in the name.
    var key = ""
    /// Part of a refused append stands behind `size`: it could not be cut off, and what comes is written over it.
    var isTorn = false
  }
  struct State {
    var staged: [ChunkID: Entry] = [:]
    /// Of sealed chunks whose names hold a key.
    var keys: [ChunkID: String] = [:]
    /// Appended to since their last sync, which must be through the same descriptor: another may not be told of an error.
    var unsynced: [ChunkID: File] = [:]
    /// A name in the directory is new.
    var hasNewNames = false
    var generation = 0
  }
  let options: Options
  let state = Mutex(State())
  private let lock = Mutex<File?>(nil)
  let log: Log
  private let removing: Trouble
  private let leftovers = Leftovers()

  public init(_ options: Options, log: Log) {
    self.options = options
    self.log = log
    removing = Trouble(log)
  }
  public var isPersistent: Bool { true }
  public var needsSync: Bool { options.durability == .fsync }
  public var generation: Int { state.withLock { $0.generation } }

  /// Takes the directory and finds what an earlier run left, oldest first. `committed` says which batches count.
  public func open(committed: (BatchID) -> Bool) throws(StoreError) -> Recovery {
    do {
      try File.makeDirectories(options.directory, permission: options.directoryPermission, sync: needsSync)
      let file = try File(options.directory + "/." + options.prefix + "lock", [.readWrite, .create], permission: 0o600)
      guard file.tryLockPatiently() else { throw StoreError("\(options.directory): another agg uses this buffer; give each its own path") }
      lock.withLock { $0 = file }
      adopt()
      return try recover(committed)
    } catch let error as StoreError { throw error } catch { throw Self.mapped(error) }
  }

  func path(_ id: ChunkID, sealed: Bool, key: String) -> String {
    "\(options.directory)/\(options.prefix)\(key)\(sealed ? "q" : "b")\(id).agg"
  }
  /// Where the chunk is now.
  func path(_ id: ChunkID) -> String {
    let (isSealed, key) = state.withLock { s in s.staged[id].map { (false, $0.key) } ?? (true, s.keys[id] ?? "") }
    return path(id, sealed: isSealed, key: key)
  }
  /// As Fluentd's file_single writes a key; cut where a name would become too long, since the file itself has it whole.
  private func key(_ metadata: ChunkMetadata) -> String {
    guard options.namesKeys else { return "" }
    let text = metadata.variables.first?.value ?? metadata.tag?.description ?? ""
    var out = ""
    for byte in text.utf8 {
      let isPlain = byte == 0x2d || byte == 0x2e || byte == 0x5f || (0x30...0x39).contains(byte) || (0x41...0x5a).contains(byte) || (0x61...0x7a).contains(byte)
      out += isPlain ? String(UnicodeScalar(byte)) : "%" + (byte < 16 ? "0" : "") + String(byte, radix: 16, uppercase: true)
      if out.utf8.count >= 150 { break }
    }
    return out + "."
  }

  // MARK: Appending

  public func append(_ batches: [EventBatch], to chunk: ChunkID, _ metadata: ChunkMetadata, id: BatchID) throws(StoreError) {
    var out = ByteWriter(capacity: batches.reduce(256) { $0 + $1.byteCount + Frame.header + $1.tag.description.utf8.count })
    var entry: Entry
    let isNew: Bool
    if let known = state.withLock({ $0.staged[chunk] }) {
      entry = known
      isNew = false
    } else {
      var random = SystemRandomNumberGenerator()
      entry = Entry(nonce: random.next(), size: 0, key: key(metadata))
      isNew = true
      let now = EventTime.now()
      Frame.writeFile(
        Frame.File(nonce: entry.nonce, id: chunk, created: now.seconds &* 1_000_000_000 &+ Int64(now.nanoseconds), metadata: metadata, length: 0),
        into: &out)
    }
    for batch in batches { frame(batch, entry.nonce, id, into: &out) }
    do {
      let path = path(chunk, sealed: false, key: entry.key)
      let file = try options.files.file(of: chunk) ?? File(path, isNew ? [.readWrite, .create, .truncate] : [.readWrite], permission: options.permission)
      Faults.hit(.append)
      if Faults.isArmed(.tornAppend) { try? file.write(at: entry.size, UnsafeRawBufferPointer(rebasing: out.bytes.prefix(out.count / 2))) }
      Faults.hit(.tornAppend)
      do { try file.write(at: entry.size, out.bytes) } catch {
        // What was written of it is cut off, or written over by the next append.
        if isNew { try? File.remove(path) } else if (try? file.truncate(to: entry.size)) == nil { state.withLock { $0.staged[chunk]?.isTorn = true } }
        throw error
      }
      Faults.hit(.appended)
      entry.size += out.count
      if entry.isTorn { entry.isTorn = (try? file.truncate(to: entry.size)) == nil }
      options.files.keep(file, of: chunk)
      let updated = entry
      state.withLock { s in
        s.staged[chunk] = updated
        guard needsSync else { return }
        s.unsynced[chunk] = file
        if isNew { s.hasNewNames = true }
      }
    } catch { throw Self.mapped(error) }
  }

  private func frame(_ batch: EventBatch, _ nonce: UInt64, _ id: BatchID, into out: inout ByteWriter) {
    let tag = batch.tag.description
    batch.withBytes { bytes in
      if options.compress != .text, bytes.count >= Self.compressionThreshold {
        var packed = ByteWriter(capacity: bytes.count / 3 + 1024)
        if options.compress == .gzip { Gzip.compress(bytes, into: &packed) } else { Zstd.compress(bytes, into: &packed) }
        Frame.write(
          .data, options.compress == .gzip ? .gzip : .zstd, tag: tag, count: batch.count, raw: bytes.count, payload: packed.bytes, batch: id,
          nonce: nonce, into: &out)
      } else {
        Frame.write(.data, .none, tag: tag, count: batch.count, raw: bytes.count, payload: bytes, batch: id, nonce: nonce, into: &out)
      }
    }
  }

  /// What a failed sync leaves in doubt and cannot be cut off: what comes is written behind the damage, which is skipped when the chunk is read.
  private func abandon(_ chunk: ChunkID, _ path: String) {
    state.withLock { $0.staged[chunk]?.size = File.status(path)?.size ?? 0 }
    log.error("\(path): what could not be synced cannot be cut off either")
  }

  /// Marks the batch's frames in place, which needs no room on a full disk. Walks the chunk's headers: rare.
  public func void(_ id: BatchID, in chunk: ChunkID) throws(StoreError) {
    guard let entry = state.withLock({ $0.staged[chunk] }) else { return }
    do {
      let file = try options.files.file(of: chunk) ?? File(path(chunk, sealed: false, key: entry.key), [.readWrite])
      guard let header = try Self.header(of: file) else { throw StoreError("\(file.path): its header is damaged") }
      var walker = FrameWalker(file, header, size: entry.size, verifies: false)
      walk: while true {
        switch try walker.next() {
        case .end: break walk
        case .damaged: continue
        case .frame(let frame, let at, _): if frame.kind == .data, frame.batch == id { try void(file, at) }
        }
      }
      if needsSync { state.withLock { $0.unsynced[chunk] = file } }
    } catch { throw Self.mapped(error) }
  }
  /// The frame at `at` does not count any more.
  func void(_ file: File, _ at: Int) throws(FileError) {
    var bytes = ByteWriter(capacity: Frame.header)
    _ = try file.read(at: at, Frame.header, into: &bytes)
    let marked = Frame.voided(bytes.bytes)
    do { try marked.withUnsafeBytes { try file.write(at: at, $0) } } catch { throw error as? FileError ?? FileError(file.path, "write") }
  }

  // MARK: Power loss

  public func sync() throws(StoreError) {
    guard needsSync else { return }
    do { try syncFiles() } catch { throw Self.mapped(error) }
  }

  private func syncFiles() throws {
    let (files, hasNewNames) = state.withLock { s in
      let files = s.unsynced.map { (id: $0.key, file: $0.value, size: s.staged[$0.key]?.size ?? 0) }
      s.unsynced = [:]
      defer { s.hasNewNames = false }
      return (files, s.hasNewNames)
    }
    var failure: FileError?
    for (id, file, size) in files {
      do throws(FileError) {
        if failure == nil {
          try file.sync()
          state.withLock { s in if let synced = s.staged[id]?.syncedSize { s.staged[id]?.syncedSize = max(synced, size) } }
          continue
        }
      } catch { failure = error }
      state.withLock { if $0.unsynced[id] == nil { $0.unsynced[id] = file } }
    }
    if failure == nil, hasNewNames { do throws(FileError) { try File.syncDirectory(options.directory) } catch { failure = error } }
    if let failure {
      state.withLock { $0.hasNewNames = $0.hasNewNames || hasNewNames }
      throw failure
    }
  }

  /// After a failed sync the kernel may take what it could not write for written: what was not synced before is cut off, and its
  /// descriptors are never used again. Every batch that waits for a sync is refused.
  public func revert() {
    let files = state.withLock { s in
      s.generation += 1
      let files = s.unsynced.keys.map { ($0, s.staged[$0]) }
      s.unsynced = [:]
      return files
    }
    for (id, entry) in files {
      options.files.drop(id)
      guard let entry else { continue }
      let path = path(id, sealed: false, key: entry.key)
      do throws(FileError) {
        if entry.syncedSize == 0 {
          try File.remove(path)
          state.withLock { s in s.staged[id] = nil }
        } else {
          let file = try File(path, [.readWrite])
          try file.truncate(to: entry.syncedSize)
          state.withLock { s in
            s.staged[id]?.size = entry.syncedSize
            s.unsynced[id] = file
          }
        }
      } catch {
        log.error("\(error)")
        abandon(id, path)
      }
    }
  }

  public func seal(_ chunk: ChunkID, records: Int) throws(StoreError) {
    guard let entry = state.withLock({ $0.staged[chunk] }) else { return }
    let from = path(chunk, sealed: false, key: entry.key)
    let to = path(chunk, sealed: true, key: entry.key)
    do {
      // An attempt before may have failed after the renaming.
      if File.status(to) == nil {
        let file = try options.files.file(of: chunk) ?? File(from, [.readWrite])
        try seal(file, entry, records)
        Faults.hit(.seal)
        try File.rename(from, to: to)
        Faults.hit(.sealed)
        // Synced above, where that is asked for.
        state.withLock { $0.unsynced[chunk] = nil }
      }
      if needsSync { try File.syncDirectory(options.directory) }
      options.files.drop(chunk)
      state.withLock { s in
        s.staged[chunk] = nil
        s.unsynced[chunk] = nil
        if !entry.key.isEmpty { s.keys[chunk] = entry.key }
      }
    } catch {
      options.files.drop(chunk)
      throw Self.mapped(error)
    }
  }
  /// The frame that saves the next start a scan. Where there is no room for it, the chunk is one of those that are scanned.
  private func seal(_ file: File, _ entry: Entry, _ records: Int) throws(FileError) {
    var out = ByteWriter(capacity: 128)
    Frame.writeSeal(records, nonce: entry.nonce, into: &out)
    do throws(FileError) {
      try file.write(at: entry.size, out.bytes)
      if entry.isTorn { try file.truncate(to: entry.size + out.count) }
    } catch {
      try file.truncate(to: entry.size)
      if !error.isFull { throw error }
    }
    guard needsSync else { return }
    do throws(FileError) { try file.sync() } catch {
      // A full disk: what is safe already needs no more than to be without the frame. Frames that recovery has just voided are not.
      guard error.isFull, entry.syncedSize == entry.size else { throw error }
      try file.truncate(to: entry.size)
    }
  }

  public func remove(_ chunk: ChunkID) {
    var path = path(chunk)
    let staged = state.withLock { s in
      s.unsynced[chunk] = nil
      s.keys[chunk] = nil
      return s.staged.removeValue(forKey: chunk)
    }
    // Sealing may have failed behind the renaming.
    if let staged, File.status(path) == nil { path = self.path(chunk, sealed: true, key: staged.key) }
    options.files.drop(chunk)
    Faults.hit(.delete)
    do throws(FileError) {
      try File.remove(path)
      removing.worked("delivered chunks are removed again")
    } catch {
      removing.failed("a delivered chunk cannot be removed, and is tried again: \(error)")
      // Should agg be killed before it is, a chunk without frames is none.
      if let file = try? File(path, [.readWrite]), let header = try? Self.header(of: file) { try? file.truncate(to: header.length) }
      leftovers.add(path)
    }
    Faults.hit(.deleted)
    leftovers.retry { (try? File.remove($0)) != nil }
  }

  public func setAside(_ chunk: ChunkID) {
    let path = path(chunk)
    state.withLock { s in
      s.staged[chunk] = nil
      s.unsynced[chunk] = nil
      s.keys[chunk] = nil
    }
    options.files.drop(chunk)
    // Reading it may have done so.
    if File.status(path) != nil { quarantine(path) }
  }

  public func close() {
    leftovers.retryAll { (try? File.remove($0)) != nil }
    let ids = state.withLock { s in
      s.unsynced = [:]
      return Array(s.staged.keys)
    }
    for id in ids { options.files.drop(id) }
    lock.withLock { $0 = nil }
  }

  static func mapped(_ error: any Error) -> StoreError {
    if let error = error as? FileError { return StoreError(error.description, isFull: error.isFull, isMissing: error.isMissing) }
    if let error = error as? StoreError { return error }
    return StoreError("\(error)")
  }
}

extension File {
  /// As `tryLock`, but for a second: a child between fork and exec holds its parent's locks. Blocks; at the start only.
  func tryLockPatiently() -> Bool {
    for _ in 0..<20 {
      if tryLock() { return true }
      usleep(50_000)
    }
    return tryLock()
  }
}
