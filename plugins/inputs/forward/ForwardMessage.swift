package import AggCore

/// One message of the forward protocol, version 1, taken apart.
package struct ForwardMessage {
  package enum Content {
    /// Forward, PackedForward and CompressedPackedForward mode.
    case batch(EventBatch)
    /// Message mode: one time and one record, not yet validated.
    case event(time: ValueView, record: ValueView)
    /// A heartbeat, or a message without entries.
    case nothing
  }
  var tag: UnsafeRawBufferPointer
  package var content = Content.nothing
  /// Entries that were no event, and why the first of them was not.
  package var rejected = 0
  var reason: String?
  /// The `chunk` option's bytes, to be echoed in the acknowledgement.
  var chunk: UnsafeRawBufferPointer?

  package struct Malformed: Error { var description: String }

  package struct Options {
    /// The tag of all events, instead of the sender's.
    var tag: Tag?
    var prefix: String?
    /// Most bytes that one compressed message may hold.
    var decompressionLimit = 256 << 20
    /// Packed entries of the time 0 get the time of arrival too (`skip_invalid_event true`).
    var replacesPackedZeroTime = false

    package init(tag: Tag? = nil, prefix: String? = nil, decompressionLimit: Int = 256 << 20, replacesPackedZeroTime: Bool = false) {
      self.tag = tag
      self.prefix = prefix
      self.decompressionLimit = decompressionLimit
      self.replacesPackedZeroTime = replacesPackedZeroTime
    }

    /// Nil for a tag that a peer must not set.
    func tag(_ bytes: UnsafeRawBufferPointer) -> Tag? {
      guard let sent = tag ?? Tag(validating: bytes) else { return nil }
      return prefix.map { Tag("\($0).\(sent)") } ?? sent
    }
  }

  /// `value` is complete and valid MessagePack in `block`. Throws for compressed entries that cannot be read.
  package init(_ value: ValueView, in block: Block, now: EventTime, _ options: Options) throws(Malformed) {
    tag = UnsafeRawBufferPointer(start: nil, count: 0)
    if value.isNull { return }
    guard value.kind == .array, value.count >= 2, let name = value.element(0)?.textBytes, let second = value.element(1) else {
      reject("a message is no array of tag and entries")
      return
    }
    tag = name
    let isEvent = second.kind != .array && second.textBytes == nil || second.kind == .array && Self.isTime(second)
    let option = value.element(isEvent ? 3 : 2)?.map
    chunk = option?.find("chunk")?.textBytes
    if isEvent {
      guard let record = value.element(2) else {
        reject("a message is not [tag, time, record]")
        return
      }
      content = .event(time: second, record: record)
      return
    }
    guard let tag = options.tag(name) else {
      reject("a tag is empty, too long or holds control bytes")
      return
    }
    if second.kind == .array {
      // Forward mode: the entries stand back to back inside the array.
      guard let first = second.element(0) else { return }
      take(EventBatch.validating(block, range: Self.range(first.pointer..<second.end, block), tag: tag, zeroTime: now))
      return
    }
    guard let entries = second.textBytes else { return }
    let zeroTime = options.replacesPackedZeroTime ? now : nil
    switch option?.find("compressed")?.string {
    case nil, "text":
      guard let start = entries.baseAddress else { return }
      take(EventBatch.validating(block, range: Self.range(start..<start + entries.count, block), tag: tag, zeroTime: zeroTime))
    case let method?:
      guard method == "gzip" || method == "zstd" else {
        throw Malformed(description: "compression '\(method)' is unknown; known: gzip, zstd")
      }
      var out = ByteWriter(capacity: min(entries.count, 16 << 20) * 4)
      let limit = DecompressionLimit(bytes: options.decompressionLimit)
      do throws(CompressionError) {
        if method == "gzip" { try Gzip.decompress(entries, into: &out, limit: limit) } else {
          try Zstd.decompress(entries, into: &out, limit: limit)
        }
      } catch { throw Malformed(description: "compressed entries: \(error)") }
      take(EventBatch.validating(Block(out), tag: tag, zeroTime: zeroTime))
    }
  }

  /// Fluent Bit's time with metadata, `[time, {…}]`: a Forward mode message has arrays in it.
  private static func isTime(_ value: ValueView) -> Bool {
    value.count == 2 && value.element(1)?.isMap == true && value.element(0)?.eventTime != nil
  }

  private static func range(_ pointers: Range<UnsafeRawPointer>, _ block: Block) -> Range<Int> {
    pointers.lowerBound - block.base..<pointers.upperBound - block.base
  }

  private mutating func take(_ checked: ValidatedBatch) {
    if !checked.batch.isEmpty { content = .batch(checked.batch) }
    rejected = checked.rejected
    reason = checked.reason
  }

  /// Sending it again would not help: it is acknowledged, counted and told.
  private mutating func reject(_ why: String) {
    rejected = 1
    reason = why
  }
}
