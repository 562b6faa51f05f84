package import AggCore
import Glibc

/// Snappy's block format, compression only: a hash table of four-byte sequences and two kinds of element, written here since
/// remote write wants nothing else of the library. Source: format_description.txt of google/snappy.
package enum SnappyBlock {
  /// Matches are looked for within so much: their offsets fit 16 bits.
  private static let fragment = 1 << 16
  private static let tableBits = 14

  package static func compress(_ input: UnsafeRawBufferPointer, into out: inout ByteWriter) {
    ProtobufWriter.varint(UInt64(input.count), into: &out)
    guard let base = input.baseAddress else { return }
    // The worst case: nothing matches, and each literal of 64 KiB has three bytes before it.
    out.reserve(input.count + input.count / 6 + 32)
    var table = [UInt16](repeating: 0, count: 1 << tableBits)
    var start = 0
    while start < input.count {
      let count = min(fragment, input.count - start)
      if start > 0 { for i in table.indices { table[i] = 0 } }
      table.withUnsafeMutableBufferPointer { compress(base + start, count, $0, into: &out) }
      start += count
    }
  }

  private static func compress(
    _ p: UnsafeRawPointer, _ count: Int, _ table: UnsafeMutableBufferPointer<UInt16>, into out: inout ByteWriter
  ) {
    var literal = 0
    var at = 1
    // Four bytes are loaded at a time, and never beyond the fragment.
    let last = count - 4
    /// Grows while nothing matches: bytes that cannot be compressed are passed over ever faster.
    var misses = 32
    while at <= last {
      let word = p.loadUnaligned(fromByteOffset: at, as: UInt32.self)
      let slot = Int(truncatingIfNeeded: (word &* 0x1e35_a7bd) >> UInt32(32 - tableBits))
      let candidate = Int(table[slot])
      table[slot] = UInt16(truncatingIfNeeded: at)
      guard candidate < at, p.loadUnaligned(fromByteOffset: candidate, as: UInt32.self) == word else {
        at += misses >> 5
        misses += 1
        continue
      }
      var length = 4
      while at + length < count,
        p.load(fromByteOffset: candidate + length, as: UInt8.self) == p.load(fromByteOffset: at + length, as: UInt8.self)
      {
        length += 1
      }
      putLiteral(p + literal, at - literal, into: &out)
      putCopy(offset: at - candidate, length, into: &out)
      at += length
      literal = at
      misses = 32
    }
    putLiteral(p + literal, count - literal, into: &out)
  }

  private static func putLiteral(_ p: UnsafeRawPointer, _ count: Int, into out: inout ByteWriter) {
    if count == 0 { return }
    let n = count - 1
    out.reserve(count + 3)
    if n < 60 {
      out.uncheckedAppend(UInt8(truncatingIfNeeded: n << 2))
    } else if n < 0x100 {
      out.uncheckedAppend(60 << 2)
      out.uncheckedAppend(UInt8(truncatingIfNeeded: n))
    } else {
      // A fragment has 64 KiB at most.
      out.uncheckedAppend(61 << 2)
      out.uncheckedAppend(UInt8(truncatingIfNeeded: n))
      out.uncheckedAppend(UInt8(truncatingIfNeeded: n >> 8))
    }
    out.append(p, count)
  }

  /// As copies with a 16-bit offset, 64 bytes each at most.
  private static func putCopy(offset: Int, _ count: Int, into out: inout ByteWriter) {
    var left = count
    while left > 0 {
      let n = min(left, 64)
      out.reserve(3)
      out.uncheckedAppend(UInt8(truncatingIfNeeded: (n - 1) << 2 | 2))
      out.uncheckedAppend(UInt8(truncatingIfNeeded: offset))
      out.uncheckedAppend(UInt8(truncatingIfNeeded: offset >> 8))
      left -= n
    }
  }
}
