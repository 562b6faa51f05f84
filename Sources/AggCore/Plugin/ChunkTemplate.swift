/// A parameter with placeholders, compiled once: `${tag}`, `${tag[n]}`, `${key}`, `${chunk_id}`, and `%Y%m%d…` of the time slice.
///
/// Values come from outside: `renderPath` keeps them from leaving the directory the text names.
public struct ChunkTemplate: Sendable {
  private enum Piece: Sendable {
    case text(String)
    case tag
    case tagPart(Int)
    case field(String)
    case chunkID
  }
  private let pieces: [Piece]
  private let zone: Zone
  private let hasTime: Bool

  /// Throws when a placeholder is not a chunk key of the output's buffer.
  public init(_ source: String, parameter: String, keys: ChunkKeys) throws(ConfigValueError) {
    zone = keys.timekeyUTC ? .utc : try keys.timekeyZone.map { (text) throws(ConfigValueError) in try Zone(configText: text) } ?? .local()
    hasTime = keys.time && source.contains("%")
    var pieces: [Piece] = []
    var text = ""
    var rest = source[...]
    while !rest.isEmpty {
      guard rest.hasPrefix("${"), let close = rest.firstIndex(of: "}") else {
        text.append(rest.removeFirst())
        continue
      }
      let name = String(rest[rest.index(rest.startIndex, offsetBy: 2)..<close])
      rest = rest[rest.index(after: close)...]
      if !text.isEmpty { pieces.append(.text(text)) }
      text = ""
      if name == "tag" || name.hasPrefix("tag[") {
        if !keys.tag { throw ConfigValueError("'\(parameter)' has ${\(name)}, but tag is not a chunk key; write <buffer tag>") }
        if name == "tag" { pieces.append(.tag) } else {
          guard let index = Int(name.dropFirst(4).dropLast()) else { throw ConfigValueError("'\(parameter)' has ${\(name)}; a number belongs in [ ]") }
          pieces.append(.tagPart(index))
        }
      } else if name == "chunk_id" {
        pieces.append(.chunkID)
      } else {
        if !keys.fields.contains(name) {
          throw ConfigValueError("'\(parameter)' has ${\(name)}, but \(name) is not a chunk key; write <buffer \(name)>")
        }
        pieces.append(.field(name))
      }
    }
    if !text.isEmpty { pieces.append(.text(text)) }
    self.pieces = pieces
  }

  public func render(_ chunk: ChunkView) -> String { render(chunk) { $0 } }

  /// As `render`, for a file's path: in a value `/` stays only between plain names; `..`, empty parts and control bytes are replaced.
  public func renderPath(_ chunk: ChunkView) -> String { render(chunk, Self.safe) }

  private func render(_ chunk: ChunkView, _ encode: (String) -> String) -> String {
    var out = ""
    for piece in pieces {
      switch piece {
      case .text(let text):
        if hasTime, let timekey = chunk.metadata.timekey, text.contains("%") {
          out += StrftimeProgram(text).string(EventTime(seconds: timekey), zone: zone)
        } else {
          out += text
        }
      case .tag: out += encode(chunk.metadata.tag?.description ?? "")
      case .tagPart(let index):
        let parts = chunk.metadata.tag?.parts ?? []
        let at = index < 0 ? parts.count + index : index
        out += parts.indices.contains(at) ? encode(String(parts[at])) : ""
      case .field(let name): out += encode(chunk.metadata.variables.first { $0.name == name }?.value ?? "")
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
}
