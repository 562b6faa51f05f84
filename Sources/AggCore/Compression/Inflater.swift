import CIsal

/// Decompresses gzip, zlib and raw deflate. Keeps its tables between calls; one at a time may use it.
public struct Inflater: ~Copyable {
  public enum Format: Sendable, Hashable {
    /// One member or several, back to back.
    case gzip
    case zlib
    case raw
    /// HTTP's `deflate`: zlib by the book, raw from some senders; the first two bytes tell.
    case httpDeflate
  }
  private let state: UnsafeMutablePointer<inflate_state>

  public init() { state = .allocate(capacity: 1) }
  deinit { state.deallocate() }

  /// Appends the content; throws and appends nothing when the bytes are damaged or the limit is passed.
  public mutating func decompress(
    _ bytes: UnsafeRawBufferPointer, _ format: Format, into out: inout ByteWriter, limit: DecompressionLimit
  ) throws(CompressionError) {
    let start = out.count
    var whole = start
    do throws(CompressionError) {
      try run(bytes, format, &out, limit, &whole)
    } catch {
      out.count = start
      throw error
    }
  }

  /// As `decompress` for gzip, but the whole members before the damage stay appended; says what is wrong, or nil.
  public mutating func salvage(_ bytes: UnsafeRawBufferPointer, into out: inout ByteWriter, limit: DecompressionLimit) -> CompressionError? {
    var whole = out.count
    do throws(CompressionError) {
      try run(bytes, .gzip, &out, limit, &whole)
      return nil
    } catch {
      out.count = whole
      return error
    }
  }

  /// `whole` is told where each member ends in `out`.
  private mutating func run(
    _ bytes: UnsafeRawBufferPointer, _ format: Format, _ out: inout ByteWriter, _ limit: DecompressionLimit, _ whole: inout Int
  ) throws(CompressionError) {
    guard let base = bytes.baseAddress, bytes.count > 0 else { throw CompressionError(.truncated, "no compressed data") }
    let flag: Int32
    switch format {
    case .gzip: flag = ISAL_GZIP
    case .zlib: flag = ISAL_ZLIB
    case .raw: flag = ISAL_DEFLATE
    case .httpDeflate: flag = Self.hasZlibHeader(bytes) ? ISAL_ZLIB : ISAL_DEFLATE
    }
    var left = limit.maximum(for: bytes.count)
    var position = 0
    repeat {
      isal_inflate_init(state)
      state.pointee.crc_flag = UInt32(flag)
      state.pointee.avail_in = 0
      var given = position
      while state.pointee.block_state != ISAL_BLOCK_FINISH {
        if state.pointee.avail_in == 0, given < bytes.count {
          let part = min(bytes.count - given, 1 << 30)
          state.pointee.next_in = UnsafeMutablePointer(mutating: (base + given).assumingMemoryBound(to: UInt8.self))
          state.pointee.avail_in = UInt32(part)
          given += part
        }
        // One byte more than may come, so that passing the limit shows.
        let room = min(max(64 * 1024, min(4 * Int(state.pointee.avail_in), 1 << 20)), left + 1)
        out.reserve(room)
        state.pointee.next_out = out.end.assumingMemoryBound(to: UInt8.self)
        state.pointee.avail_out = UInt32(room)
        let result = isal_inflate(state)
        let produced = room - Int(state.pointee.avail_out)
        guard produced <= left else {
          throw CompressionError(.tooLarge, "more than the \(limit.maximum(for: bytes.count)) bytes that are allowed")
        }
        left -= produced
        out.count += produced
        guard result == ISAL_DECOMP_OK || result == ISAL_END_INPUT || result == ISAL_OUT_OVERFLOW else {
          throw CompressionError(.corrupt, "not valid \(format) data")
        }
        if state.pointee.block_state != ISAL_BLOCK_FINISH, produced < room, state.pointee.avail_in == 0, given == bytes.count {
          throw CompressionError(.truncated, "the \(format) data ends too early")
        }
      }
      whole = out.count
      position = given - Int(state.pointee.avail_in) - Int(max(0, state.pointee.read_in_length)) / 8
    } while format == .gzip && position < bytes.count
    if position < bytes.count { throw CompressionError(.corrupt, "bytes follow the \(format) data") }
  }

  private static func hasZlibHeader(_ bytes: UnsafeRawBufferPointer) -> Bool {
    bytes.count >= 2 && bytes[0] & 0x0f == 8 && (Int(bytes[0]) << 8 | Int(bytes[1])) % 31 == 0
  }
}
