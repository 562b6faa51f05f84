import AggCore

/// One message of the forward protocol, version 1, as events.
struct ForwardMessage {
  var batch: EventBatch
  var rejected = 0
  var reason: String?
  /// The `chunk` option's bytes, to be echoed in the acknowledgement.
  var chunk: [UInt8]?

  enum Failure: Error { case malformed(String) }

  /// Most bytes that one compressed message may hold.
  static let decompressedLimit = 256 << 20

  /// `value` is complete and valid MessagePack in `block`. Nil for a heartbeat (nil).
  init?(_ value: ValueView, in block: Block, now: EventTime) throws(Failure) {
    if value.isNull { return nil }
    guard value.kind == .array, value.count >= 2, let name = value.element(0)?.textBytes, let second = value.element(1) else {
      throw .malformed("a message is not [tag, …]")
    }
    guard let tag = Tag(validating: name) else { throw .malformed("a message's tag is empty, too long or holds control bytes") }
    let option = value.count > 2 ? value.element(value.count - 1)?.map : nil
    chunk = option?.find("chunk")?.textBytes.map { Array($0) }
    func range(_ bytes: UnsafeRawBufferPointer) -> Range<Int> {
      guard let start = bytes.baseAddress, let base = block.bytes.baseAddress else { return 0..<0 }
      return start - base..<start - base + bytes.count
    }
    let checked: ValidatedBatch
    switch second.kind {
    case .array:
      // Forward mode: the entries stand back to back inside the array.
      guard let first = second.element(0) else {
        batch = .empty(tag)
        return
      }
      let end = second.end - first.pointer
      checked = .validating(block, range: range(UnsafeRawBufferPointer(start: first.pointer, count: end)), tag: tag, zeroTime: now)
    case .string, .binary:
      guard let entries = second.textBytes else { throw .malformed("entries cannot be read") }
      switch option?.find("compressed")?.string {
      case "gzip", "zstd":
        var out = ByteWriter(capacity: entries.count * 4)
        let limit = DecompressionLimit(bytes: Self.decompressedLimit)
        do throws(CompressionError) {
          if option?.find("compressed")?.string == "gzip" { try Gzip.decompress(entries, into: &out, limit: limit) } else {
            try Zstd.decompress(entries, into: &out, limit: limit)
          }
        } catch { throw .malformed("compressed entries: \(error)") }
        checked = .validating(Block(out), tag: tag)
      case nil, "text": checked = .validating(block, range: range(entries), tag: tag)
      case let other?: throw .malformed("compression '\(other)' is unknown; known: gzip, zstd")
      }
    default:
      // Message mode: [tag, time, record].
      guard value.count >= 3, let record = value.element(2) else { throw .malformed("a message is not [tag, time, record]") }
      var out = ByteWriter(capacity: record.bytes.count + 16)
      out.putArrayHeader(2)
      out.append(second.bytes)
      out.append(record.bytes)
      chunk = value.count > 3 ? value.element(3)?.map?.find("chunk")?.textBytes.map { Array($0) } : nil
      checked = .validating(Block(out), tag: tag, zeroTime: now)
    }
    batch = checked.batch
    rejected = checked.rejected
    reason = checked.reason
  }
}

extension ValidatedBatch {
  fileprivate static func validating(_ block: Block, range: Range<Int>? = nil, tag: Tag, zeroTime: EventTime? = nil) -> ValidatedBatch {
    EventBatch.validating(block, range: range, tag: tag, zeroTime: zeroTime)
  }
}
