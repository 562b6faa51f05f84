/// Reads big-endian fields of a file that may hold anything: every read is bounds-checked and may say no.
struct BinaryReader {
  let bytes: UnsafeRawBufferPointer
  private(set) var at: Int
  init(_ bytes: UnsafeRawBufferPointer, at: Int = 0) {
    self.bytes = bytes
    self.at = at
  }
  var remaining: Int { bytes.count - at }

  mutating func integer<T: FixedWidthInteger>(_ type: T.Type) -> T? {
    guard remaining >= MemoryLayout<T>.size else { return nil }
    defer { at += MemoryLayout<T>.size }
    return T(bigEndian: bytes.loadUnaligned(fromByteOffset: at, as: T.self))
  }
  mutating func slice(_ n: Int) -> UnsafeRawBufferPointer? {
    guard n >= 0, remaining >= n else { return nil }
    defer { at += n }
    return UnsafeRawBufferPointer(rebasing: bytes[at..<at + n])
  }
  /// A text with a 32-bit length before it.
  mutating func text() -> String? {
    guard let n = integer(UInt32.self), let bytes = slice(Int(n)) else { return nil }
    return String(decoding: bytes, as: UTF8.self)
  }
}
