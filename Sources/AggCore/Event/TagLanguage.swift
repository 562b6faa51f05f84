/// The tags that patterns take together, compared with other patterns': whether any is in common, whether one takes all of another's.
///
/// Exact for what `TagGlob` says. A regular expression is not looked into: it is taken for everything where that makes a
/// statement weaker and for nothing where it would make it stronger, so no answer claims more than is so. For `agg check`.
public struct TagLanguage: Sendable {
  /// A tag must fit one pattern of each of these …
  public var required: [[TagPattern]]
  /// … and none of these.
  public var excluded: [TagPattern]

  public init(_ required: [[TagPattern]] = [], excluding excluded: [TagPattern] = []) {
    self.required = required
    self.excluded = excluded
  }
  public func and(_ patterns: [TagPattern]) -> TagLanguage { TagLanguage(required + [patterns], excluding: excluded) }
  public func without(_ patterns: [TagPattern]) -> TagLanguage { TagLanguage(required, excluding: excluded + patterns) }

  /// The search's limit of combined states; beyond it nothing is claimed.
  private static let limit = 20_000

  public enum Answer: Sendable, Equatable {
    case none
    /// At least this tag, a short one; a regular expression may refuse it.
    case some(String)
    /// Too large to tell.
    case unknown
  }

  /// Whether any tag is left, with an example.
  public func example() -> Answer {
    let groups = required.map { $0.flatMap(\.automata) }
    let out = excluded.flatMap(\.automata)
    let all = groups.flatMap { $0 } + out
    var used: Set<UInt8> = []
    for case .glob(let glob) in all { glob.addBytes(to: &used) }
    used.insert(UInt8(ascii: "."))
    // One byte stands for all that no pattern names.
    let spare = Array("xyzabcdefghijklmnopqrstuvw0123456789".utf8) + Array(UInt8(1)...UInt8(255))
    let other = spare.first { !used.contains($0) }
    let alphabet = (other.map { [$0] } ?? []) + used.sorted()

    let starts = all.map { automaton -> [Int32] in if case .glob(let glob) = automaton { [glob.startState] } else { [] } }
    var seen: Set<Place> = []
    var queue: [(states: [[Int32]], text: [UInt8])] = [(starts, [])]
    var at = 0
    // The first that is found, and how far to look for one that reads like a tag.
    var first: [UInt8]?
    var end = Self.limit
    while at < queue.count {
      let (states, text) = queue[at]
      at += 1
      if !text.isEmpty, accepts(groups, out, states, atStart: false) {
        if Self.isPlain(text) { return .some(String(decoding: text, as: UTF8.self)) }
        if first == nil {
          first = text
          end = min(end, at + 500)
        }
      }
      if at > end { break }
      for byte in alphabet {
        let next = zip(all, states).map { automaton, list -> [Int32] in
          guard case .glob(let glob) = automaton else { return [] }
          return glob.step(list, byte, atStart: text.isEmpty)
        }
        guard isAlive(groups, next), seen.insert(Place(states: next, afterDot: byte == UInt8(ascii: "."))).inserted else {
          continue
        }
        queue.append((next, text + [byte]))
      }
    }
    if let first { return .some(String(decoding: first, as: UTF8.self)) }
    return at > end ? .unknown : .none
  }
  /// After a dot is a place of its own, so that an example can go on to where it reads like a tag.
  private struct Place: Hashable {
    var states: [[Int32]]
    var afterDot: Bool
  }
  /// No empty part, as people write tags.
  private static func isPlain(_ text: [UInt8]) -> Bool {
    text.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false).allSatisfy { !$0.isEmpty }
  }
  public var isEmpty: Bool { example() == .none }

  private func accepts(_ groups: [[TagAutomaton]], _ out: [TagAutomaton], _ states: [[Int32]], atStart: Bool) -> Bool {
    var index = 0
    for group in groups {
      var taken = group.isEmpty
      for automaton in group {
        switch automaton {
        case .all, .opaque: taken = true
        case .glob(let glob): if glob.accepts(states[index], atStart: atStart) { taken = true }
        }
        index += 1
      }
      if !taken { return false }
    }
    for automaton in out {
      switch automaton {
      case .all: return false
      case .opaque: break
      case .glob(let glob): if glob.accepts(states[index], atStart: atStart) { return false }
      }
      index += 1
    }
    return true
  }

  /// A group without a live state left can never accept.
  private func isAlive(_ groups: [[TagAutomaton]], _ states: [[Int32]]) -> Bool {
    var index = 0
    for group in groups {
      var alive = group.isEmpty
      for automaton in group {
        if case .glob = automaton { if !states[index].isEmpty { alive = true } } else { alive = true }
        index += 1
      }
      if !alive { return false }
    }
    return true
  }
}

/// One alternative of a pattern, as far as it can be looked into.
enum TagAutomaton: Sendable {
  case all
  case glob(TagGlob)
  /// A regular expression.
  case opaque
}

extension TagPattern {
  var automata: [TagAutomaton] {
    alternatives.map { alternative in
      switch alternative {
      case .all: .all
      case .glob(let glob): .glob(glob)
      case .regexp: .opaque
      }
    }
  }
}

extension TagGlob {
  var startState: Int32 { Int32(truncatingIfNeeded: steps.count - 1) }

  func addBytes(to used: inout Set<UInt8>) {
    for case .byte(let byte, _) in steps { used.insert(byte) }
  }

  /// The states after `byte`, sorted; `atStart`: nothing was read before it.
  func step(_ states: [Int32], _ byte: UInt8, atStart: Bool) -> [Int32] {
    var next: Set<Int32> = []
    for state in closure(states, atStart: atStart, before: byte) {
      switch steps[Int(state)] {
      case .byte(let wanted, let to): if wanted == byte { next.insert(to) }
      case .notDot(let to): if byte != UInt8(ascii: ".") { next.insert(to) }
      case .any(let to): next.insert(to)
      default: break
      }
    }
    return next.sorted()
  }

  /// Whether the tag may end here.
  func accepts(_ states: [Int32], atStart: Bool) -> Bool {
    closure(states, atStart: atStart, before: nil).contains { steps[Int($0)] == .match }
  }

  /// `before`: the byte that follows, nil at the tag's end.
  private func closure(_ states: [Int32], atStart: Bool, before byte: UInt8?) -> Set<Int32> {
    var reached = Set(states)
    var work = states
    func reach(_ state: Int32) { if reached.insert(state).inserted { work.append(state) } }
    while let state = work.popLast() {
      switch steps[Int(state)] {
      case .split(let a, let b):
        reach(a)
        reach(b)
      case .boundary(let to): if byte == nil || byte == UInt8(ascii: ".") { reach(to) }
      case .start(let to): if atStart { reach(to) }
      default: break
      }
    }
    return reached
  }
}
