import CZlib
import CZstd

/// Why compressed bytes were refused.
public struct CompressionError: Error, Sendable, CustomStringConvertible {
  public var description: String
  public init(_ description: String) { self.description = description }
}

/// gzip members (RFC 1952); concatenated members are one stream.
public enum Gzip {
  /// Appends one whole member. Its header has no time and no name, so equal input gives equal bytes.
  public static func compress(_ bytes: UnsafeRawBufferPointer, into out: inout ByteWriter, level: Int32 = 1) {
    var stream = z_stream()
    guard deflateInit2_(&stream, level, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size)) == Z_OK
    else { preconditionFailure("zlib refuses its own defaults: out of memory") }
    defer { deflateEnd(&stream) }
    out.reserve(Int(deflateBound(&stream, UInt(bytes.count))) + 64)
    stream.next_in = UnsafeMutablePointer(mutating: bytes.baseAddress?.assumingMemoryBound(to: UInt8.self))
    stream.avail_in = UInt32(truncatingIfNeeded: bytes.count)
    stream.next_out = out.end.assumingMemoryBound(to: UInt8.self)
    stream.avail_out = UInt32(truncatingIfNeeded: out.capacity - out.count)
    let result = deflate(&stream, Z_FINISH)
    precondition(result == Z_STREAM_END, "deflateBound reserved enough")
    out.count += Int(stream.total_out)
  }

  /// Appends what all members hold; more than `limit` bytes, or a damaged member, is refused.
  public static func decompress(_ bytes: UnsafeRawBufferPointer, into out: inout ByteWriter, limit: Int) throws(CompressionError) {
    try Inflate.run(bytes, into: &out, limit: limit, windowBits: 15 + 16, isConcatenated: true)
  }
}

/// HTTP's `deflate`: a zlib stream, or the raw one that some clients send.
public enum Deflate {
  public static func decompress(_ bytes: UnsafeRawBufferPointer, into out: inout ByteWriter, limit: Int) throws(CompressionError) {
    let start = out.count
    do throws(CompressionError) { try Inflate.run(bytes, into: &out, limit: limit, windowBits: 15, isConcatenated: false) } catch {
      out.count = start
      try Inflate.run(bytes, into: &out, limit: limit, windowBits: -15, isConcatenated: false)
    }
  }
}

private enum Inflate {
  static func run(_ bytes: UnsafeRawBufferPointer, into out: inout ByteWriter, limit: Int, windowBits: Int32, isConcatenated: Bool) throws(CompressionError) {
    guard bytes.count > 0, bytes.count < Int(UInt32.max) else { throw CompressionError("no compressed data") }
    var stream = z_stream()
    guard inflateInit2_(&stream, windowBits, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size)) == Z_OK else { throw CompressionError("no memory") }
    defer { inflateEnd(&stream) }
    stream.next_in = UnsafeMutablePointer(mutating: bytes.baseAddress?.assumingMemoryBound(to: UInt8.self))
    stream.avail_in = UInt32(truncatingIfNeeded: bytes.count)
    let start = out.count
    while true {
      out.reserve(64 << 10)
      let room = min(out.capacity - out.count, 1 << 30)
      stream.next_out = out.end.assumingMemoryBound(to: UInt8.self)
      stream.avail_out = UInt32(room)
      let result = inflate(&stream, Z_NO_FLUSH)
      out.count += room - Int(stream.avail_out)
      if out.count - start > limit { throw CompressionError("expands to more than \(limit) bytes") }
      if result == Z_STREAM_END {
        if !isConcatenated || stream.avail_in == 0 { return }
        guard inflateReset(&stream) == Z_OK else { throw CompressionError("damaged") }
        continue
      }
      guard result == Z_OK || result == Z_BUF_ERROR && stream.avail_out == 0 else {
        throw CompressionError(stream.avail_in == 0 ? "ends early" : "damaged")
      }
      if stream.avail_in == 0, stream.avail_out > 0 { throw CompressionError("ends early") }
    }
  }
}

/// Zstandard frames (RFC 8878); concatenated frames are one stream.
public enum Zstd {
  public static func compress(_ bytes: UnsafeRawBufferPointer, into out: inout ByteWriter, level: Int32 = 1) {
    out.reserve(ZSTD_compressBound(bytes.count))
    let n = ZSTD_compress(out.end, out.capacity - out.count, bytes.baseAddress, bytes.count, level)
    precondition(ZSTD_isError(n) == 0, "ZSTD_compressBound reserved enough")
    out.count += n
  }
  public static func decompress(_ bytes: UnsafeRawBufferPointer, into out: inout ByteWriter, limit: Int) throws(CompressionError) {
    guard let context = ZSTD_createDCtx() else { throw CompressionError("no memory") }
    defer { ZSTD_freeDCtx(context) }
    var input = ZSTD_inBuffer(src: bytes.baseAddress, size: bytes.count, pos: 0)
    let start = out.count
    var left = 1
    while input.pos < input.size || left > 0 {
      out.reserve(128 << 10)
      var output = ZSTD_outBuffer(dst: out.end, size: out.capacity - out.count, pos: 0)
      let before = input.pos
      left = ZSTD_decompressStream(context, &output, &input)
      if ZSTD_isError(left) != 0 { throw CompressionError("damaged") }
      out.count += output.pos
      if out.count - start > limit { throw CompressionError("expands to more than \(limit) bytes") }
      if input.pos == before, output.pos == 0, left > 0 { throw CompressionError("ends early") }
    }
  }
}
