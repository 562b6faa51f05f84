public import Glibc

/// Stores MessagePack through a raw pointer, for loops that have reserved the room of a whole record at once.
///
/// Every store returns where the next one goes, and may write up to 32 bytes beyond that: `ByteWriter.padding` covers it.
public enum MessagePackStore {
  /// A string; reads up to 31 bytes past `source + n`.
  @inlinable @inline(__always)
  public static func string(_ source: UnsafeRawPointer, _ n: Int, _ out: UnsafeMutableRawPointer) -> UnsafeMutableRawPointer {
    let o = MessagePack.putStringHeader(n, out)
    if n <= 32 {
      o.storeBytes(of: source.loadUnaligned(as: SIMD16<UInt8>.self), as: SIMD16<UInt8>.self)
      if n > 16 {
        (o + 16).storeBytes(of: (source + 16).loadUnaligned(as: SIMD16<UInt8>.self), as: SIMD16<UInt8>.self)
      }
    } else {
      memcpy(o, source, n)
    }
    return o + n
  }
  /// Bytes that are MessagePack already, at most 32 of them fast; reads up to 31 bytes past `source + n`.
  @inlinable @inline(__always)
  public static func raw(_ source: UnsafeRawPointer, _ n: Int, _ out: UnsafeMutableRawPointer) -> UnsafeMutableRawPointer {
    if n <= 16 {
      out.storeBytes(of: source.loadUnaligned(as: SIMD16<UInt8>.self), as: SIMD16<UInt8>.self)
    } else {
      memcpy(out, source, n)
    }
    return out + n
  }
  @inlinable @inline(__always)
  public static func integer(_ value: Int64, _ out: UnsafeMutableRawPointer) -> UnsafeMutableRawPointer { MessagePack.put(value, out) }
}
