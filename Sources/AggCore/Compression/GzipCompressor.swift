import CIsal
import Glibc

/// Compresses to gzip, each call one whole member with a header that does not depend on time or machine.
///
/// isa-l at level 1. Keeps its tables between calls; one at a time may use it.
public struct GzipCompressor: ~Copyable {
  private let stream: UnsafeMutablePointer<isal_zstream>
  private let tables: UnsafeMutablePointer<UInt8>
  private static let tableSize = Int(agg_isal_level1_table_size)

  public init() {
    stream = .allocate(capacity: 1)
    tables = .allocate(capacity: Self.tableSize)
  }

  deinit {
    stream.deallocate()
    tables.deallocate()
  }

  /// Appends one member that holds `bytes`.
  public mutating func compress(_ bytes: UnsafeRawBufferPointer, into out: inout ByteWriter) {
    isal_deflate_init(stream)
    stream.pointee.level = 1
    stream.pointee.level_buf = tables
    stream.pointee.level_buf_size = UInt32(Self.tableSize)
    stream.pointee.gzip_flag = UInt16(IGZIP_GZIP)
    stream.pointee.flush = UInt16(NO_FLUSH)
    var empty: UInt8 = 0
    withUnsafeMutablePointer(to: &empty) { empty in
      var consumed = 0
      repeat {
        let part = min(bytes.count - consumed, 1 << 30)
        stream.pointee.next_in =
          bytes.baseAddress.map { UnsafeMutablePointer(mutating: ($0 + consumed).assumingMemoryBound(to: UInt8.self)) } ?? empty
        stream.pointee.avail_in = UInt32(part)
        consumed += part
        let isLast = consumed == bytes.count
        stream.pointee.end_of_stream = isLast ? 1 : 0
        repeat {
          let room = min(max(64 * 1024, Int(stream.pointee.avail_in) / 2), 1 << 30)
          out.reserve(room)
          stream.pointee.next_out = out.end.assumingMemoryBound(to: UInt8.self)
          stream.pointee.avail_out = UInt32(room)
          let result = isal_deflate(stream)
          precondition(result == COMP_OK, "isa-l refuses only parameters that are wrong, and these are constant")
          out.count += room - Int(stream.pointee.avail_out)
        } while stream.pointee.avail_in > 0 || stream.pointee.avail_out == 0
          || (isLast && stream.pointee.internal_state.state != ZSTATE_END)
      } while consumed < bytes.count
    }
  }
}

/// One-shot gzip; a loop keeps a `GzipCompressor` or an `Inflater` instead.
public enum Gzip {
  public static func compress(_ bytes: UnsafeRawBufferPointer, into out: inout ByteWriter) {
    var compressor = GzipCompressor()
    compressor.compress(bytes, into: &out)
  }

  /// Appends what the members in `bytes` hold; throws and appends nothing when one is damaged or the limit is passed.
  public static func decompress(_ bytes: UnsafeRawBufferPointer, into out: inout ByteWriter, limit: DecompressionLimit)
    throws(CompressionError)
  {
    var inflater = Inflater()
    try inflater.decompress(bytes, .gzip, into: &out, limit: limit)
  }
}
