package import AggCore
import CAgg

/// How far a file is read, and what tells it from another file that has its inode now.
///
/// An inode is used again, a file is truncated and filled again: the checksum of its first KiB (of as much as there was) and that of
/// the bytes before the position say whether it is the same. Stored with each batch's commit; 31 bytes, big endian.
package struct TailMark: Equatable, Sendable {
  static let headLimit = 1024
  static let tailLimit = 64
  private static let version: UInt8 = 1

  var inode: UInt64
  var position = 0
  var headLength = 0
  var headSum: UInt32 = 0
  var tailLength = 0
  var tailSum: UInt32 = 0

  init(inode: UInt64) { self.inode = inode }

  package init?(state: [UInt8]) {
    guard state.count == 31, state[0] == Self.version else { return nil }
    func number(_ range: Range<Int>) -> UInt64 { state[range].reduce(0) { $0 << 8 | UInt64($1) } }
    guard let position = Int(exactly: number(9..<17)) else { return nil }
    inode = number(1..<9)
    self.position = position
    headLength = Int(number(17..<21))
    headSum = UInt32(truncatingIfNeeded: number(21..<25))
    tailLength = Int(number(25..<27))
    tailSum = UInt32(truncatingIfNeeded: number(27..<31))
  }

  package var state: [UInt8] {
    var out: [UInt8] = [Self.version]
    func put(_ value: UInt64, _ bytes: Int) { for i in (0..<bytes).reversed() { out.append(UInt8(truncatingIfNeeded: value >> UInt64(i * 8))) } }
    put(inode, 8)
    put(UInt64(position), 8)
    put(UInt64(headLength), 4)
    put(UInt64(headSum), 4)
    put(UInt64(tailLength), 2)
    put(UInt64(tailSum), 4)
    return out
  }

  /// The mark after `read`, the bytes up to `position`, was taken.
  func moved(to position: Int, after read: UnsafeRawBufferPointer, of file: File) throws(FileError) -> TailMark {
    var next = self
    next.position = position
    let last = UnsafeRawBufferPointer(rebasing: read.suffix(Self.tailLimit))
    next.tailLength = last.count
    next.tailSum = Self.sum(last)
    if headLength < Self.headLimit, position > headLength {
      var head = ByteWriter(capacity: Self.headLimit)
      _ = try file.read(at: 0, min(Self.headLimit, position), into: &head)
      next.headLength = head.count
      next.headSum = Self.sum(head.bytes)
    }
    return next
  }

  /// The mark of a file that is known by what it begins with, though nothing of it was read.
  func identified(by file: File) throws(FileError) -> TailMark {
    var next = self
    var head = ByteWriter(capacity: Self.headLimit)
    _ = try file.read(at: 0, Self.headLimit, into: &head)
    next.headLength = head.count
    next.headSum = Self.sum(head.bytes)
    return next
  }

  /// Whether the bytes before the position are still those that were read.
  func hasItsTail(_ file: File) throws(FileError) -> Bool {
    if tailLength == 0 { return true }
    guard tailLength <= position else { return false }
    var bytes = ByteWriter(capacity: Self.tailLimit)
    _ = try file.read(at: position - tailLength, tailLength, into: &bytes)
    return bytes.count == tailLength && Self.sum(bytes.bytes) == tailSum
  }

  /// Whether this is the file that was read, as far as its beginning and the bytes before the position tell.
  package func isOf(_ file: File) throws(FileError) -> Bool {
    guard try file.status().size >= position else { return false }
    var head = ByteWriter(capacity: Self.headLimit)
    if headLength > 0 { _ = try file.read(at: 0, min(headLength, Self.headLimit), into: &head) }
    guard head.count == headLength, Self.sum(head.bytes) == headSum else { return false }
    return try hasItsTail(file)
  }

  private static func sum(_ bytes: UnsafeRawBufferPointer) -> UInt32 { bytes.baseAddress.map { agg_crc32c(0, $0, bytes.count) } ?? 0 }
}
