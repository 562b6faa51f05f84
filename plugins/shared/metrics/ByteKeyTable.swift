import AggCore
import Glibc

/// Numbers byte keys 0, 1, 2 … in the order in which they come first: one arena, nothing is allocated per key.
///
/// Keys come from records, so the hash is Swift's, seeded for each process. Nothing is removed; who forgets makes a new table.
struct ByteKeyTable: Sendable {
  private var arena: [UInt8] = []
  /// Where key i ends in the arena.
  private var ends: [Int] = []
  private var hashes: [Int] = []
  /// Index + 1; 0 where free. A power of two, at most three quarters full.
  private var slots: [Int32] = []

  var count: Int { ends.count }
  var isEmpty: Bool { ends.isEmpty }

  func find(_ key: UnsafeRawBufferPointer) -> Int? {
    if slots.isEmpty { return nil }
    let found = Int(slots[slot(key, Self.hash(key))])
    return found == 0 ? nil : found - 1
  }

  /// The key's number; a new one is `count - 1` then.
  mutating func insert(_ key: UnsafeRawBufferPointer) -> (index: Int, isNew: Bool) {
    if slots.count * 3 <= (count + 1) * 4 { grow() }
    let hash = Self.hash(key)
    let place = slot(key, hash)
    if slots[place] != 0 { return (Int(slots[place]) - 1, false) }
    arena.append(contentsOf: key)
    ends.append(arena.count)
    hashes.append(hash)
    slots[place] = Int32(truncatingIfNeeded: count)  // bounded by callers far below 2^31
    return (count - 1, true)
  }

  func withKey<R>(_ index: Int, _ body: (UnsafeRawBufferPointer) -> R) -> R {
    arena.withUnsafeBytes { bytes in body(UnsafeRawBufferPointer(rebasing: bytes[range(index)])) }
  }

  private func range(_ index: Int) -> Range<Int> { (index == 0 ? 0 : ends[index - 1])..<ends[index] }

  private static func hash(_ key: UnsafeRawBufferPointer) -> Int {
    var hasher = Hasher()
    hasher.combine(bytes: key)
    return hasher.finalize()
  }

  /// The key's slot, or the free one that it would take.
  private func slot(_ key: UnsafeRawBufferPointer, _ hash: Int) -> Int {
    let mask = slots.count - 1
    var place = hash & mask
    while slots[place] != 0 {
      let index = Int(slots[place]) - 1
      if hashes[index] == hash,
        withKey(index, { $0.count == key.count && ($0.isEmpty || memcmp($0.baseAddress!, key.baseAddress!, key.count) == 0) })
      {
        return place
      }
      place = (place + 1) & mask
    }
    return place
  }

  private mutating func grow() {
    slots = [Int32](repeating: 0, count: max(16, slots.count * 2))
    let mask = slots.count - 1
    for (index, hash) in hashes.enumerated() {
      var place = hash & mask
      while slots[place] != 0 { place = (place + 1) & mask }
      slots[place] = Int32(truncatingIfNeeded: index + 1)
    }
  }
}
