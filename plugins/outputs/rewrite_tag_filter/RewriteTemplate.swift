import AggCore

/// A rule's new tag: text, `$1` …, and placeholders.
struct RewriteTemplate: Sendable {
  enum Piece: Sendable {
    case literal([UInt8])
    case capture(Int)
    case tag, hostname
    case part(Int)
    case unknown(String)
  }
  let pieces: [Piece]
  var unknown: [String] { pieces.compactMap { if case .unknown(let name) = $0 { name } else { nil } } }

  /// Placeholders are `${word}`, `${word[n]}` and `__WORD__`; a rule with `invert` has no captures, so its `$1` is text.
  init(_ text: String, hasCaptures: Bool) {
    var pieces: [Piece] = []
    var literal: [UInt8] = []
    var rest = Array(text.utf8)[...]
    func digits(_ bytes: ArraySlice<UInt8>) -> ArraySlice<UInt8> { bytes.prefix { (0x30...0x39).contains($0) } }
    func placeholder() -> (Piece, Int)? {
      if rest.starts(with: "${".utf8), let close = rest.firstIndex(of: UInt8(ascii: "}")) {
        let inner = rest[(rest.startIndex + 2)..<close]
        let word = inner.prefix { (0x61...0x7a).contains($0) || $0 == 0x5f }
        let index = inner[word.endIndex...]
        let number = digits(index.dropFirst())
        let hasIndex = index.first == UInt8(ascii: "[") && !number.isEmpty && index[number.endIndex...].elementsEqual("]".utf8)
        guard !word.isEmpty, index.isEmpty || hasIndex else { return nil }
        let name = String(decoding: word, as: UTF8.self)
        let piece: Piece
        switch (name, index.isEmpty) {
        case ("tag", true): piece = .tag
        case ("hostname", true): piece = .hostname
        case ("tag_parts", false): piece = Int(String(decoding: number, as: UTF8.self)).map { .part($0) } ?? .unknown(name)
        default: piece = .unknown("${\(String(decoding: inner, as: UTF8.self))}")
        }
        return (piece, close + 1)
      }
      if rest.starts(with: "__".utf8) {
        let word = rest.prefix { (0x41...0x5a).contains($0) || $0 == 0x5f }
        guard word.count >= 5, word.suffix(2).elementsEqual("__".utf8) else { return nil }
        let name = String(decoding: word, as: UTF8.self)
        return (name == "__TAG__" ? .tag : name == "__HOSTNAME__" ? .hostname : .unknown(name), word.endIndex)
      }
      let number = digits(rest.dropFirst())
      if hasCaptures, rest.first == UInt8(ascii: "$"), !number.isEmpty {
        return (.capture(Int(String(decoding: number, as: UTF8.self)) ?? .max), number.endIndex)
      }
      return nil
    }
    while let byte = rest.first {
      if let (piece, end) = placeholder() {
        if !literal.isEmpty { pieces.append(.literal(literal)) }
        literal = []
        pieces.append(piece)
        rest = rest[end...]
      } else {
        literal.append(byte)
        rest = rest.dropFirst()
      }
    }
    if !literal.isEmpty { pieces.append(.literal(literal)) }
    self.pieces = pieces
  }

  /// What a batch's tag puts in.
  struct Scope {
    let tag: [UInt8]
    let parts: [[UInt8]]
    let hostname: [UInt8]
    init(tag: String, hostname: String) {
      self.tag = Array(tag.utf8)
      parts = tag.split(separator: ".", omittingEmptySubsequences: false).map { Array($0.utf8) }
      self.hostname = Array(hostname.utf8)
    }
  }

  func write(_ scope: Scope, capitalize: Bool, into out: inout ByteWriter, capture: (Int) -> UnsafeRawBufferPointer?) {
    for piece in pieces {
      switch piece {
      case .literal(let bytes): out.append(bytes)
      case .tag: out.append(scope.tag)
      case .hostname: out.append(scope.hostname)
      case .part(let n): if n < scope.parts.count { out.append(scope.parts[n]) }
      case .capture(let n):
        guard n > 0, let text = capture(n) else { break }
        if capitalize {
          let string = String(decoding: text, as: UTF8.self)
          out.append(string.prefix(1).uppercased() + string.dropFirst().lowercased())
        } else {
          out.append(text)
        }
      case .unknown: break
      }
    }
  }
}
