public import AggCore
import Glibc
import Synchronization

/// Chunks as files in one directory: `PREFIXb<id>.agg` while staged, `PREFIXq<id>.agg` once sealed.
///
/// One process owns the directory (`.PREFIXlock`). Appends come through the buffer's lane; the map of open files is shared.
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
    public init(directory: String, prefix: String) {
      self.directory = directory
      self.prefix = prefix
    }
  }
  public struct Recovered: Sendable {
    public var id: ChunkID
    public var metadata: ChunkMetadata
    public var bytes: Int
    public var records: Int
  }

  /// Frames smaller than this are stored plain: they compress badly one by one.
  static let compressionThreshold = 16 << 10
  /// Open descriptors of staged chunks; more chunks than this are reopened as needed.
  static let openFiles = 128

  private struct Entry {
    var nonce: UInt64
    var size: Int
    var file: File?
    var sealed: Bool
    var records: Int
    /// What stands between prefix and state in the name.
    var key = ""
  }
  private let options: Options
  private let entries = Mutex<[ChunkID: Entry]>([:])
  private let lock = Mutex<File?>(nil)
  private let log: Log

  public init(_ options: Options, log: Log) {
    self.options = options
    self.log = log
  }
  public var isPersistent: Bool { true }

  /// Takes the directory and finds what an earlier run left. `committed` says which batches count.
  public func open(committed: (BatchID) -> Bool) throws(StoreError) -> [Recovered] {
    do {
      try File.makeDirectories(options.directory, permission: options.directoryPermission)
      let file = try File(options.directory + "/." + options.prefix + "lock", [.readWrite, .create], permission: 0o600)
      guard file.tryLock() else { throw StoreError("\(options.directory): another agg uses this buffer; give each its own path") }
      lock.withLock { $0 = file }
      return try recover(committed)
    } catch let error as StoreError { throw error } catch { throw Self.mapped(error) }
  }

  private func path(_ id: ChunkID, sealed: Bool, key: String? = nil) -> String {
    let key = !options.namesKeys ? "" : key ?? entries.withLock { $0[id]?.key } ?? ""
    return "\(options.directory)/\(options.prefix)\(key)\(sealed ? "q" : "b")\(id).agg"
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

  public func append(_ batch: EventBatch, to chunk: ChunkID, _ metadata: ChunkMetadata, id: BatchID) throws(StoreError) {
    var out = ByteWriter(capacity: batch.byteCount + 256)
    let entry: Entry
    let isNew: Bool
    if let known = entries.withLock({ $0[chunk] }) {
      entry = known
      isNew = false
    } else {
      var random = SystemRandomNumberGenerator()
      entry = Entry(nonce: random.next(), size: 0, file: nil, sealed: false, records: 0, key: key(metadata))
      isNew = true
      let now = EventTime.now()
      Frame.writeFile(
        Frame.File(nonce: entry.nonce, id: chunk, created: now.seconds &* 1_000_000_000 &+ Int64(now.nanoseconds), metadata: metadata, length: 0),
        into: &out)
    }
    frame(batch, entry.nonce, id, into: &out)
    do {
      let path = path(chunk, sealed: false, key: entry.key)
      let file = try entry.file ?? File(path, isNew ? [.write, .create, .exclusive] : [.write], permission: options.permission)
      Faults.hit(.append)
      if Faults.isArmed(.tornAppend) { try? file.write(at: entry.size, UnsafeRawBufferPointer(rebasing: out.bytes.prefix(out.count / 2))) }
      Faults.hit(.tornAppend)
      do { try file.write(at: entry.size, out.bytes) } catch {
        // What was written of it is cut off before anything else is appended.
        if (try? file.truncate(to: entry.size)) == nil { abandon(chunk) }
        if isNew { try? File.remove(path) }
        throw error
      }
      Faults.hit(.appended)
      let size = entry.size + out.count
      entries.withLock { all in
        var updated = entry
        updated.size = size
        updated.records += batch.count
        updated.file = file
        if all.count >= Self.openFiles, all[chunk]?.file == nil { updated.file = nil }
        all[chunk] = updated
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

  /// A file whose end cannot be mended takes no more appends; what is good in it is delivered.
  private func abandon(_ chunk: ChunkID) {
    let path = path(chunk, sealed: false)
    entries.withLock { $0[chunk]?.size = File.status(path)?.size ?? 0 }
    log.error("\(path): a failed append could not be cut off; the damaged end will be skipped")
  }

  public func void(_ id: BatchID, in chunk: ChunkID) throws(StoreError) {
    guard let entry = entries.withLock({ $0[chunk] }) else { return }
    var out = ByteWriter(capacity: 128)
    Frame.write(.void, .none, tag: "", count: 0, raw: 0, payload: UnsafeRawBufferPointer(start: nil, count: 0), batch: id, nonce: entry.nonce, into: &out)
    do {
      let file = try entry.file ?? File(path(chunk, sealed: false), [.write])
      try file.write(at: entry.size, out.bytes)
      entries.withLock { $0[chunk]?.size += out.count }
    } catch { throw Self.mapped(error) }
  }

  public func sync() throws(StoreError) {
    guard options.durability == .fsync else { return }
    let files = entries.withLock { $0.values.compactMap { $0.sealed ? nil : $0.file } }
    do {
      for file in files { try file.sync() }
      try File.syncDirectory(options.directory)
    } catch { throw Self.mapped(error) }
  }

  public func seal(_ chunk: ChunkID) throws(StoreError) {
    guard let entry = entries.withLock({ $0[chunk] }), !entry.sealed else { return }
    do {
      if options.durability == .fsync { try (entry.file ?? File(path(chunk, sealed: false), [.write])).sync() }
      Faults.hit(.seal)
      try File.rename(path(chunk, sealed: false), to: path(chunk, sealed: true))
      Faults.hit(.sealed)
      if options.durability == .fsync { try File.syncDirectory(options.directory) }
      entries.withLock {
        $0[chunk]?.sealed = true
        $0[chunk]?.file = nil
      }
    } catch { throw Self.mapped(error) }
  }

  // MARK: Reading

  public func read(_ chunk: ChunkID) throws(StoreError) -> [EventBatch] {
    let sealed = entries.withLock { $0[chunk]?.sealed ?? true }
    do {
      let block = Block(try File.contents(path(chunk, sealed: sealed), limit: options.chunkLimit))
      return scan(block, path(chunk, sealed: sealed), committed: { _ in true })?.batches ?? []
    } catch { throw Self.mapped(error) }
  }

  private struct Scan {
    var file: Frame.File
    var batches: [EventBatch] = []
    var records = 0
    var voided: [BatchID] = []
  }

  /// All good frames of a file; damage is logged with its byte range and its neighbours stay.
  private func scan(_ block: Block, _ path: String, committed: (BatchID) -> Bool) -> Scan? {
    let bytes = block.bytes
    guard let file = Frame.readFile(bytes) else { return nil }
    var result = Scan(file: file)
    var frames: [Frame.Header] = []
    var at = file.length
    walk: while true {
      switch Frame.next(bytes, at: at, nonce: file.nonce) {
      case .end: break walk
      case .damaged(let range):
        log.error("\(path): bytes \(range.lowerBound)..<\(range.upperBound) are damaged and skipped")
        at = range.upperBound
      case .frame(let header, let next):
        if header.kind == .void { result.voided.append(header.batch) } else { frames.append(header) }
        at = next
      }
    }
    let voided = Set(result.voided)
    for frame in frames where !voided.contains(frame.batch) {
      if !committed(frame.batch) {
        result.voided.append(frame.batch)
        continue
      }
      guard frame.payloadMatches, let batch = decode(frame, block) else {
        log.error("\(path): the frame at bytes \(frame.payload.lowerBound)..<\(frame.payload.upperBound) is damaged: \(frame.count) events lost")
        continue
      }
      result.batches.append(batch)
      result.records += batch.count
    }
    return result
  }

  private func decode(_ frame: Frame.Header, _ block: Block) -> EventBatch? {
    let tag = Tag(frame.tag)
    if frame.compression == .none { return EventBatch(unchecked: block, range: frame.payload, count: frame.count, tag: tag) }
    let packed = UnsafeRawBufferPointer(rebasing: block.bytes[frame.payload])
    var out = ByteWriter(capacity: frame.raw + 64)
    do {
      switch frame.compression {
      case .gzip: try Gzip.decompress(packed, into: &out, limit: DecompressionLimit(bytes: max(1, frame.raw)))
      case .zstd: try Zstd.decompress(packed, into: &out, limit: DecompressionLimit(bytes: max(1, frame.raw)))
      case .none: break
      }
    } catch { return nil }
    guard out.count == frame.raw else { return nil }
    let whole = Block(out)
    return EventBatch(unchecked: whole, range: 0..<whole.count, count: frame.count, tag: tag)
  }

  public func remove(_ chunk: ChunkID) {
    guard let entry = entries.withLock({ $0.removeValue(forKey: chunk) }) else { return }
    Faults.hit(.delete)
    do { try File.remove(path(chunk, sealed: entry.sealed, key: entry.key)) } catch { log.error("\(error)") }
    Faults.hit(.deleted)
  }

  public func close() {
    entries.withLock { for id in $0.keys { $0[id]?.file = nil } }
    lock.withLock { $0 = nil }
  }

  // MARK: Recovery

  private func recover(_ committed: (BatchID) -> Bool) throws -> [Recovered] {
    var found: [(created: Int64, chunk: Recovered)] = []
    for name in try File.list(options.directory) where name.hasPrefix(options.prefix) && name.hasSuffix(".agg") {
      let middle = name.dropFirst(options.prefix.count).dropLast(4)
      let state = middle.suffix(33)
      guard let kind = state.first, kind == "b" || kind == "q", let id = ChunkID(String(state.dropFirst())) else { continue }
      let key = String(middle.dropLast(33))
      guard options.namesKeys ? key.isEmpty || key.hasSuffix(".") : key.isEmpty else { continue }
      let path = options.directory + "/" + name
      let block: Block
      do { block = Block(try File.contents(path, limit: options.chunkLimit)) } catch {
        log.error("left where it is: \(error)")
        continue
      }
      guard let scan = scan(block, path, committed: kind == "q" ? { _ in true } : committed), scan.file.id == id else {
        quarantine(path)
        continue
      }
      entries.withLock { $0[id] = Entry(nonce: scan.file.nonce, size: block.count, file: nil, sealed: kind == "q", records: scan.records, key: key) }
      if kind == "b" {
        // What was not committed is voided for good, so that a later start under a newer log cannot revive it.
        let known = Set(scan.voided)
        for id in known { try void(id, in: scan.file.id) }
        try seal(id)
      }
      if scan.records == 0 { remove(id); continue }
      found.append((scan.file.created, Recovered(id: id, metadata: scan.file.metadata, bytes: block.count, records: scan.records)))
    }
    return found.sorted { $0.created < $1.created }.map(\.chunk)
  }

  /// Not one of our files any more: kept under another name for a person to look at.
  private func quarantine(_ path: String) {
    log.error("\(path): not a readable chunk; moved to \(path).broken")
    try? File.rename(path, to: path + ".broken")
  }

  private static func mapped(_ error: any Error) -> StoreError {
    if let error = error as? FileError { return StoreError(error.description, isFull: error.isFull) }
    if let error = error as? StoreError { return error }
    return StoreError("\(error)")
  }
}
