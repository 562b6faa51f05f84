/// Notices a key that comes twice in one object: an open-addressed set of 40-bit fingerprints, cleared by a new generation.
///
/// A false alarm costs time, not correctness: who is alarmed looks again, exactly.
struct JSONKeySet: ~Copyable {
  /// generation (24 bits), fingerprint (40 bits).
  private var slots: UnsafeMutablePointer<UInt64>
  private var mask: UInt64
  private var generation: UInt64 = 0
  private var used = 0
  /// Chosen at random so that a peer cannot choose keys that collide.
  private let seed: UInt64

  init() {
    mask = 255
    slots = Self.allocate(256)
    seed = UInt64.random(in: .min ... .max)
  }
  deinit { slots.deallocate() }

  private static func allocate(_ n: Int) -> UnsafeMutablePointer<UInt64> {
    let slots = UnsafeMutablePointer<UInt64>.allocate(capacity: n)
    slots.initialize(repeating: 0, count: n)
    return slots
  }

  /// Forgets all keys; call it once a record.
  @inline(__always) mutating func begin() {
    generation &+= 1
    used = 0
    if generation == 1 << 24 { restart() }
  }
  @inline(never) private mutating func restart() {
    slots.update(repeating: 0, count: Int(mask) + 1)
    generation = 1
  }

  /// Adds the key of the object that `object` identifies within the record; false when it seems to be there already.
  @inline(__always) mutating func insert(_ key: UnsafeRawPointer, _ n: Int, object: Int) -> Bool {
    // Spread over all bits: a place and a short key would else cancel each other out in an array of many objects.
    var hash = UInt64(truncatingIfNeeded: object) &* 0x9e37_79b9_7f4a_7c15 ^ seed
    if n < 8 {
      let word = key.loadUnaligned(as: UInt64.self).littleEndian & ((1 << (UInt64(n) &* 8)) &- 1)
      hash = Self.mix(hash, word ^ UInt64(n) << 56)
    } else if n <= 16 {
      hash = Self.mix(hash, key.loadUnaligned(as: UInt64.self))
      hash = Self.mix(hash, (key + (n &- 8)).loadUnaligned(as: UInt64.self) ^ UInt64(n))
    } else {
      hash = Self.long(hash, key, n)
    }
    let entry = generation << 40 | hash >> 24
    var index = entry & mask
    while true {
      let slot = slots[Int(index)]
      if slot == entry { return false }
      if slot >> 40 != generation { break }
      index = (index &+ 1) & mask
    }
    slots[Int(index)] = entry
    used &+= 1
    if used &* 2 > Int(mask) { grow() }
    return true
  }

  @inline(__always) private static func mix(_ hash: UInt64, _ word: UInt64) -> UInt64 {
    let product = (hash ^ word) &* 0x9e37_79b9_7f4a_7c15
    return (product ^ product >> 32) &* 0xd6e8_feb8_6659_fd93
  }

  @inline(never) private static func long(_ seed: UInt64, _ key: UnsafeRawPointer, _ n: Int) -> UInt64 {
    var hash = mix(seed, UInt64(n))
    var i = 0
    while i < n &- 8 {
      hash = mix(hash, (key + i).loadUnaligned(as: UInt64.self))
      i &+= 8
    }
    return mix(hash, (key + (n &- 8)).loadUnaligned(as: UInt64.self))
  }

  @inline(never) private mutating func grow() {
    let old = slots
    let oldCount = Int(mask) + 1
    slots = Self.allocate(oldCount * 2)
    mask = UInt64(oldCount * 2 - 1)
    for i in 0..<oldCount where old[i] >> 40 == generation {
      var index = old[i] & mask
      while slots[Int(index)] != 0 { index = (index &+ 1) & mask }
      slots[Int(index)] = old[i]
    }
    old.deallocate()
  }
}
