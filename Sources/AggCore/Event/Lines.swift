public import Glibc

/// Calls `body` with each line of a block (without `\n`, a final `\r` is the caller's) and its offset; the last needs no `\n`.
@inlinable public func forEachLine<E: Error>(
  _ block: UnsafeRawBufferPointer, _ body: (UnsafeRawBufferPointer, Int) throws(E) -> Void
) throws(E) {
  guard let base = block.baseAddress else { return }
  var at = 0
  while at < block.count {
    let length = memchr(base + at, 0x0a, block.count - at).map { UnsafeRawPointer($0) - (base + at) } ?? (block.count - at)
    try body(UnsafeRawBufferPointer(start: base + at, count: length), at)
    at += length + 1
  }
}
