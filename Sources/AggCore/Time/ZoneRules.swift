import CAgg
import Glibc

/// The transitions of one zone and the rule for the time after them (RFC 8536).
///
/// Immutable after init, so it may be shared by threads.
final class ZoneRules: Sendable {
  struct LocalType: Sendable, Hashable {
    /// Seconds east of Greenwich.
    var offset: Int
    var name: String
  }
  /// No database file is larger; the largest of today has 3.6 KiB.
  static let maximumFileSize = 1 << 20

  private let transitions: [Int64]
  private let indices: [UInt8]
  private let types: [LocalType]
  private let rule: PosixZone?

  init(_ rule: PosixZone) {
    transitions = []
    indices = []
    types = [LocalType(offset: rule.standard.offset, name: rule.standard.name)]
    self.rule = rule
  }

  convenience init?(_ rule: PosixZone?) {
    guard let rule else { return nil }
    self.init(rule)
  }

  convenience init?(file path: String) {
    let descriptor = agg_open(path, O_RDONLY | O_CLOEXEC, 0)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var bytes = [UInt8](repeating: 0, count: 64 * 1024)
    var count = 0
    while true {
      let n = bytes.withUnsafeMutableBytes { read(descriptor, $0.baseAddress! + count, $0.count - count) }
      guard n >= 0 else { return nil }
      if n == 0 { break }
      count += n
      if count == bytes.count {
        guard count < Self.maximumFileSize else { return nil }
        bytes.append(contentsOf: repeatElement(0, count: count))
      }
    }
    guard let rules = bytes.withUnsafeBytes({ ZoneRules(tzif: UnsafeRawBufferPointer(rebasing: $0[..<count])) }) else {
      return nil
    }
    self.init(copying: rules)
  }

  private init(copying other: ZoneRules) {
    transitions = other.transitions
    indices = other.indices
    types = other.types
    rule = other.rule
  }

  /// Nil when the bytes are no well-formed TZif.
  init?(tzif bytes: UnsafeRawBufferPointer) {
    guard var header = Header(bytes, at: 0) else { return nil }
    var width = 4
    if header.version >= 0x32 {
      guard let second = Header(bytes, at: header.end(width: 4)) else { return nil }
      header = second
      width = 8
    }
    let end = header.end(width: width)
    guard end <= bytes.count, header.types > 0, header.types <= 256, header.transitions <= 100_000 else { return nil }

    var times: [Int64] = []
    var at = header.start
    for _ in 0..<header.transitions {
      let time =
        width == 8
        ? Int64(bitPattern: bytes.bigEndian(at, UInt64.self)) : Int64(Int32(bitPattern: bytes.bigEndian(at, UInt32.self)))
      if let last = times.last, time <= last { return nil }
      times.append(time)
      at += width
    }
    let numbers = Array(bytes[at..<at + header.transitions])
    at += header.transitions
    let names = at + header.types * 6
    var locals: [LocalType] = []
    for k in 0..<header.types {
      let offset = Int(Int32(bitPattern: bytes.bigEndian(at + k * 6, UInt32.self)))
      let index = Int(bytes[at + k * 6 + 5])
      guard offset > -93600, offset < 93600, index < header.characters else { return nil }
      let text = bytes[(names + index)..<(names + header.characters)].prefix { $0 != 0 }
      locals.append(LocalType(offset: offset, name: String(decoding: text.prefix(16), as: UTF8.self)))
    }
    guard numbers.allSatisfy({ Int($0) < locals.count }) else { return nil }
    transitions = times
    indices = numbers
    types = locals

    var footer: PosixZone?
    if width == 8, end < bytes.count, bytes[end] == UInt8(ascii: "\n") {
      let text = bytes[(end + 1)...].prefix { $0 != UInt8(ascii: "\n") }
      if !text.isEmpty, text.count < 256 { footer = PosixZone(String(decoding: text, as: UTF8.self)) }
    }
    rule = footer
  }

  func type(at seconds: Int64) -> LocalType {
    guard let last = transitions.last else { return rule?.type(at: seconds) ?? types[0] }
    if seconds >= last { return rule?.type(at: seconds) ?? types[Int(indices[indices.count - 1])] }
    var low = 0
    var high = transitions.count
    while low < high {
      let middle = (low + high) / 2
      if transitions[middle] <= seconds { low = middle + 1 } else { high = middle }
    }
    return low == 0 ? types[0] : types[Int(indices[low - 1])]
  }

  private struct Header {
    var start: Int
    var version: UInt8
    var universal: Int
    var standard: Int
    var leaps: Int
    var transitions: Int
    var types: Int
    var characters: Int

    init?(_ bytes: UnsafeRawBufferPointer, at: Int) {
      guard at >= 0, bytes.count >= 44, at <= bytes.count - 44, bytes[at] == 0x54, bytes[at + 1] == 0x5a, bytes[at + 2] == 0x69,
        bytes[at + 3] == 0x66
      else { return nil }
      version = bytes[at + 4]
      // Six 32-bit counts of at most 9 bytes' entries: their sum cannot overflow Int.
      universal = Int(bytes.bigEndian(at + 20, UInt32.self))
      standard = Int(bytes.bigEndian(at + 24, UInt32.self))
      leaps = Int(bytes.bigEndian(at + 28, UInt32.self))
      transitions = Int(bytes.bigEndian(at + 32, UInt32.self))
      types = Int(bytes.bigEndian(at + 36, UInt32.self))
      characters = Int(bytes.bigEndian(at + 40, UInt32.self))
      start = at + 44
    }

    func end(width: Int) -> Int {
      start + transitions * (width + 1) + types * 6 + characters + leaps * (width + 4) + standard + universal
    }
  }
}

extension UnsafeRawBufferPointer {
  fileprivate func bigEndian<T: FixedWidthInteger>(_ at: Int, _: T.Type) -> T {
    loadUnaligned(fromByteOffset: at, as: T.self).bigEndian
  }
}
