import AggCore

/// Takes messages `[tag, time, record]`, `[tag, entries]` and `[tag, packed entries]` out of one connection's bytes, which are
/// MessagePack or JSON.
struct UnixStream: ~Copyable {
  private let isJSON: Bool
  private let limit: Int
  private let tag: Tag?
  private var framer = JSONFramer()
  /// MessagePack is scanned again when this many bytes are there.
  private var needed = 1
  /// Entries back to back of messages that followed each other with one tag, and that tag.
  private var entries = ByteWriter(capacity: 64)
  private var entriesTag: Tag?
  private var entriesName: [UInt8] = []
  /// What the last `take` left out, and why.
  private(set) var rejected = 0
  private(set) var reason: String?

  init(isJSON: Bool, limit: Int, tag: String?) {
    self.isJSON = isJSON
    self.limit = limit
    self.tag = tag.map { Tag($0) }
  }

  func isBlank(_ bytes: UnsafeRawBufferPointer) -> Bool { isJSON && bytes.allSatisfy { $0 == 0x20 || (0x09...0x0d).contains($0) } }

  /// Takes the whole messages off `buffer`; returns why nothing further can be read, if so. Batches before that are good.
  mutating func take(from buffer: inout ByteWriter, into batches: inout [EventBatch]) -> String? {
    (rejected, reason) = (0, nil)
    let (complete, failure) = isJSON ? takeJSON(buffer.bytes, &batches) : takeMessagePack(buffer.bytes, &batches)
    flush(&batches)
    buffer.removeFirst(complete)
    if isJSON { framer.discard(complete) }
    needed = max(1, needed - complete)
    if buffer.isEmpty { buffer.trim(to: 4096) }
    if failure == nil, buffer.count > limit { return "a message is larger than \(limit) bytes" }
    return failure
  }

  private mutating func takeMessagePack(_ bytes: UnsafeRawBufferPointer, _ batches: inout [EventBatch]) -> (Int, String?) {
    if bytes.count < needed { return (0, nil) }
    var at = 0
    while at < bytes.count {
      switch MessagePackScanner.skip(bytes, at: at) {
      case .complete(let end):
        if let base = bytes.baseAddress { add(ValueView(unchecked: base + at), &batches) }
        at = end
      case .needMore(let atLeast):
        needed = atLeast
        return (at, atLeast - at > limit ? "a message is larger than \(limit) bytes" : nil)
      case .invalid(let why): return (at, "not MessagePack: \(why)")
      }
    }
    needed = at + 1
    return (at, nil)
  }

  private mutating func takeJSON(_ bytes: UnsafeRawBufferPointer, _ batches: inout [EventBatch]) -> (Int, String?) {
    var transcoder = JSONTranscoder()
    var out = ByteWriter(capacity: 1024)
    var complete = 0
    while true {
      switch framer.next(bytes) {
      case .value(let range):
        out.removeAll()
        guard transcoder.transcodeValue(UnsafeRawBufferPointer(rebasing: bytes[range]), into: &out), let base = out.bytes.baseAddress else {
          return (complete, "not JSON")
        }
        add(ValueView(unchecked: base), &batches)
        complete = range.upperBound
      // What is blank is no beginning of a message.
      case .needMore(let pending): return (pending == 0 ? bytes.count : complete, nil)
      case .invalid: return (complete, "not JSON")
      }
    }
  }

  private mutating func add(_ message: ValueView, _ batches: inout [EventBatch]) {
    guard message.kind == .array, let name = message.element(0), let second = message.element(1) else {
      return reject("a message is not [tag, …]")
    }
    if tag == nil, !(name.textBytes?.elementsEqual(entriesName) ?? false) || entriesTag == nil {
      flush(&batches)
      guard let bytes = name.textBytes, let tag = Tag(validating: bytes) else {
        return reject("a message's tag is empty, too long or holds control bytes")
      }
      entriesTag = tag
      entriesName = Array(bytes)
    }
    if second.kind == .array {
      guard let first = second.element(0) else { return }
      entries.append(first.pointer, second.end - first.pointer)
    } else if let packed = second.textBytes {
      // Broken ones would take what follows with them: a batch of their own.
      flush(&batches)
      entries.append(packed)
      flush(&batches)
    } else {
      guard let record = message.element(2) else { return reject("a message is not [tag, time, record]") }
      if record.isNull { return }
      entries.putArrayHeader(2)
      entries.append(second.bytes)
      entries.append(record.bytes)
    }
  }

  /// Makes a batch of the entries so far; a time of nil or 0 becomes the current one.
  private mutating func flush(_ batches: inout [EventBatch]) {
    guard let tag = tag ?? entriesTag, entries.count > 0 else { return }
    var taken = ByteWriter(capacity: 64)
    swap(&taken, &entries)
    let checked = EventBatch.validating(Block(taken), tag: tag, zeroTime: .now())
    rejected += checked.rejected
    reason = reason ?? checked.reason
    if !checked.batch.isEmpty { batches.append(checked.batch) }
  }

  private mutating func reject(_ why: String) {
    rejected += 1
    reason = reason ?? why
  }
}
