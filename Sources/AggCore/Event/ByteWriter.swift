public import Glibc

/// Grows by doubling; the one way bytes are produced on the hot path (three appends cost about 2.6 ns).
///
/// Call `reserve(n)` once per record, then the `unchecked` puts; the checked `append`s reserve by themselves.
/// Memory is malloc'ed, padded by `ByteWriter.padding` bytes so that vector stores may over-write.
public struct ByteWriter: ~Copyable, @unchecked Sendable {  // owned by one holder at a time: it cannot be copied
  /// Bytes that vector code may touch past `count`, never part of the content.
  public static let padding = 64

  @usableFromInline var base: UnsafeMutableRawPointer
  public private(set) var capacity: Int
  /// Bytes written so far.
  public var count: Int

  public init(capacity: Int = 4096) {
    let capacity = max(capacity, 64)
    base = malloc(capacity + Self.padding)!  // as Swift's own allocations: out of memory ends the process
    self.capacity = capacity
    count = 0
    if capacity >= HeldMemory.smallestWriter { HeldMemory.add(capacity) }
  }

  deinit {
    free(base)
    if capacity >= HeldMemory.smallestWriter { HeldMemory.add(-capacity) }
  }

  /// The bytes written; valid until the next append.
  @inlinable public var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: base, count: count) }
  @inlinable public var mutableBytes: UnsafeMutableRawBufferPointer { UnsafeMutableRawBufferPointer(start: base, count: count) }
  @inlinable public var isEmpty: Bool { count == 0 }

  /// Where the next byte goes; room for the last `reserve` only.
  @inlinable public var end: UnsafeMutableRawPointer { base + count }
  /// Sets `count` after bytes were stored through `end`.
  @inlinable public mutating func advance(to pointer: UnsafeMutableRawPointer) { count = pointer - base }

  @inlinable public mutating func reserve(_ n: Int) { if capacity - count < n { grow(n) } }

  @usableFromInline @inline(never) mutating func grow(_ n: Int) {
    var wanted = capacity * 2
    while wanted - count < n { wanted *= 2 }
    base = realloc(base, wanted + Self.padding)!
    resized(to: wanted)
  }

  private mutating func resized(to size: Int) {
    let change = HeldMemory.charge(size) - HeldMemory.charge(capacity)
    if change != 0 { HeldMemory.add(change) }
    capacity = size
  }

  public mutating func removeAll() { count = 0 }

  /// Shrinks what was allocated when a burst made it large; call between batches.
  public mutating func trim(to limit: Int) {
    guard capacity > limit, count <= limit else { return }
    base = realloc(base, limit + Self.padding)!
    resized(to: limit)
  }

  /// Gives the memory away; the writer is empty afterwards. The receiver frees it with `free`, and counts it from here on.
  consuming func release() -> (base: UnsafeMutableRawPointer, count: Int, capacity: Int) {
    let result = (base, count, capacity)
    if capacity >= HeldMemory.smallestWriter { HeldMemory.add(-capacity) }
    discard self
    return result
  }

  @inlinable public mutating func append(_ byte: UInt8) {
    reserve(1)
    end.storeBytes(of: byte, as: UInt8.self)
    count &+= 1
  }
  @inlinable public mutating func append(_ bytes: UnsafeRawBufferPointer) {
    guard let source = bytes.baseAddress, bytes.count > 0 else { return }
    reserve(bytes.count)
    memcpy(end, source, bytes.count)
    count &+= bytes.count
  }
  @inlinable public mutating func append(_ source: UnsafeRawPointer, _ n: Int) { append(UnsafeRawBufferPointer(start: source, count: n)) }
  @inlinable public mutating func append(_ text: StaticString) { append(UnsafeRawPointer(text.utf8Start), text.utf8CodeUnitCount) }
  public mutating func append(_ text: String) {
    var text = text
    text.withUTF8 { append(UnsafeRawBufferPointer($0)) }
  }
  public mutating func append(_ bytes: [UInt8]) { bytes.withUnsafeBytes { append($0) } }

  /// Stores `value` big endian; needs a `reserve` before.
  @inlinable public mutating func uncheckedBigEndian<T: FixedWidthInteger>(_ value: T) {
    end.storeBytes(of: value.bigEndian, as: T.self)
    count &+= MemoryLayout<T>.size
  }
  @inlinable public mutating func uncheckedAppend(_ byte: UInt8) {
    end.storeBytes(of: byte, as: UInt8.self)
    count &+= 1
  }

  public var array: [UInt8] { [UInt8](bytes) }
  public var string: String { String(decoding: bytes, as: UTF8.self) }
}
