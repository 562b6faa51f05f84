/// One tag pattern as a small automaton: states and the bytes between them, run over the tag with a set of states.
///
/// Time is at most (states × tag bytes), whatever the pattern: no backtracking.
struct TagGlob: Sendable {
  /// The most states a pattern may need; its braces are kept as branches, not multiplied out.
  static let maximumStates = 4096
  static let maximumDepth = 64

  enum Step: Sendable, Hashable {
    case byte(UInt8, next: Int32)
    case notDot(next: Int32)
    case any(next: Int32)
    /// Both at once, without a byte.
    case split(Int32, Int32)
    /// Goes on only at the end of the tag or before a dot.
    case boundary(next: Int32)
    /// Goes on only at the start of the tag.
    case start(next: Int32)
    case match
  }

  private(set) var steps: [Step]
  /// The words that fit, when it has no wildcard.
  let literals: [String]?
  let isCatchAll: Bool
  private let onlyBytes: [UInt8]?

  init(_ text: String) throws(ConfigValueError) {
    var parser = Parser(Array(text.utf8))
    let node = try parser.sequence(depth: 0)
    var builder = Builder()
    let start = try builder.build(node, then: builder.add(.match))
    steps = builder.steps
    steps.append(.split(start, start))  // the last state is where matching starts
    let words = Self.words(node)
    literals = words?.map { String(decoding: $0, as: UTF8.self) }
    onlyBytes = words?.count == 1 ? words?.first : nil
    isCatchAll = node == [.anything] || node == [.anything, .anything]
  }

  func matches(_ tag: UnsafeBufferPointer<UInt8>) -> Bool {
    if let onlyBytes { return onlyBytes.elementsEqual(tag) }
    return withUnsafeTemporaryAllocation(of: Int32.self, capacity: 4 * steps.count) { memory in
      var current = StateList(UnsafeMutableBufferPointer(rebasing: memory[..<(2 * steps.count)]), steps.count)
      var following = StateList(UnsafeMutableBufferPointer(rebasing: memory[(2 * steps.count)...]), steps.count)
      add(Int32(truncatingIfNeeded: steps.count - 1), &current, tag, 0)
      for i in tag.indices {
        if current.isEmpty { return false }
        following.removeAll()
        let byte = tag[i]
        for k in 0..<current.count {
          switch steps[Int(current[k])] {
          case .byte(let wanted, let next): if byte == wanted { add(next, &following, tag, i + 1) }
          case .notDot(let next): if byte != UInt8(ascii: ".") { add(next, &following, tag, i + 1) }
          case .any(let next): add(next, &following, tag, i + 1)
          default: break
          }
        }
        swap(&current, &following)
      }
      for k in 0..<current.count where steps[Int(current[k])] == .match { return true }
      return false
    }
  }

  /// Adds a state and all that is reached from it without a byte. `list` also serves as the work list.
  private func add(_ state: Int32, _ list: inout StateList, _ tag: UnsafeBufferPointer<UInt8>, _ at: Int) {
    var next = list.count
    list.insert(state)
    while next < list.count {
      switch steps[Int(list[next])] {
      case .split(let a, let b):
        list.insert(a)
        list.insert(b)
      case .boundary(let to): if at == tag.count || tag[at] == UInt8(ascii: ".") { list.insert(to) }
      case .start(let to): if at == 0 { list.insert(to) }
      default: break
      }
      next += 1
    }
  }

  /// A set of states in the order of insertion (a sparse set: no clearing between bytes).
  private struct StateList {
    private let dense: UnsafeMutableBufferPointer<Int32>
    private let sparse: UnsafeMutableBufferPointer<Int32>
    private(set) var count = 0

    init(_ memory: UnsafeMutableBufferPointer<Int32>, _ size: Int) {
      dense = UnsafeMutableBufferPointer(rebasing: memory[..<size])
      sparse = UnsafeMutableBufferPointer(rebasing: memory[size...])
      sparse.update(repeating: 0)
    }
    var isEmpty: Bool { count == 0 }
    subscript(index: Int) -> Int32 { dense[index] }
    mutating func removeAll() { count = 0 }
    mutating func insert(_ state: Int32) {
      let place = Int(sparse[Int(state)])
      if place < count, dense[place] == state { return }
      dense[count] = state
      sparse[Int(state)] = Int32(truncatingIfNeeded: count)
      count += 1
    }
  }

  // MARK: compilation

  enum Node: Hashable {
    case byte(UInt8)
    /// `*`
    case within
    /// `**`
    case anything
    /// `**.`
    case parts
    /// The dot before `**` was taken back: only a dot or the end may follow.
    case boundary
    case either([[Node]])
  }

  private struct Parser {
    let bytes: [UInt8]
    var i = 0
    init(_ bytes: [UInt8]) { self.bytes = bytes }

    mutating func sequence(depth: Int) throws(ConfigValueError) -> [Node] {
      guard depth <= TagGlob.maximumDepth else { throw ConfigValueError("the pattern's braces are nested too deeply") }
      var nodes: [Node] = []
      var dot = false
      func flush(_ nodes: inout [Node]) {
        if dot { nodes.append(.byte(UInt8(ascii: "."))) }
        dot = false
      }
      while i < bytes.count {
        let c = bytes[i]
        if c == UInt8(ascii: "*"), i + 1 < bytes.count, bytes[i + 1] == UInt8(ascii: "*") {
          if dot { nodes.append(.boundary) }
          dot = false
          i += 2
          if i < bytes.count, bytes[i] == UInt8(ascii: ".") {
            i += 1
            nodes.append(.parts)
          } else {
            nodes.append(.anything)
          }
          continue
        }
        if depth > 0, c == UInt8(ascii: "}") || c == UInt8(ascii: ",") { break }
        flush(&nodes)
        i += 1
        switch c {
        case UInt8(ascii: "\\"):
          guard i < bytes.count else { throw ConfigValueError("the pattern ends in a backslash") }
          nodes.append(.byte(bytes[i]))
          i += 1
        case UInt8(ascii: "."): dot = true
        case UInt8(ascii: "*"): nodes.append(.within)
        case UInt8(ascii: "{"):
          var branches: [[Node]] = []
          while true {
            branches.append(try sequence(depth: depth + 1))
            guard i < bytes.count else { throw ConfigValueError("the pattern's brace is not closed") }
            i += 1
            if bytes[i - 1] == UInt8(ascii: "}") { break }
          }
          nodes.append(.either(branches))
        default: nodes.append(.byte(c))
        }
      }
      if depth > 0 { flush(&nodes) }  // a pattern's last dot says nothing in Fluentd: `a.` is `a`
      return nodes
    }
  }

  private struct Builder {
    var steps: [Step] = []

    mutating func add(_ step: Step) throws(ConfigValueError) -> Int32 {
      guard steps.count < TagGlob.maximumStates else { throw ConfigValueError("the pattern is too large") }
      steps.append(step)
      return Int32(truncatingIfNeeded: steps.count - 1)
    }

    /// From the end backwards, so that each step knows what follows it.
    mutating func build(_ nodes: [Node], then next: Int32) throws(ConfigValueError) -> Int32 {
      var next = next
      for node in nodes.reversed() {
        switch node {
        case .byte(let byte): next = try add(.byte(byte, next: next))
        case .boundary: next = try add(.boundary(next: next))
        case .within: next = try loop(.notDot(next: 0), then: next)
        case .anything: next = try loop(.any(next: 0), then: next)
        case .parts:
          let afterDot = try add(.byte(UInt8(ascii: "."), next: next))
          let dotted = try loop(.any(next: 0), then: afterDot)
          let first = try add(.start(next: next))
          next = try add(.split(dotted, first))
        case .either(let branches):
          var choice: Int32?
          for branch in branches {
            let start = try build(branch, then: next)
            if let other = choice { choice = try add(.split(start, other)) } else { choice = start }
          }
          next = choice ?? next
        }
      }
      return next
    }

    private mutating func loop(_ kind: Step, then next: Int32) throws(ConfigValueError) -> Int32 {
      let split = try add(.split(next, next))
      let body: Int32
      if case .any = kind { body = try add(.any(next: split)) } else { body = try add(.notDot(next: split)) }
      steps[Int(split)] = .split(next, body)
      return split
    }
  }

  /// All the words of a pattern without wildcards, at most 256.
  private static func words(_ nodes: [Node]) -> [[UInt8]]? {
    var words: [[UInt8]] = [[]]
    for node in nodes {
      switch node {
      case .byte(let byte): for k in words.indices { words[k].append(byte) }
      case .either(let branches):
        var tails: [[UInt8]] = []
        for branch in branches {
          guard let some = Self.words(branch), tails.count + some.count <= 256 else { return nil }
          tails += some
        }
        guard words.count * tails.count <= 256 else { return nil }
        words = words.flatMap { word in tails.map { word + $0 } }
      default: return nil
      }
    }
    return words
  }
}
