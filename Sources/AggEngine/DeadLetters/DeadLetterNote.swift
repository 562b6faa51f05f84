package import AggCore

/// What a destination refused of a chunk, while the dead letters have no room for it: so that a restart does not send the rest again.
///
///     file    "AGGR" version:u16 reserved:u16 crc:u32 body
///     body    status:u16 count:u32 (index:u32 status:u16 reason)* message     texts with a 32-bit length before them
///
/// Named `CHUNK.refused` beside the segments; of no use once its chunk is gone, and ignored when it is damaged.
package struct DeadLetterNote: Sendable {
  package var refused: [Rejection]
  package var status: Int?
  package var message: String

  static let suffix = ".refused"
  private static let magic: UInt32 = 0x4147_4752
  private static let version: UInt16 = 1

  package var bytes: [UInt8] {
    var body = ByteWriter(capacity: refused.count * 32 + 1024)
    body.reserve(6)
    body.uncheckedBigEndian(UInt16(clamping: status ?? 0))
    body.uncheckedBigEndian(UInt32(clamping: refused.count))
    for one in refused {
      body.reserve(6)
      body.uncheckedBigEndian(UInt32(clamping: one.index))
      body.uncheckedBigEndian(UInt16(clamping: one.status ?? 0))
      Self.put(one.reason, &body)
    }
    Self.put(message, &body)
    var out = ByteWriter(capacity: body.count + 16)
    out.reserve(12)
    out.uncheckedBigEndian(Self.magic)
    out.uncheckedBigEndian(Self.version)
    out.uncheckedBigEndian(0 as UInt16)
    out.uncheckedBigEndian(Frame.checksum(body.bytes))
    out.append(body.bytes)
    return out.array
  }
  private static func put(_ text: String, _ out: inout ByteWriter) {
    let bytes = Array(text.utf8.prefix(DeadLetterFormat.longestText))
    out.reserve(4)
    out.uncheckedBigEndian(UInt32(bytes.count))
    out.append(bytes)
  }
}

extension DeadLetterNote {
  /// Nil for bytes that are no note of this version, or damaged.
  package init?(_ bytes: UnsafeRawBufferPointer) {
    var reader = BinaryReader(bytes)
    guard reader.integer(UInt32.self) == Self.magic, reader.integer(UInt16.self) == Self.version,
      reader.integer(UInt16.self) != nil,
      let crc = reader.integer(UInt32.self), let body = reader.slice(reader.remaining), Frame.checksum(body) == crc
    else { return nil }
    var fields = BinaryReader(body)
    guard let status = fields.integer(UInt16.self), let count = fields.integer(UInt32.self), Int(count) <= body.count / 10 else {
      return nil
    }
    refused = []
    for _ in 0..<count {
      guard let index = fields.integer(UInt32.self), let status = fields.integer(UInt16.self), let reason = fields.text() else {
        return nil
      }
      refused.append(Rejection(index: Int(index), reason: reason, status: status == 0 ? nil : Int(status)))
    }
    guard let message = fields.text() else { return nil }
    self.message = message
    self.status = status == 0 ? nil : Int(status)
  }
}

extension DeadLetterStore {
  private func path(of chunk: ChunkID) -> String { "\(options.directory)/\(chunk)\(DeadLetterNote.suffix)" }

  /// Stores what was refused of a chunk that has to wait.
  package func keep(_ note: DeadLetterNote, of chunk: ChunkID) async throws {
    let (path, options) = (path(of: chunk), options)
    try await onLane {
      try File.makeDirectories(options.directory, permission: options.directoryPermission)
      try note.bytes.withUnsafeBytes {
        try File.replace(path, with: $0, permission: options.permission, sync: options.durability == .fsync)
      }
    }
  }

  /// The chunk's events are where they belong.
  package func forget(_ chunk: ChunkID) async { try? await onLane { [path = path(of: chunk)] in try File.remove(path) } }

  /// The notes of an earlier run.
  package func notes() -> [ChunkID: DeadLetterNote] {
    var found: [ChunkID: DeadLetterNote] = [:]
    for name in (try? File.list(options.directory)) ?? [] where name.hasSuffix(DeadLetterNote.suffix) {
      guard let chunk = ChunkID(String(name.dropLast(DeadLetterNote.suffix.utf8.count))) else { continue }
      if let bytes = try? File.contents(path(of: chunk)), let note = DeadLetterNote(bytes.bytes) { found[chunk] = note }
    }
    return found
  }
}
