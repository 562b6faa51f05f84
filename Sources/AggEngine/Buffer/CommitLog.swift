public import AggCore
import Glibc
import Synchronization

/// The one place that says which batches are stored, and so where each source resumes.
///
///     file    "AGGL" version:u32, then records
///     record  length:u32 crc:u32 body
///     body    epoch:u32 sequence:u64 spans:u16 (plugin key state, each with a 32-bit length)*
///             spans = 0xffff: every batch up to `sequence` is stored, or its frames are voided in place
///
/// Appended with one write a record; records that arrive while a write is in progress go out in the next one.
/// Reading stops at the first record that is not whole: what follows was never acknowledged.
public final class CommitLog: Sendable {
  private static let magic: UInt32 = 0x4147_474c
  private static let version: UInt32 = 1
  /// Rewritten with only what still matters when it has grown by this much.
  private static let compactAt = 4 << 20

  private struct State: ~Copyable {
    var file: File?
    var size = 0
    var compactedSize = 0
    var sources: [Source: [UInt8]] = [:]
    var pending = ByteWriter(capacity: 4096)
    /// What the records in `pending` say. It counts once they are written: a compaction must not store a commit that failed.
    var staged: [Staged] = []
    var waiting: [CheckedContinuation<Void, any Error>] = []
    var writing = false
    var isClosed = false
    /// Batches begun and neither committed nor aborted; everything below the least of them is decided.
    var open: Set<UInt64> = []
    var next: UInt64 = 1
    /// Committed above the last watermark that was written.
    var recent: Set<UInt64> = []
    var recentLimit = 8192
    /// A write failed, and so did the truncation after it.
    var mustCut = false
    var watermark: UInt64 { (open.min() ?? next) - 1 }
  }
  private struct Staged {
    var sequence: UInt64
    var spans: [(plugin: String, span: SourceSpan)]
  }
  private struct Committed {
    var watermark: UInt64 = 0
    var sequences: Set<UInt64> = []
  }
  private struct Source: Hashable {
    var plugin: String
    var key: String
  }
  private let path: String
  private let durability: BufferConfig.Durability
  private let pool: BlockingPool
  private let log: Log
  private let trouble: Trouble
  private let state = Mutex(State())
  /// Batches committed by earlier runs, by epoch: for recovery only.
  private let earlier: Mutex<[UInt32: Committed]> = Mutex([:])
  private let currentEpoch = Mutex<UInt32>(1)
  public var epoch: UInt32 { currentEpoch.withLock { $0 } }

  private let directoryPermission: Int

  public init(path: String, durability: BufferConfig.Durability, directoryPermission: Int = 0o755, pool: BlockingPool, log: Log) {
    self.directoryPermission = directoryPermission
    self.path = path
    self.durability = durability
    self.pool = pool
    self.log = log
    trouble = Trouble(log)
  }

  /// Reads what is there, opens a new epoch and takes the file. Any bytes open.
  public func open() throws(StoreError) {
    do {
      try File.makeDirectories(File.directory(of: path), permission: directoryPermission, sync: durability == .fsync)
      var last: UInt32 = 0
      var whole = 0
      if File.status(path) != nil {
        let bytes = try File.contents(path)
        whole = read(bytes.bytes, &last)
      }
      currentEpoch.withLock { $0 = last &+ 1 }
      let file = try File(path, [.readWrite, .create], permission: 0o600)
      guard file.tryLockPatiently() else { throw StoreError("\(path): another agg writes here; give each its own buffer path") }
      do { try compact() } catch let error as FileError {
        // No reason not to start: the old log is good, and records are appended to it when there is room again.
        log.warn("the commit log cannot be written anew and goes on as it is: \(error)")
        state.withLock { s in
          s.file = file
          s.size = whole
          s.compactedSize = whole
          s.mustCut = true
        }
      }
    } catch let error as StoreError { throw error } catch { throw StoreError("\(error)", isFull: (error as? FileError)?.isFull ?? false) }
  }

  /// Returns how much of it is whole.
  private func read(_ bytes: UnsafeRawBufferPointer, _ last: inout UInt32) -> Int {
    var reader = BinaryReader(bytes)
    guard reader.integer(UInt32.self) == Self.magic, reader.integer(UInt32.self) == Self.version else {
      if !bytes.isEmpty { log.error("\(path): not a commit log; starting a new one. Uncommitted batches of the last run are dropped") }
      return 0
    }
    while reader.remaining > 0 {
      let start = reader.at
      guard let length = reader.integer(UInt32.self), let crc = reader.integer(UInt32.self), let body = reader.slice(Int(length)),
        Frame.checksum(body) == crc, let epoch = apply(body)
      else {
        log.warn("\(path): ends in a record that is not whole, at byte \(start): its batch was not acknowledged and is dropped")
        return start
      }
      last = max(last, epoch)
    }
    return reader.at
  }

  private func apply(_ body: UnsafeRawBufferPointer) -> UInt32? {
    var reader = BinaryReader(body)
    guard let epoch = reader.integer(UInt32.self), let sequence = reader.integer(UInt64.self), let n = reader.integer(UInt16.self) else { return nil }
    if n == 0xffff {
      earlier.withLock { $0[epoch, default: Committed()].watermark = max($0[epoch]?.watermark ?? 0, sequence) }
      return epoch
    }
    if sequence > 0 { earlier.withLock { _ = $0[epoch, default: Committed()].sequences.insert(sequence) } }
    for _ in 0..<n {
      guard let plugin = reader.text(), let key = reader.text(), let length = reader.integer(UInt32.self), let value = reader.slice(Int(length)) else {
        return nil
      }
      state.withLock { $0.sources[Source(plugin: plugin, key: key)] = length == 0 ? nil : Array(value) }
    }
    return epoch
  }

  /// What the log of a process that has ended says is stored; nothing is written. Without a file nothing is.
  static func committed(in path: String, log: Log) -> (BatchID) -> Bool {
    let reader = CommitLog(path: path, durability: .os, pool: BlockingPool(), log: log)
    var last: UInt32 = 0
    if let bytes = try? File.contents(path) { _ = reader.read(bytes.bytes, &last) }
    return { reader.wasCommitted($0) }
  }

  /// Whether a batch of an earlier run, or of this one for a buffer that a reload opens, was stored everywhere.
  public func isCommitted(_ batch: BatchID) -> Bool {
    if batch.epoch == epoch, !Faults.lacks(.commit) { return state.withLock { batch.sequence < $0.next && !$0.open.contains(batch.sequence) } }
    return wasCommitted(batch)
  }
  /// By what the file said when it was read.
  private func wasCommitted(_ batch: BatchID) -> Bool {
    if Faults.lacks(.commit) { return true }
    return earlier.withLock { all in
      guard let epoch = all[batch.epoch] else { return false }
      return batch.sequence <= epoch.watermark || epoch.sequences.contains(batch.sequence)
    }
  }
  /// Recovery is over: sealed chunks need no log.
  public func forgetEarlier() { earlier.withLock { $0 = [:] } }

  public func state(_ plugin: String, _ key: String) -> [UInt8]? { state.withLock { $0.sources[Source(plugin: plugin, key: key)] } }
  public func keys(_ plugin: String) -> [String] { state.withLock { $0.sources.keys.filter { $0.plugin == plugin }.map(\.key) } }

  /// Numbers a batch. Every number is later given to `commit` or `abort`.
  public func begin() -> BatchID {
    let sequence = state.withLock { s in
      let sequence = s.next
      s.next += 1
      s.open.insert(sequence)
      return sequence
    }
    return BatchID(epoch: epoch, sequence: sequence)
  }

  /// The batch's frames are voided or were never written.
  public func abort(_ batch: BatchID) { state.withLock { _ = $0.open.remove(batch.sequence) } }

  /// Stores that a batch is complete. Returns when the record is written (and synced, with `fsync`).
  public func commit(_ batch: BatchID, _ spans: [(plugin: String, span: SourceSpan)]) async throws {
    if BlockingPool.isCurrent {
      let mine = state.withLock { s in
        if s.writing { return false }
        add(batch, spans, &s)
        s.writing = true
        return true
      }
      if mine {
        if let error = drain() { throw error }
        return
      }
    }
    try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
      let start = state.withLock { s in
        add(batch, spans, &s)
        s.waiting.append(continuation)
        if s.writing { return false }
        s.writing = true
        return true
      }
      if start { pool.run { self.drain() } }
    }
  }

  private func add(_ batch: BatchID, _ spans: [(plugin: String, span: SourceSpan)], _ s: inout State) {
    Self.encode(batch.epoch, batch.sequence, spans.map { ($0.plugin, $0.span.key, $0.span.state) }, into: &s.pending)
    s.staged.append(Staged(sequence: batch.sequence, spans: spans))
  }

  /// The records are in the file: their batches are decided, and their sources resume behind them.
  private func written(_ staged: [Staged], _ s: inout State) {
    for commit in staged {
      for (plugin, span) in commit.spans { s.sources[Source(plugin: plugin, key: span.key)] = span.state.isEmpty ? nil : span.state }
      s.open.remove(commit.sequence)
      s.recent.insert(commit.sequence)
    }
    if s.recent.count > s.recentLimit {
      let watermark = s.watermark
      s.recent = s.recent.filter { $0 > watermark }
      // A batch that stays undecided keeps it long; going through it must not become a part of every commit.
      s.recentLimit = max(8192, s.recent.count * 2)
      Self.encode(epoch, watermark, nil, into: &s.pending)
    }
  }
  /// Writes what is pending until nothing is; the error of the first write that failed.
  @discardableResult private func drain() -> (any Error)? {
    // Of the first write: the caller's own record is in it, later ones are others'.
    var failure: (any Error)?
    var isFirst = true
    while true {
      let (bytes, staged, waiting, file, size) = state.withLock { s -> ([UInt8], [Staged], [CheckedContinuation<Void, any Error>], File?, Int) in
        var bytes = s.pending.array
        // A log that could not be begun at the start.
        if s.size == 0, !bytes.isEmpty { bytes = Self.header + bytes }
        s.pending.removeAll()
        s.pending.trim(to: 1 << 20)
        let (staged, waiting) = (s.staged, s.waiting)
        s.staged.removeAll(keepingCapacity: true)
        s.waiting = []
        if bytes.isEmpty { s.writing = false }
        return (bytes, staged, waiting, s.file, s.size)
      }
      if bytes.isEmpty { return failure }
      do {
        guard let file = try file ?? reopened() else { throw StoreError("\(path): the commit log is closed") }
        let size = state.withLock { $0.size }
        // What a failed write left behind the end must not become the next record's neighbour.
        if state.withLock({ $0.mustCut }) {
          try file.truncate(to: size)
          state.withLock { $0.mustCut = false }
        }
        if Faults.isArmed(.tornCommit) { try bytes.withUnsafeBytes { try file.write(at: size, UnsafeRawBufferPointer(rebasing: $0.prefix($0.count / 2))) } }
        Faults.hit(.tornCommit)
        try bytes.withUnsafeBytes { try file.write(at: size, $0) }
        if durability == .fsync { try file.sync() }
        state.withLock {
          $0.size = size + bytes.count
          written(staged, &$0)
        }
        trouble.worked("the commit log is written again")
        for continuation in waiting { continuation.resume() }
      } catch {
        trouble.failed("the commit log cannot be written, so nothing is stored: \(error)")
        if let file, !Self.cut(file, to: size) { state.withLock { $0.mustCut = true } }
        if durability == .fsync { giveUpDescriptor() }
        if isFirst { failure = error }
        for continuation in waiting { continuation.resume(throwing: error) }
      }
      isFirst = false
      guard state.withLock({ $0.size - $0.compactedSize > Faults.commitLogLimit(Self.compactAt) }) else { continue }
      do { try compact() } catch {
        log.error("the commit log cannot be written anew and goes on growing: \(error)")
        state.withLock { $0.compactedSize = $0.size }
      }
    }
  }

  /// A record that is there whole, though its sync failed, must not be read at the next start.
  private static func cut(_ file: File, to size: Int) -> Bool {
    if (try? file.truncate(to: size)) != nil { return true }
    let nothing = [UInt8](repeating: 0, count: 8)
    nothing.withUnsafeBytes { try? file.write(at: size, $0) }
    return false
  }

  private static var header: [UInt8] {
    var out = ByteWriter(capacity: 8)
    out.reserve(8)
    out.uncheckedBigEndian(magic)
    out.uncheckedBigEndian(version)
    return out.array
  }

  private static func encode(_ epoch: UInt32, _ sequence: UInt64, _ spans: [(String, String, [UInt8])]?, into out: inout ByteWriter) {
    let start = out.count
    out.reserve(8 + 14)
    out.count += 8
    out.uncheckedBigEndian(epoch)
    out.uncheckedBigEndian(sequence)
    out.uncheckedBigEndian(spans.map { UInt16(min($0.count, 0xfffe)) } ?? 0xffff)
    for (plugin, key, value) in (spans ?? []).prefix(0xfffe) {
      for part in [Array(plugin.utf8), Array(key.utf8), value] {
        out.reserve(4)
        out.uncheckedBigEndian(UInt32(truncatingIfNeeded: part.count))
        out.append(part)
      }
    }
    let body = UnsafeRawBufferPointer(rebasing: out.bytes[(start + 8)...])
    let crc = Frame.checksum(body)
    let head = out.mutableBytes.baseAddress! + start  // reserved above
    head.storeBytes(of: UInt32(body.count).bigEndian, as: UInt32.self)
    head.storeBytes(of: crc.bigEndian, toByteOffset: 4, as: UInt32.self)
  }

  /// Rewrites the log with the sources' states and this epoch's commits, and goes on in the new file.
  private func compact() throws {
    var out = ByteWriter(capacity: 64 << 10)
    out.append(Self.header)
    let epoch = epoch
    let (sources, recent, watermark) = state.withLock { s in
      let watermark = s.watermark
      s.recent = s.recent.filter { $0 > watermark }
      return (s.sources, s.recent, watermark)
    }
    for (source, value) in sources { Self.encode(epoch, 0, [(source.plugin, source.key, value)], into: &out) }
    Self.encode(epoch, watermark, nil, into: &out)
    for sequence in recent { Self.encode(epoch, sequence, [], into: &out) }
    for (epoch, committed) in earlier.withLock({ $0 }) {
      Self.encode(epoch, committed.watermark, nil, into: &out)
      for sequence in committed.sequences { Self.encode(epoch, sequence, [], into: &out) }
    }
    let temporary = path + ".tmp"
    let file = try File(temporary, [.readWrite, .create, .truncate], permission: 0o600)
    guard file.tryLock() else { throw StoreError("\(path): another agg writes here") }
    do {
      try file.write(out.bytes)
      if durability == .fsync { try file.sync() }
      Faults.hit(.checkpoint)
      try File.rename(temporary, to: path)
    } catch {
      // Half a log would keep a full disk full.
      try? File.remove(temporary)
      throw error
    }
    // From here on the new file is the log, whatever else fails.
    state.withLock { s in
      s.file = file
      s.size = out.count
      s.compactedSize = out.count
      s.mustCut = false
    }
    if durability == .fsync { try File.syncDirectory(File.directory(of: path)) }
    Faults.hit(.checkpointed)
  }

  /// A sync that failed is never tried again on its descriptor: the kernel may have dropped what it could not write.
  private func giveUpDescriptor() {
    state.withLock { $0.file = nil }
    // What is in the old file then is nobody's any more; where this fails, the next commit tries it again.
    do { _ = try reopened() } catch { trouble.failed("the commit log cannot be written, so nothing is stored: \(error)") }
  }
  private func reopened() throws -> File? {
    if state.withLock({ $0.isClosed }) { return nil }
    try compact()
    return state.withLock { $0.file }
  }

  public func close() {
    state.withLock { s in
      s.file = nil
      s.isClosed = true
    }
  }
}
