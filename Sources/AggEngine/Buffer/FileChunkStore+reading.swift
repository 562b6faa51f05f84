public import AggCore

extension FileChunkStore {
  /// The chunk's good frames. Damage is kept beside it with its byte range in the name, and its neighbours stay.
  public func read(_ chunk: ChunkID) throws(StoreError) -> StoredChunk {
    let path = path(chunk)
    let block: Block
    do { block = Block(try File.contents(path, limit: options.chunkLimit)) } catch { throw Self.mapped(error) }
    guard let file = Frame.readFile(block.bytes), file.id == chunk else {
      quarantine(path)
      return StoredChunk(metadata: nil, batches: [])
    }
    return StoredChunk(metadata: file.metadata, batches: batches(block, file, path))
  }

  private func batches(_ block: Block, _ file: Frame.File, _ path: String) -> [EventBatch] {
    let bytes = block.bytes
    var voided: Set<BatchID> = []
    var frames: [(header: Frame.Header, range: Range<Int>)] = []
    var at = file.length
    walk: while true {
      switch Frame.next(bytes, at: at, nonce: file.nonce) {
      case .end: break walk
      case .damaged(let range):
        keepAside(bytes, range, path, events: nil)
        at = range.upperBound
      case .frame(let header, let next):
        switch header.kind {
        case .void: voided.insert(header.batch)
        case .data: frames.append((header, at..<next))
        case .seal: break
        }
        at = next
      }
    }
    var result: [EventBatch] = []
    for (frame, range) in frames where !voided.contains(frame.batch) {
      if frame.payloadMatches, let batch = decode(frame, block) { result.append(batch) } else { keepAside(bytes, range, path, events: frame.count) }
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

  /// Bytes that are no frame, for a person to look at: `CHUNK.FROM-TO.broken`. Told once, however often the chunk is tried.
  private func keepAside(_ bytes: UnsafeRawBufferPointer, _ range: Range<Int>, _ path: String, events: Int?) {
    let aside = "\(path).\(range.lowerBound)-\(range.upperBound).broken"
    if File.status(aside) != nil { return }
    do throws(FileError) { try File.replace(aside, with: UnsafeRawBufferPointer(rebasing: bytes[range]), permission: options.permission) } catch {
      log.error("\(error)")
    }
    let what = events.map { "the frame at bytes \(range.lowerBound)..<\(range.upperBound) is damaged: \($0) events lost" }
    log.error("\(path): \(what ?? "bytes \(range.lowerBound)..<\(range.upperBound) are damaged and skipped"); they are kept as \(File.name(of: aside))")
  }

  /// Not one of our files any more: kept under another name for a person to look at.
  func quarantine(_ path: String) {
    log.error("\(path): not a readable chunk; moved to \(File.name(of: path)).broken")
    do throws(FileError) { try File.rename(path, to: path + ".broken") } catch { log.error("\(error)") }
  }

  /// What the file says about itself; nil when it is damaged.
  static func header(of file: File) throws(FileError) -> Frame.File? {
    var bytes = ByteWriter(capacity: 4096)
    _ = try file.read(at: 0, 4096, into: &bytes)
    return try header(of: file, &bytes)
  }
  /// `bytes` holds the beginning of the file; more of it is read where the metadata is long.
  static func header(of file: File, _ bytes: inout ByteWriter) throws(FileError) -> Frame.File? {
    if let length = Frame.fileLength(bytes.bytes), length > bytes.count {
      while bytes.count < length, try file.read(at: bytes.count, length - bytes.count, into: &bytes) > 0 {}
    }
    return Frame.readFile(bytes.bytes)
  }
}
