import AggCore

/// The bytes of a segment of dead letters: a header, then records. Numbers are big endian, CRCs are CRC-32C.
///
///     header  "AGGD" version:u16 reserved:u16 nonce:u64 created:i64(ns) crc:u32
///     record  magic:u32 kind:u8 reserved:u8 reserved:u16 length:u32 bodyCRC:u32 headerCRC:u32 body
///     group   chunk:16 givenUp:i64(ns) attempts:u32 events:u32 messageLength:u16 message
///     letter  chunk:16 index:u32 flags:u16 status:u16 givenUp:i64(ns) attempts:u32 count:u32 tagLength:u16 reasonLength:u16
///             tag reason payload
///     end     chunk:16 givenUp:u32 events:u32   (givenUp: as it was written, though letters may be gone since)
///
/// A group, its letters and its end belong together: without the end none of them counts, and the chunk is tried again.
/// An end also says that nothing of its chunk is left to deliver. `magic` is made from the segment's nonce, as in a chunk.
enum DeadLetterFormat {
  static let version: UInt16 = 1
  static let fileMagic: UInt32 = 0x4147_4744
  static let fileHeader = 28
  static let recordHeader = 20
  static let maximumBody = 1 << 30
  /// Of a reason and of a message; more is cut.
  static let longestText = 1024

  enum Kind: UInt8 { case group = 1, letter = 2, end = 3 }
  enum Header: Equatable {
    case known(nonce: UInt64)
    case otherVersion(Int)
    case damaged
  }

  static func writeFile(nonce: UInt64, created: Int64, into out: inout ByteWriter) {
    out.reserve(fileHeader)
    let start = out.count
    out.uncheckedBigEndian(fileMagic)
    out.uncheckedBigEndian(version)
    out.uncheckedBigEndian(0 as UInt16)
    out.uncheckedBigEndian(nonce)
    out.uncheckedBigEndian(created)
    out.uncheckedBigEndian(Frame.checksum(UnsafeRawBufferPointer(rebasing: out.bytes[start...])))
  }

  static func readFile(_ bytes: UnsafeRawBufferPointer) -> Header {
    var reader = BinaryReader(bytes)
    guard reader.integer(UInt32.self) == fileMagic, let version = reader.integer(UInt16.self) else { return .damaged }
    if version != Self.version { return .otherVersion(Int(version)) }
    guard reader.integer(UInt16.self) != nil, let nonce = reader.integer(UInt64.self), reader.integer(Int64.self) != nil,
      let crc = reader.integer(UInt32.self), crc == Frame.checksum(UnsafeRawBufferPointer(rebasing: bytes[0..<fileHeader - 4]))
    else { return .damaged }
    return .known(nonce: nonce)
  }

  /// A record whose body is already there.
  static func write(_ kind: Kind, body: UnsafeRawBufferPointer, nonce: UInt64, into out: inout ByteWriter) {
    write(kind, nonce: nonce, into: &out) { $0.append(body) }
  }

  /// Appends a record whose body `make` writes.
  private static func write(_ kind: Kind, nonce: UInt64, into out: inout ByteWriter, _ make: (inout ByteWriter) -> Void) {
    out.reserve(recordHeader)
    let start = out.count
    out.uncheckedBigEndian(Frame.magic(nonce))
    out.uncheckedAppend(kind.rawValue)
    out.uncheckedAppend(0)
    out.uncheckedBigEndian(0 as UInt16)
    out.count = start + recordHeader
    make(&out)
    let body = UnsafeRawBufferPointer(rebasing: out.bytes[(start + recordHeader)...])
    let (length, crc) = (UInt32(truncatingIfNeeded: body.count), Frame.checksum(body))
    let header = UnsafeMutableRawBufferPointer(rebasing: out.mutableBytes[start..<start + recordHeader])
    header.storeBytes(of: length.bigEndian, toByteOffset: 8, as: UInt32.self)
    header.storeBytes(of: crc.bigEndian, toByteOffset: 12, as: UInt32.self)
    let headerCRC = Frame.checksum(UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(header)[..<16]))
    header.storeBytes(of: headerCRC.bigEndian, toByteOffset: 16, as: UInt32.self)
  }

  static func writeGroup(_ group: DeadLetterGroup, nonce: UInt64, into out: inout ByteWriter) {
    write(.group, nonce: nonce, into: &out) { out in
      put(group.view.id, &out)
      out.reserve(18)
      out.uncheckedBigEndian(group.givenUp)
      out.uncheckedBigEndian(UInt32(clamping: group.attempts))
      out.uncheckedBigEndian(UInt32(clamping: group.view.count))
      put(group.message, &out)
    }
  }

  static func writeLetter(
    _ group: DeadLetterGroup, index: Int, tag: String, reason: String, status: Int?, count: Int, isFormatted: Bool,
    _ payload: UnsafeRawBufferPointer, nonce: UInt64, into out: inout ByteWriter
  ) {
    write(.letter, nonce: nonce, into: &out) { out in
      put(group.view.id, &out)
      var (tag, reason) = (cut(tag, to: 0xffff), cut(reason, to: longestText))
      out.reserve(32 + payload.count)
      out.uncheckedBigEndian(UInt32(clamping: index))
      out.uncheckedBigEndian((isFormatted ? 1 : 0) as UInt16)
      out.uncheckedBigEndian(UInt16(clamping: status ?? 0))
      out.uncheckedBigEndian(group.givenUp)
      out.uncheckedBigEndian(UInt32(clamping: group.attempts))
      out.uncheckedBigEndian(UInt32(clamping: count))
      tag.withUTF8 { out.uncheckedBigEndian(UInt16($0.count)) }
      reason.withUTF8 { out.uncheckedBigEndian(UInt16($0.count)) }
      out.append(tag)
      out.append(reason)
      out.append(payload)
    }
  }

  static func writeEnd(_ chunk: ChunkID, givenUp: Int, events: Int, nonce: UInt64, into out: inout ByteWriter) {
    write(.end, nonce: nonce, into: &out) { out in
      put(chunk, &out)
      out.reserve(8)
      out.uncheckedBigEndian(UInt32(clamping: givenUp))
      out.uncheckedBigEndian(UInt32(clamping: events))
    }
  }

  private static func put(_ chunk: ChunkID, _ out: inout ByteWriter) {
    out.reserve(16)
    out.uncheckedBigEndian(chunk.high)
    out.uncheckedBigEndian(chunk.low)
  }
  private static func put(_ text: String, _ out: inout ByteWriter) {
    var text = cut(text, to: longestText)
    out.reserve(2)
    text.withUTF8 { out.uncheckedBigEndian(UInt16($0.count)) }
    out.append(text)
  }
  private static func cut(_ text: String, to bytes: Int) -> String {
    text.utf8.count <= bytes ? text : String(decoding: text.utf8.prefix(bytes - 4), as: UTF8.self).prefix { _ in true } + "…"
  }

  /// A status that a reason begins with: `http_400`, `http_400: …`.
  static func status(in reason: String) -> Int? {
    guard reason.hasPrefix("http_") else { return nil }
    let digits = reason.dropFirst(5).prefix { $0.isASCII && $0.isNumber }
    return digits.count == 3 ? Int(digits) : nil
  }
}
