import Glibc

/// Values by byte string, at most `capacity` of them: the one that was used longest ago makes room for a new one.
///
/// Looking a key up copies nothing; only a new key is copied. A slot is good until the next `remove` or `use`. Keys come from
/// outside: they are hashed with the process's own seed. Not synchronised; it lives in its owner's lock.
struct RecentTable<Value> {
  struct Entry {
    let key: [UInt8]
    let hash: Int
    var value: Value
    var older: Int
    var newer: Int
  }
  let capacity: Int
  private var entries: [Entry] = []
  /// Open addressing: slots of entries, -1 where none is. Always a power of two, at most half full.
  private var table: [Int32]
  /// The entry used longest ago, and the one used last; -1 without entries.
  private var first = -1
  private var last = -1

  init(capacity: Int) {
    self.capacity = min(max(capacity, 1), 1 << 24)
    table = Array(repeating: -1, count: 16)
  }

  var count: Int { entries.count }
  var isEmpty: Bool { entries.isEmpty }
  var isFull: Bool { entries.count >= capacity }
  /// The slot used longest ago.
  var oldest: Int? { first < 0 ? nil : first }
  func key(_ slot: Int) -> [UInt8] { entries[slot].key }
  subscript(slot: Int) -> Value {
    get { entries[slot].value }
    _modify { yield &entries[slot].value }
  }

  func find(_ key: UnsafeRawBufferPointer) -> Int? { probe(key, Self.hash(key)).slot }
  func find(_ key: [UInt8]) -> Int? { key.withUnsafeBytes { find($0) } }

  /// The slot of `key`, made by `make` where it is new; it counts as used now. Full, the oldest entry leaves and is returned.
  mutating func use(_ key: UnsafeRawBufferPointer, _ make: () -> Value) -> (slot: Int, evicted: (key: [UInt8], value: Value)?) {
    let hash = Self.hash(key)
    if let slot = probe(key, hash).slot {
      touch(slot)
      return (slot, nil)
    }
    var evicted: (key: [UInt8], value: Value)?
    if isFull, first >= 0 { evicted = remove(first) }
    if (entries.count + 1) * 2 > table.count { grow() }
    let slot = entries.count
    table[probe(key, hash).place] = Int32(truncatingIfNeeded: slot)
    entries.append(Entry(key: Array(key), hash: hash, value: make(), older: -1, newer: -1))
    link(slot)
    return (slot, evicted)
  }

  /// Makes the slot the one used last.
  mutating func touch(_ slot: Int) {
    if slot == last { return }
    unlink(slot)
    link(slot)
  }

  @discardableResult mutating func remove(_ slot: Int) -> (key: [UInt8], value: Value) {
    unlink(slot)
    erase(place(of: slot))
    let moved = entries.count - 1
    if slot != moved {
      table[place(of: moved)] = Int32(truncatingIfNeeded: slot)
      entries.swapAt(slot, moved)
      let (older, newer) = (entries[slot].older, entries[slot].newer)
      if older >= 0 { entries[older].newer = slot } else { first = slot }
      if newer >= 0 { entries[newer].older = slot } else { last = slot }
    }
    let gone = entries.removeLast()
    return (gone.key, gone.value)
  }

  // MARK: Order of use

  private mutating func link(_ slot: Int) {
    entries[slot].older = last
    entries[slot].newer = -1
    if last >= 0 { entries[last].newer = slot } else { first = slot }
    last = slot
  }
  private mutating func unlink(_ slot: Int) {
    let (older, newer) = (entries[slot].older, entries[slot].newer)
    if older >= 0 { entries[older].newer = newer } else { first = newer }
    if newer >= 0 { entries[newer].older = older } else { last = older }
  }

  // MARK: Hashing

  private static func hash(_ key: UnsafeRawBufferPointer) -> Int {
    var hasher = Hasher()
    hasher.combine(bytes: key)
    return hasher.finalize()
  }

  private func probe(_ key: UnsafeRawBufferPointer, _ hash: Int) -> (place: Int, slot: Int?) {
    let mask = table.count - 1
    var place = hash & mask
    while true {
      let slot = Int(table[place])
      if slot < 0 { return (place, nil) }
      if entries[slot].hash == hash, entries[slot].key.elementsEqual(key) { return (place, slot) }
      place = (place + 1) & mask
    }
  }
  private func place(of slot: Int) -> Int {
    let mask = table.count - 1
    var place = entries[slot].hash & mask
    while Int(table[place]) != slot { place = (place + 1) & mask }
    return place
  }

  /// Closes the gap, so that a search may go on ending at the first empty place.
  private mutating func erase(_ place: Int) {
    let mask = table.count - 1
    var hole = place
    var next = (place + 1) & mask
    while table[next] >= 0 {
      let home = entries[Int(table[next])].hash & mask
      if (next &- home) & mask >= (next &- hole) & mask {
        table[hole] = table[next]
        hole = next
      }
      next = (next + 1) & mask
    }
    table[hole] = -1
  }

  private mutating func grow() {
    table = Array(repeating: -1, count: table.count * 2)
    let mask = table.count - 1
    for slot in entries.indices {
      var place = entries[slot].hash & mask
      while table[place] >= 0 { place = (place + 1) & mask }
      table[place] = Int32(truncatingIfNeeded: slot)
    }
  }
}

extension RecentTable: Sendable where Value: Sendable {}
extension RecentTable.Entry: Sendable where Value: Sendable {}
