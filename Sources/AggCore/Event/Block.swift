import Glibc

/// Bytes that many batches may share: written once by its builder, never after.
///
/// Padded by `ByteWriter.padding` readable bytes. Freed with the last reference.
public final class Block: @unchecked Sendable {  // immutable after init
  public let base: UnsafeRawPointer
  public let count: Int
  /// Bytes allocated, for memory accounting.
  public let capacity: Int

  /// Takes over what the writer wrote; unused room beyond a quarter is given back.
  public init(_ writer: consuming ByteWriter) {
    let (start, count, capacity) = writer.release()
    var kept = start
    var size = capacity
    if capacity > 8192, count < capacity - capacity / 4 {
      size = count
      kept = realloc(start, count + ByteWriter.padding)!
    }
    base = UnsafeRawPointer(kept)
    self.count = count
    self.capacity = size
    HeldMemory.add(size + HeldMemory.blockOverhead)
  }

  public convenience init(copying bytes: UnsafeRawBufferPointer) {
    var writer = ByteWriter(capacity: max(bytes.count, 1))
    writer.append(bytes)
    self.init(writer)
  }

  deinit {
    free(UnsafeMutableRawPointer(mutating: base))
    HeldMemory.add(-(capacity + HeldMemory.blockOverhead))
  }

  public var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: base, count: count) }
}
