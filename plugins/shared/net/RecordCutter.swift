package import AggCore
import CAgg
import Glibc

/// Cuts a byte stream into records at a delimiter; every byte is searched once, however the stream arrives.
package struct RecordCutter: Sendable {
  /// The records are newline-terminated lines: whole blocks can go to a parser.
  private let isLines: Bool
  private let delimiter: [UInt8]
  /// Longer records are skipped.
  let limit: Int
  /// Up to here the bytes hold no start of a delimiter, counted from the front of the buffer.
  private var searched = 0
  /// Behind the last delimiter found.
  private var complete = 0
  /// The beginning of the record at the front was dropped.
  private(set) var isSkipping = false
  /// Records that were too long, since the last `takeSkipped`.
  private var skipped = 0

  package init(delimiter: String, limit: Int) {
    self.delimiter = Array(delimiter.utf8)
    self.limit = limit
    isLines = self.delimiter == [0x0a]
  }

  /// How many bytes at the front of the buffer are whole records, with their delimiters.
  package mutating func completeLength(_ bytes: UnsafeRawBufferPointer) -> Int {
    guard let base = bytes.baseAddress, searched < bytes.count else { return complete }
    if delimiter.count == 1 {
      if let found = memrchr(base + searched, Int32(delimiter[0]), bytes.count - searched) { complete = UnsafeRawPointer(found) - base + 1 }
      searched = bytes.count
    } else {
      while let end = Self.end(of: delimiter, bytes, from: searched) { (searched, complete) = (end, end) }
      searched = max(searched, bytes.count - delimiter.count + 1)
    }
    return complete
  }

  /// Calls `body` for the whole records in `text`, which are the first `completeLength` bytes: with blocks of lines where that is
  /// what they are, else with each record alone, without its delimiter.
  package mutating func forEach(_ text: UnsafeRawBufferPointer, _ body: (_ records: UnsafeRawBufferPointer, _ isLines: Bool) -> Void) {
    var at = 0
    if isSkipping {
      guard let end = Self.end(of: delimiter, text, from: 0) else { return }
      isSkipping = false
      at = end
    }
    if isLines, text.count - at <= limit {
      if at < text.count { body(UnsafeRawBufferPointer(rebasing: text[at...]), true) }
      return
    }
    var runStart = at
    while at < text.count, let end = Self.end(of: delimiter, text, from: at) {
      let isTooLong = end - delimiter.count - at > limit
      if isTooLong { skipped += 1 }
      if isLines {
        if isTooLong {
          if runStart < at { body(UnsafeRawBufferPointer(rebasing: text[runStart..<at]), true) }
          runStart = end
        }
      } else if !isTooLong {
        body(UnsafeRawBufferPointer(rebasing: text[at..<end - delimiter.count]), false)
      }
      at = end
    }
    if isLines, runStart < at { body(UnsafeRawBufferPointer(rebasing: text[runStart..<at]), true) }
  }

  /// Takes the whole records off the buffer, and what is left when it is longer than a record may be.
  package mutating func removeComplete(from buffer: inout ByteWriter) {
    buffer.removeFirst(complete)
    searched = max(0, searched - complete)
    complete = 0
    if buffer.count > limit {
      if !isSkipping { skipped += 1 }
      isSkipping = true
      // A delimiter that has begun stays.
      let kept = delimiter.count - 1
      buffer.removeFirst(buffer.count - kept)
      searched = 0
    }
    if buffer.isEmpty { buffer.trim(to: 4096) }
  }

  /// Bytes behind the last delimiter that would be dropped if the stream ended here.
  func isPartial(_ buffer: borrowing ByteWriter) -> Bool { !isSkipping && buffer.count > 0 }

  package mutating func takeSkipped() -> Int {
    defer { skipped = 0 }
    return skipped
  }

  /// Just behind the first `delimiter` at or after `start`.
  private static func end(of delimiter: [UInt8], _ bytes: UnsafeRawBufferPointer, from start: Int) -> Int? {
    guard let base = bytes.baseAddress, start < bytes.count else { return nil }
    if delimiter.count == 1 {
      return memchr(base + start, Int32(delimiter[0]), bytes.count - start).map { UnsafeRawPointer($0) - base + 1 }
    }
    return delimiter.withUnsafeBytes { sought -> Int? in
      guard let first = sought.baseAddress, let found = memmem(base + start, bytes.count - start, first, sought.count) else { return nil }
      return UnsafeRawPointer(found) - base + sought.count
    }
  }
}
