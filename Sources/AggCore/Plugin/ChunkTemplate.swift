/// A parameter with placeholders, compiled once: `${tag}`, `${tag[n]}`, `${key}`, `${chunk_id}`, and `%Y%m%d…` of the time slice.
///
/// What looks like a placeholder and is none (`${tag[1..2]}`, `${a b}`) stays as it stands, see `leftovers`.
/// Values come from outside: `renderPath` keeps them from leaving the directory the text names.
public struct ChunkTemplate: Sendable {
  enum Piece: Sendable {
    case text(String)
    /// Text with the time slice's strftime directives.
    case time(StrftimeProgram)
    case tag
    case tagPart(Int)
    case field(String)
    case chunkID
  }
  private let pieces: [Piece]
  private let zone: Zone
  /// `${…}` texts that are no placeholders and are written as they stand.
  public let leftovers: [String]

  /// Throws the first of `problems(in:parameter:keys:rules:)`.
  public init(_ source: String, parameter: String, keys: ChunkKeys, rules: Rules = .known) throws(ConfigValueError) {
    if let problem = Self.problems(in: source, parameter: parameter, keys: keys, rules: rules).first { throw ConfigValueError(problem) }
    zone = keys.timekeyUTC ? .utc : try keys.timekeyZone.map { (text) throws(ConfigValueError) in try Zone(configText: text) } ?? .local()
    let (pieces, leftovers) = Self.cut(source)
    self.leftovers = leftovers
    self.pieces = pieces.map { piece in
      guard keys.time, case .text(let text) = piece, text.utf8.contains(UInt8(ascii: "%")) else { return piece }
      return .time(StrftimeProgram(text))
    }
  }

  public func render(_ chunk: ChunkView) -> String { render(chunk) { $0 } }

  /// As `render`, for a file's path: in a value `/` stays only between plain names; `..`, empty parts and control bytes are replaced.
  public func renderPath(_ chunk: ChunkView) -> String { render(chunk, Self.safe) }

  private func render(_ chunk: ChunkView, _ encode: (String) -> String) -> String {
    var out = ""
    for piece in pieces {
      switch piece {
      case .text(let text): out += text
      case .time(let program):
        if let timekey = chunk.metadata.timekey { out += program.string(EventTime(seconds: timekey), zone: zone) } else { out += program.format }
      case .tag: out += encode(chunk.metadata.tag?.description ?? "")
      case .tagPart(let index):
        let parts = chunk.metadata.tag?.parts ?? []
        let at = index < 0 ? parts.count + index : index
        out += parts.indices.contains(at) ? encode(String(parts[at])) : ""
      case .field(let name):
        if let value = chunk.metadata.variables.first(where: { $0.name == name })?.value, !value.isEmpty { out += encode(value) }
      case .chunkID: out += chunk.id.description
      }
    }
    return out
  }

  /// Works on bytes: to Swift "/" followed by a combining mark is one other character, to the kernel it is still a slash.
  private static func safe(_ value: String) -> String {
    if value.isEmpty { return "_" }
    let parts = value.utf8.split(separator: 0x2f, omittingEmptySubsequences: false).map { part -> [UInt8] in
      if part.isEmpty || part.elementsEqual([0x2e]) || part.elementsEqual([0x2e, 0x2e]) { return [0x5f] }
      return part.map { $0 < 0x20 || $0 == 0x7f ? 0x5f : $0 }
    }
    return String(decoding: Array(parts.joined(separator: [0x2f])), as: UTF8.self)
  }

  /// Cuts at placeholders; source of what is one: CHUNK_…_PLACEHOLDER_PATTERN in Fluentd's plugin/output.rb.
  static func cut(_ source: String) -> (pieces: [Piece], leftovers: [String]) {
    var pieces: [Piece] = []
    var leftovers: [String] = []
    var text: [UInt8] = []
    var rest = Array(source.utf8)[...]
    while let byte = rest.first {
      if byte == UInt8(ascii: "$"), rest.dropFirst().first == UInt8(ascii: "{"), let close = rest.firstIndex(of: UInt8(ascii: "}")) {
        let inner = String(decoding: rest[(rest.startIndex + 2)..<close], as: UTF8.self)
        if let piece = placeholder(inner) {
          if !text.isEmpty { pieces.append(.text(String(decoding: text, as: UTF8.self))) }
          text = []
          pieces.append(piece)
          rest = rest[(close + 1)...]
          continue
        }
        leftovers.append("${\(inner)}")
      }
      text.append(byte)
      rest = rest.dropFirst()
    }
    if !text.isEmpty { pieces.append(.text(String(decoding: text, as: UTF8.self))) }
    return (pieces, leftovers)
  }

  private static func placeholder(_ inner: String) -> Piece? {
    if inner == "tag" { return .tag }
    if inner == "chunk_id" { return .chunkID }
    if inner.hasPrefix("tag["), inner.hasSuffix("]") {
      let digits = inner.dropFirst(4).dropLast()
      let number = digits.first == "-" ? digits.dropFirst() : digits
      guard !number.isEmpty, number.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let index = Int(digits) else { return nil }
      return .tagPart(index)
    }
    let isName = inner.utf8.allSatisfy { byte in
      (0x30...0x39).contains(byte) || (0x41...0x5a).contains(byte) || (0x61...0x7a).contains(byte) || "-_.@$".utf8.contains(byte)
    }
    return isName && !inner.isEmpty ? .field(inner) : nil
  }
}
