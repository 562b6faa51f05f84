import AggCore
import AggNet

/// One PackedForward message: `[tag, entries as str32, {size, compressed, chunk}]`, the bytes Fluentd sends.
struct ForwardPacket {
  /// Bytes written at once: they are copied on the way, and so much of them stays in the second-level cache.
  private static let pieceSize = 256 << 10
  /// More than this is written as it is; less is collected first.
  private static let copySize = 64 << 10
  /// Events that are compressed into one gzip member or zstd frame.
  private static let memberSize = 8 << 20

  let batches: [EventBatch]
  let chunk: [UInt8]?
  private let header: [UInt8]
  private let trailer: [UInt8]
  /// The entries where they are not the batches' own bytes.
  private let entries: Block?

  /// All batches have the first one's tag. `chunk` asks for an acknowledgement. Nil when there is more than a message can hold.
  init?(_ batches: [EventBatch], chunk: [UInt8]?, compress: ForwardOutput.Compression, timesAsIntegers: Bool) {
    guard let tag = batches.first?.tag else { return nil }
    self.chunk = chunk
    self.batches = timesAsIntegers ? batches.map { Self.integerTimes($0) } : batches
    entries = compress == .text ? nil : Self.compressed(self.batches, compress)
    guard let size = UInt32(exactly: entries?.count ?? self.batches.reduce(0) { $0 + $1.byteCount }) else { return nil }

    var out = ByteWriter(capacity: 256)
    out.append(0x93 as UInt8)
    out.putString(tag.description)
    // str32 whatever the size: what Fluentd sends, and old receivers know no bin.
    out.reserve(5)
    out.uncheckedAppend(0xdb)
    out.uncheckedBigEndian(size)
    header = out.array
    out.removeAll()
    out.putMapHeader(chunk == nil ? 2 : 3)
    out.putString("size" as StaticString)
    out.putUInt(UInt64(batches.reduce(0) { $0 + $1.count }))
    out.putString("compressed" as StaticString)
    out.putString(compress.rawValue)
    if let chunk {
      out.putString("chunk" as StaticString)
      out.putString(chunk)
    }
    trailer = out.array
  }

  /// Writes the message; each piece may take as long as `timeout`.
  func send(over connection: Connection, timeout: Duration) async throws {
    let total = header.count + trailer.count + (entries?.count ?? batches.reduce(0) { $0 + $1.byteCount })
    var piece = ByteWriter(capacity: min(total, 2 * Self.copySize))
    piece.append(header)
    if let entries {
      try await append(entries.bytes, &piece, connection, timeout)
      withExtendedLifetime(entries) {}
    } else {
      for batch in batches {
        try await append(batch.bytes, &piece, connection, timeout)
        withExtendedLifetime(batch) {}
      }
    }
    piece.append(trailer)
    try await connection.write(piece, timeout: timeout)
  }

  private func append(_ bytes: UnsafeRawBufferPointer, _ piece: inout ByteWriter, _ connection: Connection, _ timeout: Duration) async throws {
    guard bytes.count > Self.copySize || piece.count + bytes.count > Self.pieceSize else { return piece.append(bytes) }
    try await connection.write(piece, timeout: timeout)
    piece.removeAll()
    var at = 0
    while bytes.count - at > Self.copySize {
      let n = min(bytes.count - at, Self.pieceSize)
      try await connection.write(UnsafeRawBufferPointer(rebasing: bytes[at..<at + n]), timeout: timeout)
      at += n
    }
    piece.append(UnsafeRawBufferPointer(rebasing: bytes[at...]))
  }

  private static func compressed(_ batches: [EventBatch], _ method: ForwardOutput.Compression) -> Block {
    var out = ByteWriter(capacity: 64 << 10)
    var member = ByteWriter(capacity: 64 << 10)
    for batch in batches {
      batch.withBytes { member.append($0) }
      if member.count >= memberSize { compress(&member, method, into: &out) }
    }
    if member.count > 0 { compress(&member, method, into: &out) }
    return Block(out)
  }

  private static func compress(_ member: inout ByteWriter, _ method: ForwardOutput.Compression, into out: inout ByteWriter) {
    if method == .gzip { Gzip.compress(member.bytes, into: &out) } else { Zstd.compress(member.bytes, into: &out) }
    member.removeAll()
  }

  /// `time_as_integer`: the seconds alone, for receivers that know no EventTime.
  private static func integerTimes(_ batch: EventBatch) -> EventBatch {
    var builder = BatchBuilder(capacity: batch.byteCount)
    batch.forEachEvent { time, record in
      builder.writer.append(0x92 as UInt8)
      builder.writer.putInt(time.seconds)
      builder.writer.append(record.bytes)
      builder.add(events: 1)
    }
    return builder.finish(tag: batch.tag)
  }
}
