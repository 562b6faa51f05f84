/// The order in which servers take turns, by weight.
package struct LoadBalancer {
  package struct Candidate {
    var weight: Int
    var isStandby: Bool
    var isAvailable: Bool
    package init(weight: Int, isStandby: Bool = false, isAvailable: Bool = true) {
      self.weight = weight
      self.isStandby = isStandby
      self.isAvailable = isAvailable
    }
  }

  /// Indices of candidates, one a turn. Standby servers that are used are in `standbys`.
  package private(set) var turns: [Int] = []
  package private(set) var standbys: [Int] = []
  private var next = 0

  /// Standby servers take the place of as much weight as is missing. The same seed gives the same order.
  package init(_ candidates: [Candidate], seed: UInt64) {
    var used = candidates.indices.filter { candidates[$0].weight > 0 && !candidates[$0].isStandby }
    var missing = used.reduce(0) { $0 + (candidates[$1].isAvailable ? 0 : candidates[$1].weight) }
    for index in candidates.indices where missing > 0 && candidates[index].isStandby && candidates[index].weight > 0 {
      guard candidates[index].isAvailable else { continue }
      used.append(index)
      standbys.append(index)
      missing -= candidates[index].weight
    }
    guard !used.isEmpty else { return }
    let divisor = used.reduce(0) { Self.gcd($0, candidates[$1].weight) }
    for index in used { turns += Array(repeating: index, count: candidates[index].weight / max(divisor, 1)) }
    // Each server several times, so that while one fails its turns fall to all the others.
    let copies = used.count * 6 / turns.count
    if copies > 1 { turns = Array(repeating: turns, count: copies).flatMap { $0 } }
    var random = Random(state: seed)
    turns.shuffle(using: &random)
  }

  package mutating func take() -> Int? {
    guard !turns.isEmpty else { return nil }
    defer { next = (next + 1) % turns.count }
    return turns[next]
  }

  private static func gcd(_ a: Int, _ b: Int) -> Int { b == 0 ? a : gcd(b, a % b) }

  /// SplitMix64.
  private struct Random: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
      state &+= 0x9e37_79b9_7f4a_7c15
      var z = state
      z = (z ^ z >> 30) &* 0xbf58_476d_1ce4_e5b9
      z = (z ^ z >> 27) &* 0x94d0_49bb_1331_11eb
      return z ^ z >> 31
    }
  }
}
