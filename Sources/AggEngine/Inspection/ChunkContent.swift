package import AggCore

/// Everything in a chunk that can be read, and where it is damaged.
package struct ChunkContent: Sendable {
  package struct Damage: Sendable {
    package var range: Range<Int>
    package var what: String
    /// Events that are lost with it, where a header says how many.
    package var events: Int
  }
  package var batches: [EventBatch] = []
  /// Bytes that Fluentd formatted.
  package var formatted: FormattedChunk?
  package var frames = 0
  /// Frames of batches that were refused, which do not count.
  package var voided = 0
  package var damage: [Damage] = []
  package var events: Int { formatted?.count ?? batches.reduce(0) { $0 + $1.count } }
}

extension ChunkFile {
  /// Largest file that is read.
  private static let limit = 8 << 30

  /// Reads and checks every frame. Throws when the file cannot be read at all.
  package func read() throws(FileError) -> ChunkContent {
    if isFluentd { return readFluentd() }
    let block = Block(try File.contents(path, limit: Self.limit))
    let bytes = block.bytes
    var content = ChunkContent()
    guard let file = Frame.readFile(bytes) else {
      content.damage.append(
        .init(range: 0..<block.count, what: Self.isOtherVersion(bytes) ?? "not a readable header of a chunk", events: 0))
      return content
    }
    if file.id != id {
      content.damage.append(.init(range: 0..<file.length, what: "its header names chunk \(file.id)", events: 0))
    }
    var frames: [Frame.Header] = []
    var voided: Set<BatchID> = []
    var at = file.length
    walk: while true {
      switch Frame.next(bytes, at: at, nonce: file.nonce) {
      case .end: break walk
      case .damaged(let range):
        content.damage.append(.init(range: range, what: "no frame", events: 0))
        at = range.upperBound
      case .frame(let header, let next):
        switch header.kind {
        case .void: voided.insert(header.batch)
        case .data: frames.append(header)
        case .seal: break
        }
        at = next
      }
    }
    for frame in frames {
      if voided.contains(frame.batch) {
        content.voided += 1
        continue
      }
      content.frames += 1
      guard frame.payloadMatches else {
        content.damage.append(.init(range: frame.payload, what: "the checksum of a frame does not match", events: frame.count))
        continue
      }
      switch Self.decode(frame, block) {
      case .success(let batch): content.batches.append(batch)
      case .failure(let error): content.damage.append(.init(range: frame.payload, what: error.description, events: frame.count))
      }
    }
    content.damage.sort { $0.range.lowerBound < $1.range.lowerBound }
    return content
  }

  private static func isOtherVersion(_ bytes: UnsafeRawBufferPointer) -> String? {
    var reader = BinaryReader(bytes)
    guard reader.integer(UInt32.self) == Frame.fileMagic, let version = reader.integer(UInt16.self), version != Frame.version
    else { return nil }
    return "format version \(version), which this agg does not know"
  }

  private static func decode(_ frame: Frame.Header, _ block: Block) -> Result<EventBatch, StoreError> {
    let packed = UnsafeRawBufferPointer(rebasing: block.bytes[frame.payload])
    let result: ValidatedBatch
    if frame.compression == .none {
      result = EventBatch.validating(packed, tag: Tag(frame.tag))
    } else {
      var out = ByteWriter(capacity: min(frame.raw, 64 << 20) + 64)
      let limit = DecompressionLimit(bytes: max(1, frame.raw))
      do {
        if frame.compression == .gzip {
          try Gzip.decompress(packed, into: &out, limit: limit)
        } else {
          try Zstd.decompress(packed, into: &out, limit: limit)
        }
      } catch { return .failure(StoreError("a frame cannot be decompressed: \(error)")) }
      result = EventBatch.validating(Block(out), tag: Tag(frame.tag))
    }
    if result.rejected > 0 { return .failure(StoreError("a frame holds what are no events: \(result.reason ?? "")")) }
    if result.batch.count != frame.count {
      return .failure(StoreError("a frame holds \(result.batch.count) events, its header says \(frame.count)"))
    }
    return .success(result.batch)
  }

  private func readFluentd() -> ChunkContent {
    var content = ChunkContent()
    let (what, problem) = fluentd.content(asText: false)
    switch what {
    case .events(let batch): content.batches = [batch]
    case .formatted(let chunk): content.formatted = chunk
    case nil: break
    }
    content.frames = content.events > 0 ? 1 : 0
    if let problem { content.damage.append(.init(range: 0..<size, what: problem, events: 0)) }
    return content
  }

  /// How many events there are, from the headers of frames alone; nil where they do not follow one another.
  package func count() -> Int? {
    if isFluentd { return fluentd.records ?? (try? read())?.events }
    guard let file = try? File(path, .read) else { return nil }
    var out = ByteWriter(capacity: 4096)
    guard (try? file.read(at: 0, 4096, into: &out)) != nil else { return nil }
    if Frame.readFile(out.bytes) == nil { _ = try? file.read(at: out.count, 1 << 20, into: &out) }
    guard let header = Frame.readFile(out.bytes) else { return nil }
    if state == .queued {
      out.removeAll()
      if let n = try? file.read(at: size - Frame.header, Frame.header, into: &out), n == Frame.header,
        let records = Frame.readSeal(out.bytes, nonce: header.nonce)
      {
        return records
      }
    }
    var counts: [(batch: BatchID, count: Int)] = []
    var voided: Set<BatchID> = []
    var at = header.length
    while at < size {
      out.removeAll()
      guard let n = try? file.read(at: at, Frame.header, into: &out), n == Frame.header,
        let frame = Frame.readFixed(out.bytes, nonce: header.nonce)
      else {
        return nil
      }
      switch frame.kind {
      case .void: voided.insert(frame.batch)
      case .data: counts.append((frame.batch, frame.count))
      case .seal: break
      }
      at += frame.length
    }
    return counts.reduce(0) { $0 + (voided.contains($1.batch) ? 0 : $1.count) }
  }
}
