public import AggCore

extension FileChunkStore {
  /// What is known of a chunk before it is read: 48 bytes, and nothing else in memory.
  public struct Recovered: Sendable {
    public var id: ChunkID
    public var bytes: Int
    public var records: Int
    /// When it was begun; nanoseconds since 1970.
    var created: Int64
    private var slice: Int64
    /// Start of its time slice, for the monitor.
    public var timekey: Int64? { slice == .min ? nil : slice }

    package init(id: ChunkID, bytes: Int, records: Int, timekey: Int64?, created: Int64 = 0) {
      (self.id, self.bytes, self.records, self.created) = (id, bytes, records, created)
      slice = timekey ?? .min
    }
  }
  public struct Recovery: Sendable {
    public var chunks: [Recovered] = []
    /// Stored and committed, and not readable any more.
    public var lost = 0
    /// Of all files together; how many were gone through frame by frame.
    public var bytesRead = 0
    public var scanned = 0
    /// Staged chunks that could not be sealed: the commit log has to remember which of their frames count.
    public var unsealed = 0
    public var records: Int { chunks.reduce(0) { $0 + $1.records } }
  }
  /// Sealed chunks say in their first and last bytes what they hold. Only those that were staged, and those of an agg that wrote
  /// no seal, are gone through. No file, whatever is in it, keeps the daemon from starting.
  func recover(_ committed: (BatchID) -> Bool) throws(FileError) -> Recovery {
    var result = Recovery()
    var count = 0
    try File.forEachName(in: options.directory) { _ in count += 1 }
    // Grown by doubling, it would take three times its room.
    result.chunks.reserveCapacity(count)
    var staged: [(name: String, id: ChunkID, key: String)] = []
    var later = 0
    var buffer = ByteWriter(capacity: 4096)
    try File.forEachName(in: options.directory) { name in
      guard let (id, isSealed, key) = parse(name) else { return }
      if !isSealed { return staged.append((name, id, key)) }
      attempt(name) { () throws(FileError) in
        if let chunk = try sealed(name, id, &buffer, &result, &later) {
          result.chunks.append(chunk)
          if !key.isEmpty { state.withLock { $0.keys[id] = key } }
        }
      }
    }
    // After the walk: their new names would come up in it.
    for (name, id, key) in staged {
      let isDone = attempt(name) { () throws(FileError) in
        if let chunk = try stagedChunk(name, id, key, committed, &result, &later) { result.chunks.append(chunk) }
      }
      if !isDone { result.unsealed += 1 }
    }
    // Names that an earlier run gave just before a kill are not safe yet.
    if needsSync { try File.syncDirectory(options.directory) }
    if later > 0 { log.error("\(options.directory): \(later) chunks are of a later agg; they stay where they are") }
    result.chunks.sort { $0.created < $1.created }
    return result
  }

  @discardableResult private func attempt(_ name: String, _ body: () throws(FileError) -> Void) -> Bool {
    do throws(FileError) { try body() } catch {
      log.error("left where it is: \(error)")
      return false
    }
    return true
  }

  /// `PREFIX[key.](b|q)<id>.agg`.
  private func parse(_ name: String) -> (id: ChunkID, isSealed: Bool, key: String)? {
    guard name.hasPrefix(options.prefix), name.hasSuffix(".agg"), name.utf8.count >= options.prefix.utf8.count + 37 else { return nil }
    let middle = name.dropFirst(options.prefix.count).dropLast(4)
    let state = middle.suffix(33)
    guard let kind = state.first, kind == "b" || kind == "q", let id = ChunkID(String(state.dropFirst())) else { return nil }
    let key = String(middle.dropLast(33))
    guard options.namesKeys ? key.isEmpty || key.hasSuffix(".") : key.isEmpty else { return nil }
    return (id, kind == "q", key)
  }

  private func sealed(_ name: String, _ id: ChunkID, _ bytes: inout ByteWriter, _ result: inout Recovery, _ later: inout Int) throws(FileError) -> Recovered? {
    let path = options.directory + "/" + name
    let file = try File(path, [.read])
    bytes.removeAll()
    _ = try file.read(at: 0, 4096, into: &bytes)
    result.bytesRead += bytes.count
    if Frame.isOfLaterVersion(bytes.bytes) {
      later += 1
      return nil
    }
    guard let header = try Self.header(of: file, &bytes), header.id == id else {
      quarantine(path)
      return nil
    }
    let size = try file.status().size
    var records: Int?
    if size >= header.length + Frame.header {
      if bytes.count == size {
        records = Frame.readSeal(UnsafeRawBufferPointer(rebasing: bytes.bytes[(size - Frame.header)...]), nonce: header.nonce)
      } else {
        bytes.removeAll()
        _ = try file.read(at: size - Frame.header, Frame.header, into: &bytes)
        result.bytesRead += bytes.count
        if bytes.count == Frame.header { records = Frame.readSeal(bytes.bytes, nonce: header.nonce) }
      }
    }
    if records == nil {
      var walker = FrameWalker(file, header, size: size, verifies: false)
      records = try count(&walker)
      result.bytesRead += walker.bytesRead
      result.scanned += 1
    }
    guard let records, records > 0 else {
      try File.remove(path)
      return nil
    }
    return Recovered(id: id, bytes: size, records: records, timekey: header.metadata.timekey, created: header.created)
  }

  /// Of a sealed chunk without a seal: what its frames' headers say.
  private func count(_ walker: inout FrameWalker) throws(FileError) -> Int {
    var counts: [BatchID: Int] = [:]
    var voided: Set<BatchID> = []
    while true {
      switch try walker.next() {
      case .end: return counts.reduce(0) { voided.contains($1.key) ? $0 : $0 + $1.value }
      case .damaged: continue
      case .frame(let frame, _, _):
        switch frame.kind {
        case .data: counts[frame.batch, default: 0] += frame.count
        case .void: voided.insert(frame.batch)
        case .seal: break
        }
      }
    }
  }

  /// Gone through whole: what was not committed is voided for good, so that a later start under a newer log cannot revive it.
  private func stagedChunk(
    _ name: String, _ id: ChunkID, _ key: String, _ committed: (BatchID) -> Bool, _ result: inout Recovery, _ later: inout Int
  ) throws(FileError) -> Recovered? {
    let path = options.directory + "/" + name
    let file = try File(path, [.readWrite])
    var bytes = ByteWriter(capacity: 4096)
    if try file.read(at: 0, 4096, into: &bytes) == 0 {
      // Made, and nothing written before the end.
      try File.remove(path)
      return nil
    }
    if Frame.isOfLaterVersion(bytes.bytes) {
      later += 1
      return nil
    }
    guard let header = try Self.header(of: file, &bytes), header.id == id else {
      quarantine(path)
      return nil
    }
    var size = try file.status().size
    var walker = FrameWalker(file, header, size: size, verifies: true)
    var frames: [(frame: Frame.Fixed, at: Int, isWhole: Bool)] = []
    var voided: Set<BatchID> = []
    var lost = 0
    walk: while true {
      switch try walker.next() {
      case .end: break walk
      case .frame(let frame, let at, let isWhole):
        if frame.kind == .void { voided.insert(frame.batch) } else if frame.kind == .data { frames.append((frame, at, isWhole)) }
      case .damaged(let range, let frame):
        let isCommitted = frame.map { $0.kind == .data && committed($0.batch) } ?? false
        if isCommitted, let frame { lost += frame.count }
        // An append that the end of the last run cut off is no damage: nothing of it was accepted.
        if range.upperBound == size, !isCommitted, frame != nil || range.count < Frame.header {
          try file.truncate(to: range.lowerBound)
          size = range.lowerBound
        }
      }
    }
    result.bytesRead += bytes.count + walker.bytesRead
    result.scanned += 1
    var records = 0
    for (frame, at, isWhole) in frames where !voided.contains(frame.batch) {
      if !committed(frame.batch) { try void(file, at) } else if isWhole { records += frame.count } else { lost += frame.count }
    }
    if lost > 0 { log.error("\(path): \(lost) stored events are damaged") }
    result.lost += lost
    if records == 0, lost == 0 {
      try File.remove(path)
      return nil
    }
    state.withLock { $0.staged[id] = Entry(nonce: header.nonce, size: size, key: key) }
    do throws(StoreError) { try seal(id, records: records) } catch {
      // Tried again when it is delivered.
      log.error("\(error)")
      result.unsealed += 1
    }
    return Recovered(id: id, bytes: size, records: records, timekey: header.metadata.timekey, created: header.created)
  }
}
