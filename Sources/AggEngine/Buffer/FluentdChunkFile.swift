import AggCore

/// One chunk file of Fluentd's `file` or `file_single` buffer: what its name, its `.meta` file and its content say.
///
///     file         PREFIX[…].(b|q)<id>SUFFIX and the same with ".meta": "\xc1\x00" length:u32 {id, s, c, m, tag, timekey, variables}
///     file_single  PREFIX<key>.(b|q)<id>.buf; the key is the tag or the one chunk key, percent-encoded
///
/// Source: Fluentd's buffer/file_chunk.rb and buffer/file_single_chunk.rb. Every byte may be anything.
struct FluentdChunkFile: Sendable {
  /// The largest content that is taken, before and after decompression.
  static let limit = 1 << 30

  var path: String
  var isStaged: Bool
  var id: ChunkID
  var metadata = ChunkMetadata()
  /// Where the metadata is a file of its own.
  var metaPath: String?
  /// As its writer counted.
  var records: Int?
  /// When it was last written, in seconds.
  var modified: Double = 0
  /// The order of delivery, in seconds. An id begins with the microsecond it was made in: chunks of one key follow one another.
  var order: Double {
    let made = Double(id.high >> 12) / 1e6
    return abs(modified - made) < 20 * 365 * 86400 ? made : modified
  }

  // MARK: Names

  /// The place of `(b|q)<id>` in a name, and what stands before and after it.
  struct Name {
    var before: Substring
    var isStaged: Bool
    var id: Substring
    var after: Substring

    init?(_ name: String) {
      let bytes = Array(name.utf8)
      // From the end: a key may look like a state and an id.
      for at in bytes.indices.reversed() where bytes[at] == UInt8(ascii: "b") || bytes[at] == UInt8(ascii: "q") {
        guard at > 0, bytes[at - 1] == UInt8(ascii: ".") else { continue }
        let end = bytes[(at + 1)...].firstIndex { !($0 >= 0x30 && $0 <= 0x39 || $0 >= 0x61 && $0 <= 0x66) } ?? bytes.count
        guard end - at > 16, end < bytes.count, bytes[end] == UInt8(ascii: ".") else { continue }
        let text = name.utf8
        func index(_ offset: Int) -> String.Index { text.index(text.startIndex, offsetBy: offset) }
        before = name[..<index(at)]
        isStaged = bytes[at] == UInt8(ascii: "b")
        id = name[index(at + 1)..<index(end)]
        after = name[index(end)...]
        return
      }
      return nil
    }
  }

  /// Fluentd's ids are agg's: a receiver that got the chunk from Fluentd knows it again. Others are made from the digits.
  static func chunkID(_ digits: Substring) -> ChunkID {
    if let id = ChunkID(String(digits)) { return id }
    var high: UInt64 = 0xcbf2_9ce4_8422_2325
    var low: UInt64 = 0x8422_2325_cbf2_9ce4
    for byte in digits.utf8 {
      high = (high ^ UInt64(byte)) &* 0x100_0000_01b3
      low = (low &+ UInt64(byte)) &* 0x9e37_79b9_7f4a_7c15 ^ low >> 29
    }
    return ChunkID(high: high, low: low)
  }

  /// `%20` and the like; anything else stands for itself.
  static func unescaped(_ text: Substring) -> String {
    var out: [UInt8] = []
    var rest = Array(text.utf8)[...]
    while let byte = rest.popFirst() {
      if byte == UInt8(ascii: "%"), rest.count >= 2, let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16) {
        out.append(value)
        rest = rest.dropFirst(2)
      } else {
        out.append(byte)
      }
    }
    return String(decoding: out, as: UTF8.self)
  }

  // MARK: Metadata

  /// Reads a `.meta` file's bytes; nil when they are not what Fluentd writes. Fluentd refuses one without id and times.
  mutating func read(meta bytes: UnsafeRawBufferPointer, _ fields: [String]) -> Bool {
    var body = bytes
    if bytes.count > 6, bytes[0] == 0xc1, bytes[1] == 0 {
      let length = Int(bytes.loadUnaligned(fromByteOffset: 2, as: UInt32.self).bigEndian)
      guard length <= bytes.count - 6 else { return false }
      body = UnsafeRawBufferPointer(rebasing: bytes[6..<6 + length])
    }
    guard body.count <= 1 << 20, let base = body.baseAddress, case .complete = MessagePackScanner.skip(body) else { return false }
    let view = ValueView(unchecked: base)
    guard view.isMap else { return false }
    var hasID = false
    var created = 0.0
    var variables: [String: String?] = [:]
    var cursor = RecordView(unchecked: view).fields
    while let (key, value) = cursor.next() {
      switch key.string {
      case "id": hasID = value.stringBytes ?? value.binaryBytes != nil
      case "s": records = value.int64.flatMap { $0 >= 0 && $0 < 1 << 40 ? Int($0) : nil }
      case "c": created = value.number ?? 0
      case "m": modified = value.number ?? 0
      case "tag": metadata.tag = value.string.map { Tag($0) }
      case "timekey": metadata.timekey = value.int64
      case "variables":
        guard value.isMap else { continue }
        var pairs = RecordView(unchecked: value).fields
        while let (name, value) = pairs.next() { if let name = name.string { variables[name] = value.isNull ? .some(nil) : value.displayText } }
      default: continue
      }
    }
    guard hasID, created >= 1, modified >= 1 else { return false }
    // In the order of the chunk keys, as agg has them.
    for name in fields { if let value = variables.removeValue(forKey: name) { metadata.variables.append(.init(name: name, value: value)) } }
    for (name, value) in variables.sorted(by: { $0.key < $1.key }) { metadata.variables.append(.init(name: name, value: value)) }
    return true
  }

  // MARK: Content

  /// Whether it holds events, as far as its first bytes and its metadata tell all that a start has to know; nil: it has to be read.
  func glance(asText: Bool) -> Bool? {
    // While a chunk is staged, Fluentd does not keep its metadata current.
    guard !isStaged, let records, records > 0 else { return nil }
    var head = ByteWriter(capacity: 64)
    do throws(FileError) {
      guard try File(path, .read).read(at: 0, 16, into: &head) > 0 else { return nil }
    } catch { return nil }
    let bytes = head.bytes
    if bytes.starts(with: [0x1f, 0x8b]) || bytes.starts(with: [0x28, 0xb5, 0x2f, 0xfd]) { return nil }
    return !asText && Self.looksLikeEvents(bytes)
  }

  enum Content {
    case events(EventBatch)
    case formatted(FormattedChunk)
  }
  /// What could be read, and what is wrong with the rest; nil and why when nothing could.
  func content(asText: Bool) -> (content: Content?, problem: String?) {
    var block: Block
    var problem: String?
    do throws(FileError) {
      let raw = try File.contents(path, limit: Self.limit)
      (block, problem) = Self.decompressed(Block(raw))
    } catch { return (nil, error.description) }
    if block.count == 0 { return (nil, problem ?? "it is empty") }
    if !asText, Self.looksLikeEvents(block.bytes) {
      let result = EventBatch.validating(block, tag: metadata.tag ?? Tag(""))
      if let reason = result.reason { problem = problem ?? reason }
      return (result.batch.isEmpty ? nil : .events(result.batch), problem)
    }
    return (.formatted(FormattedChunk(block, count: max(1, problem == nil ? records ?? Self.count(block.bytes) : Self.count(block.bytes)))), problem)
  }

  /// Each append of a compressing Fluentd is a member (frame) of its own: the whole ones are kept.
  private static func decompressed(_ block: Block) -> (Block, String?) {
    let bytes = block.bytes
    var out = ByteWriter(capacity: bytes.count)
    let error: CompressionError?
    if bytes.starts(with: [0x1f, 0x8b]) {
      var inflater = Inflater()
      error = inflater.salvage(bytes, into: &out, limit: DecompressionLimit(bytes: limit))
    } else if bytes.starts(with: [0x28, 0xb5, 0x2f, 0xfd]) {
      var decompressor = ZstdDecompressor()
      error = decompressor.salvage(bytes, into: &out, limit: DecompressionLimit(bytes: limit))
    } else {
      return (block, nil)
    }
    withExtendedLifetime(block) {}
    return (Block(out), error.map { "\($0)" })
  }

  /// `[time, map …`: no text begins so, and no formatter writes it.
  private static func looksLikeEvents(_ bytes: UnsafeRawBufferPointer) -> Bool {
    guard bytes.count >= 3, bytes[0] == 0x92 else { return false }
    let header: Int
    switch bytes[1] {
    case 0x00...0x7f, 0xe0...0xff: header = 2
    case 0xcc, 0xd0: header = 3
    case 0xcd, 0xd1: header = 4
    case 0xce, 0xd2, 0xca: header = 6
    case 0xcf, 0xd3, 0xcb: header = 10
    case 0xd7: header = 11
    case 0xc7: header = 12
    default: return false
    }
    guard bytes.count > header else { return true }
    return bytes[header] & 0xf0 == 0x80 || bytes[header] == 0xde || bytes[header] == 0xdf
  }

  /// Of formatted events: lines, or MessagePack values.
  private static func count(_ bytes: UnsafeRawBufferPointer) -> Int {
    var n = 0
    if let first = bytes.first, first & 0xf0 == 0x80 || first & 0xf0 == 0x90 || first >= 0xdc && first <= 0xdf {
      var at = 0
      while at < bytes.count, case .complete(let end) = MessagePackScanner.skip(bytes, at: at) {
        n += 1
        at = end
      }
      if at == bytes.count { return n }
    }
    n = 0
    for byte in bytes where byte == 0x0a { n += 1 }
    return bytes.last == 0x0a ? n : n + 1
  }
}

extension FormattedChunk {
  /// Text that somebody formatted, rather than the ruins of MessagePack.
  var isText: Bool { withBytes { String(validating: $0, as: UTF8.self) != nil } }
}
