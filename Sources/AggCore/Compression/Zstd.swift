import CZstd

/// Compresses to zstd, each call one whole frame. Keeps its tables between calls; one at a time may use it.
public struct ZstdCompressor: ~Copyable {
  private let context: OpaquePointer
  private let level: Int32

  public init(level: Int = 1) {
    context = ZSTD_createCCtx()!  // out of memory ends the process, as everywhere
    self.level = Int32(clamping: min(max(level, 1), 19))
  }

  deinit { ZSTD_freeCCtx(context) }

  public mutating func compress(_ bytes: UnsafeRawBufferPointer, into out: inout ByteWriter) {
    let room = ZSTD_compressBound(bytes.count)
    out.reserve(room)
    let written = ZSTD_compressCCtx(context, out.end, room, bytes.baseAddress, bytes.count, level)
    precondition(ZSTD_isError(written) == 0, "zstd fails only for want of room, and this is its own bound")
    out.count += written
  }
}

/// Decompresses zstd frames. Keeps its tables between calls; one at a time may use it.
public struct ZstdDecompressor: ~Copyable {
  private let context: OpaquePointer

  public init() { context = ZSTD_createDCtx()! }  // out of memory ends the process, as everywhere
  deinit { ZSTD_freeDCtx(context) }

  /// Appends what the frames hold; throws and appends nothing when one is damaged or the limit is passed.
  public mutating func decompress(_ bytes: UnsafeRawBufferPointer, into out: inout ByteWriter, limit: DecompressionLimit)
    throws(CompressionError)
  {
    let start = out.count
    var whole = start
    do throws(CompressionError) {
      try run(bytes, &out, limit, &whole)
    } catch {
      out.count = start
      throw error
    }
  }

  /// As `decompress`, but the whole frames before the damage stay appended; says what is wrong, or nil.
  public mutating func salvage(_ bytes: UnsafeRawBufferPointer, into out: inout ByteWriter, limit: DecompressionLimit) -> CompressionError? {
    var whole = out.count
    do throws(CompressionError) {
      try run(bytes, &out, limit, &whole)
      return nil
    } catch {
      out.count = whole
      return error
    }
  }

  /// `whole` is told where each frame ends in `out`.
  private mutating func run(_ bytes: UnsafeRawBufferPointer, _ out: inout ByteWriter, _ limit: DecompressionLimit, _ whole: inout Int)
    throws(CompressionError)
  {
    guard bytes.count > 0 else { throw CompressionError(.truncated, "no compressed data") }
    let maximum = limit.maximum(for: bytes.count)
    // A frame's header alone makes zstd allocate its window: no larger than what may come out. Streams declare their level's
    // window however short they are; every decoder is asked to take 8 MiB (RFC 8878, 3.1.1.1.2).
    let window = min(max(Int.bitWidth - max(maximum, 1).leadingZeroBitCount, 23), 27)
    _ = ZSTD_DCtx_reset(context, ZSTD_reset_session_and_parameters)
    _ = ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, Int32(window))
    var left = maximum
    var input = ZSTD_inBuffer(src: bytes.baseAddress, size: bytes.count, pos: 0)
    while true {
      // One byte more than may come, so that passing the limit shows.
      let room = min(max(128 * 1024, min(4 * (bytes.count - input.pos), 1 << 20)), left + 1)
      out.reserve(room)
      var output = ZSTD_outBuffer(dst: out.end, size: room, pos: 0)
      let result = ZSTD_decompressStream(context, &output, &input)
      guard ZSTD_isError(result) == 0 else {
        throw CompressionError(.corrupt, "not valid zstd data: \(String(cString: ZSTD_getErrorName(result)))")
      }
      guard output.pos <= left else { throw CompressionError(.tooLarge, "more than the \(maximum) bytes that are allowed") }
      left -= output.pos
      out.count += output.pos
      if result == 0 { whole = out.count }
      if input.pos == bytes.count {
        if result == 0 { return }
        if output.pos < room { throw CompressionError(.truncated, "the zstd data ends too early") }
      }
    }
  }
}

/// One-shot zstd; a loop keeps a compressor or decompressor instead.
public enum Zstd {
  public static func compress(_ bytes: UnsafeRawBufferPointer, into out: inout ByteWriter) {
    var compressor = ZstdCompressor()
    compressor.compress(bytes, into: &out)
  }
  public static func decompress(_ bytes: UnsafeRawBufferPointer, into out: inout ByteWriter, limit: DecompressionLimit)
    throws(CompressionError)
  {
    var decompressor = ZstdDecompressor()
    try decompressor.decompress(bytes, into: &out, limit: limit)
  }
}
