public import Glibc

/// The MessagePack format as stores and loads through raw pointers; who calls it has checked the room.
///
/// Source: the MessagePack specification (spec.md, 2013 and later: str8, bin, ext).
public enum MessagePack {
  /// How deep containers may nest in what is taken from outside; Yajl prints no more than 255 levels either.
  public static let maximumDepth = 128
}

extension UnsafeRawPointer {
  @inlinable @inline(__always) func byte(_ offset: Int = 0) -> UInt8 { load(fromByteOffset: offset, as: UInt8.self) }
  @inlinable @inline(__always) func bigEndian<T: FixedWidthInteger>(_ offset: Int, as type: T.Type) -> T {
    T(bigEndian: loadUnaligned(fromByteOffset: offset, as: T.self))
  }
  /// The big-endian 16-bit length at `offset`, as an Int; likewise `length32`.
  @inlinable @inline(__always) func length16(_ offset: Int) -> Int { Int(bigEndian(offset, as: UInt16.self)) }
  @inlinable @inline(__always) func length32(_ offset: Int) -> Int { Int(bigEndian(offset, as: UInt32.self)) }
}

extension UnsafeMutableRawPointer {
  @inlinable @inline(__always) func put(_ offset: Int = 0, _ byte: UInt8) {
    storeBytes(of: byte, toByteOffset: offset, as: UInt8.self)
  }
  @inlinable @inline(__always) func putBigEndian<T: FixedWidthInteger>(_ offset: Int, _ value: T) {
    storeBytes(of: value.bigEndian, toByteOffset: offset, as: T.self)
  }
}

extension MessagePack {
  /// The whole size of a value of the types 0xc0 … 0xdf where the type alone tells it (a nibble each), else 0.
  @inlinable @inline(__always) static func fixedSize(_ first: UInt8) -> Int {
    let sizes: UInt64 = first & 0x10 == 0 ? 0x9532_9500_0000_1101 : 0x0000_0000_a643_9532
    return Int(truncatingIfNeeded: sizes &>> (UInt64(first & 0x0f) &* 4) & 0x0f)
  }

  /// Stores up to 9 bytes and returns where the next value goes.
  @inlinable @inline(__always) static func put(_ value: UInt64, _ out: UnsafeMutableRawPointer) -> UnsafeMutableRawPointer {
    if value < 0x80 {
      out.put(0, UInt8(truncatingIfNeeded: value))
      return out + 1
    }
    if value < 0x100 {
      out.put(0, 0xcc)
      out.put(1, UInt8(truncatingIfNeeded: value))
      return out + 2
    }
    if value < 0x1_0000 {
      out.put(0, 0xcd)
      out.putBigEndian(1, UInt16(truncatingIfNeeded: value))
      return out + 3
    }
    if value < 0x1_0000_0000 {
      out.put(0, 0xce)
      out.putBigEndian(1, UInt32(truncatingIfNeeded: value))
      return out + 5
    }
    out.put(0, 0xcf)
    out.putBigEndian(1, value)
    return out + 9
  }

  @inlinable @inline(__always) static func put(_ value: Int64, _ out: UnsafeMutableRawPointer) -> UnsafeMutableRawPointer {
    value >= 0 ? put(UInt64(bitPattern: value), out) : putNegative(value, out)
  }

  @inlinable static func putNegative(_ value: Int64, _ out: UnsafeMutableRawPointer) -> UnsafeMutableRawPointer {
    if value >= -32 {
      out.put(0, UInt8(truncatingIfNeeded: value))
      return out + 1
    }
    if value >= -0x80 {
      out.put(0, 0xd0)
      out.put(1, UInt8(truncatingIfNeeded: value))
      return out + 2
    }
    if value >= -0x8000 {
      out.put(0, 0xd1)
      out.putBigEndian(1, UInt16(truncatingIfNeeded: value))
      return out + 3
    }
    if value >= -0x8000_0000 {
      out.put(0, 0xd2)
      out.putBigEndian(1, UInt32(truncatingIfNeeded: value))
      return out + 5
    }
    out.put(0, 0xd3)
    out.putBigEndian(1, value)
    return out + 9
  }

  /// Stores up to 5 bytes.
  @inlinable @inline(__always)
  static func putStringHeader(_ n: Int, _ out: UnsafeMutableRawPointer) -> UnsafeMutableRawPointer {
    if n < 32 {
      out.put(0, 0xa0 | UInt8(truncatingIfNeeded: n))
      return out + 1
    }
    if n < 0x100 {
      out.put(0, 0xd9)
      out.put(1, UInt8(truncatingIfNeeded: n))
      return out + 2
    }
    if n < 0x1_0000 {
      out.put(0, 0xda)
      out.putBigEndian(1, UInt16(truncatingIfNeeded: n))
      return out + 3
    }
    out.put(0, 0xdb)
    out.putBigEndian(1, UInt32(truncatingIfNeeded: n))
    return out + 5
  }

  /// Stores up to 5 bytes; `fix` is 0x80 for a map, 0x90 for an array.
  @inlinable static func putHeader(fix: UInt8, _ n: Int, _ out: UnsafeMutableRawPointer) -> UnsafeMutableRawPointer {
    if n < 16 {
      out.put(0, fix | UInt8(truncatingIfNeeded: n))
      return out + 1
    }
    let wide: UInt8 = fix == 0x80 ? 0xde : 0xdc
    if n < 0x1_0000 {
      out.put(0, wide)
      out.putBigEndian(1, UInt16(truncatingIfNeeded: n))
      return out + 3
    }
    out.put(0, wide + 1)
    out.putBigEndian(1, UInt32(truncatingIfNeeded: n))
    return out + 5
  }

  /// Replaces the one-byte header at `header`, whose body ends at `end`, by a wider one: up to 4 bytes of room past `end`.
  @inlinable @inline(never)
  static func widenHeader(_ header: UnsafeMutableRawPointer, fix: UInt8, _ n: Int, end: UnsafeMutableRawPointer)
    -> UnsafeMutableRawPointer
  {
    let growth = n < 0x1_0000 ? 2 : 4
    memmove(header + 1 + growth, header + 1, end - (header + 1))
    _ = putHeader(fix: fix, n, header)
    return end + growth
  }
}
