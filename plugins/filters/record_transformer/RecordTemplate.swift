import AggCore

/// A value of `<record>`: text with `${…}` placeholders, or a JSON structure of such texts. Compiled once.
indirect enum RecordTemplate: Sendable {
  case text([Piece])
  case array([RecordTemplate])
  case map([(key: [Piece], value: RecordTemplate)])
  case constant(Value)

  enum Piece: Sendable {
    case literal([UInt8])
    case record([UInt8])
    case tag, hostname, time
    case tagPart(Int), tagPrefix(Int), tagSuffix(Int)
    /// Not known: nothing, as in Fluentd.
    case unknown(String)
  }

  /// What placeholders stand for; the tag's parts are cut once a batch.
  struct Scope {
    var tag: Value
    var parts: [Substring]
    var hostname: Value
    var time: EventTime
    let zone: Zone

    func value(_ piece: Piece, _ record: RecordView) -> Value {
      switch piece {
      case .literal(let bytes): return .string(bytes)
      case .record(let key): return record.find(key).map { Value($0) } ?? .null
      case .tag: return tag
      case .hostname: return hostname
      case .time: return Value(StrftimeProgram("%Y-%m-%d %H:%M:%S " + (zone.isUTC ? "UTC" : "%z")).string(time, zone: zone))
      case .tagPart(let n): return index(n).map { Value(String(parts[$0])) } ?? .null
      case .tagPrefix(let n): return index(n).map { Value(parts[...$0].joined(separator: ".")) } ?? .null
      case .tagSuffix(let n): return index(n).map { Value(parts[$0...].joined(separator: ".")) } ?? .null
      case .unknown: return .null
      }
    }
    private func index(_ n: Int) -> Int? {
      let at = n < 0 ? parts.count + n : n
      return parts.indices.contains(at) ? at : nil
    }
  }

  init(_ text: String) { self = .text(Self.pieces(text)) }

  init(_ json: ConfigJSON) {
    switch json {
    case .string(let text): self = .text(Self.pieces(text))
    case .array(let elements): self = .array(elements.map { RecordTemplate($0) })
    case .object(let pairs): self = .map(pairs.map { (Self.pieces($0.key), RecordTemplate($0.value)) })
    case .null: self = .constant(.null)
    case .bool(let value): self = .constant(.bool(value))
    case .int(let value): self = .constant(.int(Int64(value)))
    case .double(let value): self = .constant(.double(value))
    }
  }

  /// Cuts at `${…}`.
  static func pieces(_ text: String) -> [Piece] {
    var pieces: [Piece] = []
    var literal = ""
    var rest = text[...]
    while !rest.isEmpty {
      guard rest.hasPrefix("${"), let close = rest.firstIndex(of: "}"), rest.index(rest.startIndex, offsetBy: 2) < close else {
        literal.append(rest.removeFirst())
        continue
      }
      if !literal.isEmpty { pieces.append(.literal(Array(literal.utf8))) }
      literal = ""
      pieces.append(piece(String(rest[rest.index(rest.startIndex, offsetBy: 2)..<close])))
      rest = rest[rest.index(after: close)...]
    }
    if !literal.isEmpty { pieces.append(.literal(Array(literal.utf8))) }
    return pieces
  }

  private static func piece(_ name: String) -> Piece {
    func number(_ prefix: String) -> Int? {
      guard name.hasPrefix(prefix + "["), name.hasSuffix("]") else { return nil }
      return Int(name.dropFirst(prefix.utf8.count + 1).dropLast())
    }
    switch name {
    case "tag": return .tag
    case "hostname": return .hostname
    case "time": return .time
    default: break
    }
    if name.hasPrefix("record[\""), name.hasSuffix("\"]"), name.utf8.count > 10 { return .record(Array(name.dropFirst(8).dropLast(2).utf8)) }
    if let n = number("tag_parts") { return .tagPart(n) }
    if let n = number("tag_prefix") { return .tagPrefix(n) }
    if let n = number("tag_suffix") { return .tagSuffix(n) }
    return .unknown(name)
  }

  /// Names that mean nothing, for one warning at start.
  var unknown: [String] {
    switch self {
    case .text(let pieces): return pieces.compactMap { if case .unknown(let name) = $0 { name } else { nil } }
    case .array(let elements): return elements.flatMap(\.unknown)
    case .map(let pairs): return pairs.flatMap(\.value.unknown)
    case .constant: return []
    }
  }

  func value(_ scope: Scope, _ record: RecordView, typecast: Bool) -> Value {
    switch self {
    case .text(let pieces):
      if typecast, pieces.count == 1 { return scope.value(pieces[0], record) }
      return .string(Self.expand(pieces, scope, record))
    case .array(let elements): return .array(elements.map { $0.value(scope, record, typecast: typecast) })
    case .map(let pairs):
      return .map(
        FieldMap(pairs.map { .init(key: .string(Self.expand($0.key, scope, record)), value: $0.value.value(scope, record, typecast: typecast)) }))
    case .constant(let value): return value
    }
  }

  private static func expand(_ pieces: [Piece], _ scope: Scope, _ record: RecordView) -> [UInt8] {
    var out: [UInt8] = []
    for piece in pieces {
      if case .literal(let bytes) = piece { out += bytes } else { out += scope.value(piece, record).displayBytes }
    }
    return out
  }
}

extension Value {
  /// As Ruby's to_s would print it inside a text.
  var displayBytes: [UInt8] {
    if case .string(let bytes) = self { return bytes }
    var out = ByteWriter(capacity: 64)
    encode(into: &out)
    guard let base = out.bytes.baseAddress else { return [] }
    return Array(ValueView(unchecked: base).displayText.utf8)
  }
}
