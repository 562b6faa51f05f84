package import AggCore

/// One file of dead letters, read whole. Any bytes open: what is damaged is skipped and told.
package struct DeadLetterSegment {
  package struct Group {
    var chunk: ChunkID
    /// Records of the segment, from the group to its end.
    var range: Range<Int>
    /// The bodies of the group's record and of its end.
    var body: Range<Int>
    var end: Range<Int>
    package var letters: [(letter: DeadLetter, body: Range<Int>)]
    /// Events of the chunk, and those of them that were given up.
    var events: Int
    var givenUp = 0
    /// Between its first and its last record there is something that is none.
    var isDamaged = false
  }
  package let path: String
  package let block: Block
  let header: DeadLetterFormat.Header
  package private(set) var groups: [Group] = []
  package private(set) var damaged: [Range<Int>] = []
  /// Where the last whole group ends: what follows was not finished before a kill.
  private(set) var wholeEnd = DeadLetterFormat.fileHeader

  package var nonce: UInt64? { if case .known(let nonce) = header { nonce } else { nil } }
  package var letterCount: Int { groups.reduce(0) { $0 + $1.letters.count } }

  package init(path: String) throws(FileError) { self.init(path: path, Block(try File.contents(path, limit: 4 << 30))) }

  package init(path: String, _ block: Block) {
    self.path = path
    self.block = block
    header = DeadLetterFormat.readFile(block.bytes)
    guard let nonce else { return }
    var open: Group?
    var message = ""
    var at = DeadLetterFormat.fileHeader
    while at < block.count {
      guard let (kind, body) = Self.record(block.bytes, at: at, nonce: nonce) else {
        let next = Self.resynchronise(block.bytes, after: at, nonce: nonce)
        damaged.append(at..<next)
        open?.isDamaged = true
        at = next
        continue
      }
      let bytes = UnsafeRawBufferPointer(rebasing: block.bytes[body])
      switch kind {
      case .group:
        open = nil
        if let (chunk, text, events) = Self.group(bytes) {
          open = Group(chunk: chunk, range: at..<body.upperBound, body: body, end: body, letters: [], events: events)
          message = text
        }
      case .letter:
        if var letter = Self.letter(bytes, from: body.lowerBound), letter.chunk == open?.chunk {
          letter.message = message
          open?.letters.append((letter, body))
        }
      case .end:
        if var group = open, let (chunk, givenUp) = Self.end(bytes), chunk == group.chunk {
          group.givenUp = givenUp
          group.range = group.range.lowerBound..<body.upperBound
          group.end = body
          groups.append(group)
          wholeEnd = body.upperBound
        }
        open = nil
      }
      at = body.upperBound
    }
  }

  func bytes(_ range: Range<Int>) -> UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: block.bytes[range]) }

  /// The letter as a batch of one event; nil for what is none.
  package func event(_ letter: DeadLetter) -> EventBatch? {
    if letter.isFormatted { return nil }
    let result = EventBatch.validating(bytes(letter.payload), tag: Tag(letter.tag))
    return result.rejected == 0 && result.batch.count == 1 ? result.batch : nil
  }

  // MARK: Records

  private static func record(_ bytes: UnsafeRawBufferPointer, at: Int, nonce: UInt64) -> (DeadLetterFormat.Kind, Range<Int>)? {
    var reader = BinaryReader(bytes, at: at)
    guard reader.integer(UInt32.self) == Frame.magic(nonce),
      let kind = reader.integer(UInt8.self).flatMap(DeadLetterFormat.Kind.init),
      reader.integer(UInt8.self) != nil, reader.integer(UInt16.self) != nil, let length = reader.integer(UInt32.self),
      let crc = reader.integer(UInt32.self), let headerCRC = reader.integer(UInt32.self), length <= DeadLetterFormat.maximumBody,
      headerCRC == Frame.checksum(UnsafeRawBufferPointer(rebasing: bytes[at..<at + 16])), let body = reader.slice(Int(length)),
      Frame.checksum(body) == crc
    else { return nil }
    return (kind, reader.at - body.count..<reader.at)
  }

  private static func resynchronise(_ bytes: UnsafeRawBufferPointer, after at: Int, nonce: UInt64) -> Int {
    let magic = Frame.magic(nonce).bigEndian
    var probe = at + 1
    while probe + DeadLetterFormat.recordHeader <= bytes.count {
      if bytes.loadUnaligned(fromByteOffset: probe, as: UInt32.self) == magic, record(bytes, at: probe, nonce: nonce) != nil {
        return probe
      }
      probe += 1
    }
    return bytes.count
  }

  private static func chunk(_ reader: inout BinaryReader) -> ChunkID? {
    guard let high = reader.integer(UInt64.self), let low = reader.integer(UInt64.self) else { return nil }
    return ChunkID(high: high, low: low)
  }
  private static func end(_ body: UnsafeRawBufferPointer) -> (ChunkID, givenUp: Int)? {
    var reader = BinaryReader(body)
    guard let chunk = chunk(&reader), let givenUp = reader.integer(UInt32.self) else { return nil }
    return (chunk, Int(givenUp))
  }

  private static func group(_ body: UnsafeRawBufferPointer) -> (ChunkID, message: String, events: Int)? {
    var reader = BinaryReader(body)
    guard let chunk = chunk(&reader), reader.integer(Int64.self) != nil, reader.integer(UInt32.self) != nil,
      let events = reader.integer(UInt32.self), let length = reader.integer(UInt16.self), let message = reader.slice(Int(length))
    else { return nil }
    return (chunk, String(decoding: message, as: UTF8.self), Int(events))
  }

  private static func letter(_ body: UnsafeRawBufferPointer, from start: Int) -> DeadLetter? {
    var reader = BinaryReader(body)
    guard let chunk = chunk(&reader), let index = reader.integer(UInt32.self), let flags = reader.integer(UInt16.self),
      let status = reader.integer(UInt16.self), let givenUp = reader.integer(Int64.self),
      let attempts = reader.integer(UInt32.self),
      let count = reader.integer(UInt32.self), let tagLength = reader.integer(UInt16.self),
      let reasonLength = reader.integer(UInt16.self),
      let tag = reader.slice(Int(tagLength)), let reason = reader.slice(Int(reasonLength))
    else { return nil }
    return DeadLetter(
      chunk: chunk, index: Int(index), tag: String(decoding: tag, as: UTF8.self), reason: String(decoding: reason, as: UTF8.self),
      status: status == 0 ? nil : Int(status), givenUp: givenUp, attempts: Int(attempts),
      payload: start + reader.at..<start + body.count, count: Int(count), isFormatted: flags & 1 != 0)
  }
}
