import AggCore

/// The value of one label: text with `${…}` placeholders, or one field (`$.a.b`, `$['a']`). Compiled once.
///
/// Source of what is a placeholder: fluent-plugin-prometheus, placeholder_expander.rb.
struct LabelTemplate: Sendable {
  enum Piece: Sendable {
    case literal([UInt8])
    case tag
    case tagPart(Int), tagPrefix(Int), tagSuffix(Int)
    /// A field; `source` is written where the record has none, nil writes nothing then.
    case field(RecordPath, source: String?)
  }
  /// A template with the batch's tag put in.
  enum Part: Sendable {
    case literal([UInt8])
    case field(RecordPath, source: String?)
  }
  let pieces: [Piece]
  let source: String

  init(_ text: String, system: SystemInfo) throws(ConfigValueError) {
    source = text
    if text.hasPrefix("$.") || text.hasPrefix("$[") {
      pieces = [.field(try RecordPath(text), source: nil)]
      return
    }
    var pieces: [Piece] = []
    var literal: [UInt8] = []
    var rest = Array(text.utf8)[...]
    while let byte = rest.first {
      if byte == UInt8(ascii: "$"), let (piece, length) = Self.placeholder(rest, system) {
        if case .literal(let bytes) = piece {
          literal += bytes
        } else {
          if !literal.isEmpty { pieces.append(.literal(literal)) }
          literal = []
          pieces.append(piece)
        }
        rest = rest.dropFirst(length)
      } else {
        literal.append(byte)
        rest = rest.dropFirst()
      }
    }
    if !literal.isEmpty { pieces.append(.literal(literal)) }
    self.pieces = pieces
  }

  /// The text, where it is the same for every event.
  var constant: String? {
    if pieces.isEmpty { return "" }
    guard pieces.count == 1, case .literal(let bytes) = pieces[0] else { return nil }
    return String(decoding: bytes, as: UTF8.self)
  }
  var readsRecord: Bool { pieces.contains { if case .field = $0 { true } else { false } } }

  private static func placeholder(_ text: ArraySlice<UInt8>, _ system: SystemInfo) -> (Piece, Int)? {
    guard text.dropFirst().first == UInt8(ascii: "{"), let close = text.firstIndex(of: UInt8(ascii: "}")),
      close > text.startIndex + 2
    else { return nil }
    let whole = String(decoding: text[...close], as: UTF8.self)
    let inner = String(decoding: text[(text.startIndex + 2)..<close], as: UTF8.self)
    let length = close + 1 - text.startIndex
    switch inner {
    case "tag": return (.tag, length)
    case "hostname": return (.literal(Array(system.hostname.utf8)), length)
    case "worker_id": return (.literal(Array(String(system.workerID).utf8)), length)
    default: break
    }
    guard let open = inner.firstIndex(of: "[") else { return (.field(RecordPath(key: inner), source: whole), length) }
    guard open > inner.startIndex, inner.hasSuffix("]") else { return nil }
    let name = String(inner[..<open])
    let index = inner[inner.index(after: open)...].dropLast()
    if ["tag_parts", "tag_prefix", "tag_suffix"].contains(name) {
      guard let n = Int(index) else { return nil }
      return (name == "tag_parts" ? .tagPart(n) : name == "tag_prefix" ? .tagPrefix(n) : .tagSuffix(n), length)
    }
    guard !name.contains("'"), let path = try? RecordPath("$['\(name)'][\(index)]") else { return nil }
    return (.field(path, source: whole), length)
  }

  /// What is left when the tag is known; one literal where no field is read.
  func parts(_ tag: TagScope) -> [Part] {
    var out: [Part] = []
    var literal: [UInt8] = []
    for piece in pieces {
      switch piece {
      case .literal(let bytes): literal += bytes
      case .tag: literal += tag.text.utf8
      case .tagPart(let n): literal += (tag.part(n) ?? "${tag_parts[\(n)]}").utf8
      case .tagPrefix(let n): literal += (tag.prefix(n) ?? "${tag_prefix[\(n)]}").utf8
      case .tagSuffix(let n): literal += (tag.suffix(n) ?? "${tag_suffix[\(n)]}").utf8
      case .field(let path, let source):
        if !literal.isEmpty { out.append(.literal(literal)) }
        literal = []
        out.append(.field(path, source: source))
      }
    }
    if !literal.isEmpty || out.isEmpty { out.append(.literal(literal)) }
    return out
  }

  /// Appends the value for one record to `out`.
  static func write(_ parts: [Part], _ record: RecordView, into out: inout ByteWriter) {
    for part in parts {
      switch part {
      case .literal(let bytes): out.append(bytes)
      case .field(let path, let source):
        let value = path.topLevelKey.map { record.find($0) } ?? path.find(record)
        if let text = value?.textBytes {
          out.append(text)
        } else if let value, source == nil || (value.kind != .array && value.kind != .map) {
          if !value.isNull { RubyText.write(value, into: &out) }
        } else if let source {
          out.append(source)
        }
      }
    }
  }
}

/// A batch's tag taken apart, as placeholders count its parts.
struct TagScope: Sendable {
  let text: String
  private let parts: [Substring]

  init(_ tag: Tag) {
    text = tag.description
    // As Ruby's split: empty parts at the end do not count.
    var parts = tag.parts[...]
    while parts.last?.isEmpty ?? false { parts.removeLast() }
    self.parts = Array(parts)
  }
  func part(_ n: Int) -> String? {
    let at = n < 0 ? parts.count &+ n : n
    return parts.indices.contains(at) ? String(parts[at]) : nil
  }
  func prefix(_ n: Int) -> String? { parts.indices.contains(n) ? parts[...n].joined(separator: ".") : nil }
  /// Counted from the end: 0 is the last part.
  func suffix(_ n: Int) -> String? { parts.indices.contains(n) ? parts[(parts.count - 1 - n)...].joined(separator: ".") : nil }
}
