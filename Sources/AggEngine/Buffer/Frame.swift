import AggCore
import CAgg

/// The bytes of a chunk file: a header, then frames. Numbers are big endian.
///
///     header  "AGGC" version:u16 reserved:u16 nonce:u64 id:16 created:i64(ns) metadataLength:u32 crc:u32 metadata
///     frame   magic:u32 kind:u8 compression:u8 tagLength:u16 count:u32 stored:u32 raw:u32 epoch:u32 sequence:u64
///             payloadCRC:u32 headerCRC:u32 tag payload
///     data    one batch, or its part that belongs here
///     void    what it holds does not count, and neither does any other frame of its batch in this file. Made of a data frame in place
///             (only kind and headerCRC change), or an empty frame behind it, as the first agg wrote them
///     seal    empty, the last 40 bytes of a sealed chunk; `sequence`: how many events it holds. Chunks of the first agg have none
///
/// `magic` is made from the file's random nonce, so content that looks like a frame is not one after a damaged part.
/// CRCs are CRC-32C; `payloadCRC` covers tag and payload, `headerCRC` the 36 bytes before it, `crc` header and metadata.
enum Frame {
  static let version: UInt16 = 1
  static let fileMagic: UInt32 = 0x4147_4743
  static let fileHeader = 48
  static let header = 40
  /// More is no frame of ours: chunk_limit_size is far below.
  static let maximumPayload = 1 << 30

  enum Kind: UInt8 { case data = 1, void = 2, seal = 3 }
  enum Compression: UInt8 { case none = 0, gzip = 1, zstd = 2 }

  struct File {
    var nonce: UInt64
    var id: ChunkID
    var created: Int64
    var metadata: ChunkMetadata
    /// Where the first frame starts.
    var length: Int
  }
  struct Header {
    var kind: Kind
    var compression: Compression
    var tag: String
    var count: Int
    var raw: Int
    var batch: BatchID
    /// Offsets in the file.
    var payload: Range<Int>
    var payloadMatches: Bool
  }

  static func magic(_ nonce: UInt64) -> UInt32 { UInt32(truncatingIfNeeded: nonce ^ (nonce >> 32)) | 0x8000_0001 }

  static func writeFile(_ file: File, into out: inout ByteWriter) {
    var metadata = ByteWriter(capacity: 256)
    writeMetadata(file.metadata, into: &metadata)
    out.reserve(fileHeader)
    let start = out.count
    out.uncheckedBigEndian(fileMagic)
    out.uncheckedBigEndian(version)
    out.uncheckedBigEndian(0 as UInt16)
    out.uncheckedBigEndian(file.nonce)
    out.uncheckedBigEndian(file.id.high)
    out.uncheckedBigEndian(file.id.low)
    out.uncheckedBigEndian(file.created)
    out.uncheckedBigEndian(UInt32(metadata.count))
    var crc = checksum(UnsafeRawBufferPointer(rebasing: out.bytes[start...]))
    crc = checksum(metadata.bytes, continuing: crc)
    out.uncheckedBigEndian(crc)
    out.append(metadata.bytes)
  }

  /// A chunk of a later agg, which is left alone.
  static func isOfLaterVersion(_ bytes: UnsafeRawBufferPointer) -> Bool {
    var reader = BinaryReader(bytes)
    guard reader.integer(UInt32.self) == fileMagic, let version = reader.integer(UInt16.self) else { return false }
    return version > Self.version
  }

  /// Header and metadata together, as the header says; nil when it says nothing sensible.
  static func fileLength(_ bytes: UnsafeRawBufferPointer) -> Int? {
    guard bytes.count >= fileHeader else { return nil }
    let length = Int(UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: fileHeader - 8, as: UInt32.self)))
    return length <= 1 << 20 ? fileHeader + length : nil
  }

  static func readFile(_ bytes: UnsafeRawBufferPointer) -> File? {
    var reader = BinaryReader(bytes)
    guard reader.integer(UInt32.self) == fileMagic, reader.integer(UInt16.self) == version, reader.integer(UInt16.self) != nil,
      let nonce = reader.integer(UInt64.self), let high = reader.integer(UInt64.self), let low = reader.integer(UInt64.self),
      let created = reader.integer(Int64.self), let length = reader.integer(UInt32.self), let crc = reader.integer(UInt32.self),
      length <= 1 << 20, let metadata = reader.slice(Int(length))
    else { return nil }
    let expected = checksum(metadata, continuing: checksum(UnsafeRawBufferPointer(rebasing: bytes[0..<fileHeader - 4])))
    guard crc == expected, let key = readMetadata(metadata) else { return nil }
    return File(nonce: nonce, id: ChunkID(high: high, low: low), created: created, metadata: key, length: reader.at)
  }

  static func write(
    _ kind: Kind, _ compression: Compression, tag: String, count: Int, raw: Int, payload: UnsafeRawBufferPointer, batch: BatchID,
    nonce: UInt64, into out: inout ByteWriter
  ) {
    var tag = tag
    out.reserve(header + tag.utf8.count + payload.count)
    let start = out.count
    out.uncheckedBigEndian(magic(nonce))
    out.uncheckedAppend(kind.rawValue)
    out.uncheckedAppend(compression.rawValue)
    out.uncheckedBigEndian(UInt16(truncatingIfNeeded: tag.utf8.count))
    out.uncheckedBigEndian(UInt32(truncatingIfNeeded: count))
    out.uncheckedBigEndian(UInt32(truncatingIfNeeded: payload.count))
    out.uncheckedBigEndian(UInt32(truncatingIfNeeded: raw))
    out.uncheckedBigEndian(batch.epoch)
    out.uncheckedBigEndian(batch.sequence)
    var crc: UInt32 = 0
    tag.withUTF8 { crc = checksum(UnsafeRawBufferPointer($0)) }
    out.uncheckedBigEndian(checksum(payload, continuing: crc))
    out.uncheckedBigEndian(checksum(UnsafeRawBufferPointer(rebasing: out.bytes[start...])))
    out.append(tag)
    out.append(payload)
  }

  enum Step {
    case frame(Header, next: Int)
    case end
    /// Not a frame; the next place that could be one, or the end.
    case damaged(Range<Int>)
  }

  /// The frame at `at`, or how far the damage goes.
  static func next(_ bytes: UnsafeRawBufferPointer, at: Int, nonce: UInt64) -> Step {
    if at >= bytes.count { return .end }
    if let (header, next) = read(bytes, at: at, nonce: nonce) { return .frame(header, next: next) }
    // Resynchronise: only this file's magic with an intact header counts.
    var probe = at + 1
    while probe + header <= bytes.count {
      if bytes.loadUnaligned(fromByteOffset: probe, as: UInt32.self) == magic(nonce).bigEndian, read(bytes, at: probe, nonce: nonce) != nil {
        return .damaged(at..<probe)
      }
      probe += 1
    }
    return .damaged(at..<bytes.count)
  }

  private static func read(_ bytes: UnsafeRawBufferPointer, at: Int, nonce: UInt64) -> (Header, Int)? {
    guard bytes.count - at >= header, let fixed = readFixed(UnsafeRawBufferPointer(rebasing: bytes[at..<at + header]), nonce: nonce) else { return nil }
    var reader = BinaryReader(bytes, at: at + header)
    guard let tag = reader.slice(fixed.tagLength), let payload = reader.slice(fixed.stored) else { return nil }
    let end = reader.at
    return (
      Header(
        kind: fixed.kind, compression: fixed.compression, tag: String(decoding: tag, as: UTF8.self), count: fixed.count, raw: fixed.raw,
        batch: fixed.batch, payload: end - payload.count..<end,
        payloadMatches: checksum(payload, continuing: checksum(tag)) == fixed.payloadCRC), end
    )
  }

  /// The first 40 bytes of a frame.
  struct Fixed {
    var kind: Kind
    var compression: Compression
    var tagLength: Int
    var count: Int
    var stored: Int
    var raw: Int
    var batch: BatchID
    var payloadCRC: UInt32
    /// Of the whole frame.
    var length: Int { Frame.header + tagLength + stored }
  }
  static func readFixed(_ bytes: UnsafeRawBufferPointer, nonce: UInt64) -> Fixed? {
    var reader = BinaryReader(bytes)
    guard reader.integer(UInt32.self) == magic(nonce), let kind = reader.integer(UInt8.self).flatMap(Kind.init),
      let compression = reader.integer(UInt8.self).flatMap(Compression.init), let tagLength = reader.integer(UInt16.self),
      let count = reader.integer(UInt32.self), let stored = reader.integer(UInt32.self), let raw = reader.integer(UInt32.self),
      let epoch = reader.integer(UInt32.self), let sequence = reader.integer(UInt64.self), let payloadCRC = reader.integer(UInt32.self),
      let headerCRC = reader.integer(UInt32.self),
      headerCRC == checksum(UnsafeRawBufferPointer(rebasing: bytes[0..<header - 4])), stored <= maximumPayload, raw <= maximumPayload
    else { return nil }
    return Fixed(
      kind: kind, compression: compression, tagLength: Int(tagLength), count: Int(count), stored: Int(stored), raw: Int(raw),
      batch: BatchID(epoch: epoch, sequence: sequence), payloadCRC: payloadCRC)
  }

  /// The last bytes of a chunk that holds `records` events.
  static func writeSeal(_ records: Int, nonce: UInt64, into out: inout ByteWriter) {
    write(
      .seal, .none, tag: "", count: 0, raw: 0, payload: UnsafeRawBufferPointer(start: nil, count: 0),
      batch: BatchID(epoch: 0, sequence: UInt64(max(0, records))), nonce: nonce, into: &out)
  }
  static func readSeal(_ bytes: UnsafeRawBufferPointer, nonce: UInt64) -> Int? {
    guard let fixed = readFixed(bytes, nonce: nonce), fixed.kind == .seal, fixed.batch.sequence < 1 << 48 else { return nil }
    return Int(fixed.batch.sequence)
  }
  /// The first 40 bytes of a frame, as those of a void one.
  static func voided(_ bytes: UnsafeRawBufferPointer) -> [UInt8] {
    var out = Array(bytes.prefix(header))
    guard out.count == header else { return [] }
    out[4] = Kind.void.rawValue
    let crc = out.withUnsafeBytes { checksum(UnsafeRawBufferPointer(rebasing: $0[0..<header - 4])) }
    for (n, shift) in [24, 16, 8, 0].enumerated() { out[header - 4 + n] = UInt8(truncatingIfNeeded: crc >> UInt32(shift)) }
    return out
  }

  static func checksum(_ bytes: UnsafeRawBufferPointer, continuing crc: UInt32 = 0) -> UInt32 {
    guard let base = bytes.baseAddress else { return crc }
    return agg_crc32c(crc, base, bytes.count)
  }

  static func writeMetadata(_ metadata: ChunkMetadata, into out: inout ByteWriter) {
    func text(_ value: String, _ out: inout ByteWriter) {
      out.reserve(4)
      out.uncheckedBigEndian(UInt32(value.utf8.count))
      out.append(value)
    }
    out.append((metadata.tag == nil ? 0 : 1) | (metadata.timekey == nil ? 0 : 2) as UInt8)
    if let tag = metadata.tag { text(tag.description, &out) }
    if let timekey = metadata.timekey {
      out.reserve(8)
      out.uncheckedBigEndian(timekey)
    }
    out.reserve(2)
    out.uncheckedBigEndian(UInt16(truncatingIfNeeded: metadata.variables.count))
    for variable in metadata.variables {
      text(variable.name, &out)
      out.append(variable.value == nil ? 0 : 1)
      if let value = variable.value { text(value, &out) }
    }
  }

  static func readMetadata(_ bytes: UnsafeRawBufferPointer) -> ChunkMetadata? {
    var reader = BinaryReader(bytes)
    guard let flags = reader.integer(UInt8.self) else { return nil }
    var metadata = ChunkMetadata()
    if flags & 1 != 0 {
      guard let tag = reader.text() else { return nil }
      metadata.tag = Tag(tag)
    }
    if flags & 2 != 0 {
      guard let timekey = reader.integer(Int64.self) else { return nil }
      metadata.timekey = timekey
    }
    guard let n = reader.integer(UInt16.self) else { return nil }
    for _ in 0..<n {
      guard let name = reader.text(), let present = reader.integer(UInt8.self) else { return nil }
      var value: String?
      if present == 1 {
        guard let text = reader.text() else { return nil }
        value = text
      }
      metadata.variables.append(.init(name: name, value: value))
    }
    return metadata
  }
}
