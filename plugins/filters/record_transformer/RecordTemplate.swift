import AggCore
import AggExpression

/// A value of `<record>`: text with `${…}` placeholders, or a JSON structure of such texts. Compiled once.
///
/// Source of what is a placeholder: PlaceholderExpander in Fluentd's filter_record_transformer.rb.
indirect enum RecordTemplate: Sendable {
  case text([Piece])
  case array([RecordTemplate])
  case map([(key: [Piece], value: RecordTemplate)])
  /// A JSON value without placeholders, as MessagePack.
  case constant([UInt8])
  /// Ruby, of `enable_ruby` and record_modifier.
  case expression(Template)

  enum Piece: Sendable {
    case literal([UInt8])
    /// A field of the record by its name.
    case record([UInt8])
    case tag, hostname, time
    case tagPart(Int), tagPrefix(Int), tagSuffix(Int)
    /// Not known: nothing, as in Fluentd.
    case unknown(String)
    /// Ruby, whose value counts as text.
    case expression(Template)
  }

  init(_ text: String) { self = .text(Self.pieces(text)) }

  init(_ json: ConfigJSON) {
    switch json {
    case .string(let text): self = .text(Self.pieces(text))
    case .array(let elements): self = .array(elements.map { RecordTemplate($0) })
    case .object(let pairs): self = .map(pairs.map { (Self.pieces($0.key), RecordTemplate($0.value)) })
    case .null, .bool, .int, .double: self = .constant(Self.encoded(json))
    }
  }

  private static func encoded(_ json: ConfigJSON) -> [UInt8] {
    var out = ByteWriter(capacity: 64)
    switch json {
    case .bool(let value): out.putBool(value)
    case .int(let value): out.putInt(Int64(value))
    case .double(let value): out.putDouble(value)
    case .string(let text): out.putString(text)
    default: out.putNil()
    }
    return out.array
  }

  /// A text of Ruby; `isTyped` false makes its value a text.
  init(ruby text: String, isTyped: Bool = true, preparation: Preparation? = nil) throws(ExpressionError) {
    let template = try Template(text, isTyped: isTyped, preparation: preparation)
    self = template.constant.map { .constant(Self.encoded(.string(String(decoding: $0, as: UTF8.self)))) } ?? .expression(template)
  }

  /// A JSON structure whose texts, names too, are Ruby.
  init(ruby json: ConfigJSON, isTyped: Bool) throws(ExpressionError) {
    switch json {
    case .string(let text): try self.init(ruby: text, isTyped: isTyped)
    case .array(let elements):
      var values: [RecordTemplate] = []
      for element in elements { values.append(try RecordTemplate(ruby: element, isTyped: isTyped)) }
      self = .array(values)
    case .object(let pairs):
      var fields: [(key: [Piece], value: RecordTemplate)] = []
      for pair in pairs { fields.append((try Self.name(ruby: pair.key), try RecordTemplate(ruby: pair.value, isTyped: isTyped))) }
      self = .map(fields)
    case .null, .bool, .int, .double: self = .constant(Self.encoded(json))
    }
  }

  /// A field's name with Ruby in it.
  static func name(ruby text: String) throws(ExpressionError) -> [Piece] {
    let template = try Template(text, isTyped: false)
    return [template.constant.map { .literal($0) } ?? .expression(template)]
  }

  /// What its expressions may change.
  var changesRecord: Bool {
    switch self {
    case .expression(let template): template.traits.changesRecord
    case .array(let elements): elements.contains(where: \.changesRecord)
    case .map(let pairs): pairs.contains { Self.changesRecord($0.key) || $0.value.changesRecord }
    case .text, .constant: false
    }
  }
  static func changesRecord(_ pieces: [Piece]) -> Bool {
    pieces.contains { if case .expression(let template) = $0 { template.traits.changesRecord } else { false } }
  }

  /// Cuts at `${…}` and at `__NAME__`, which older versions expanded and which now means nothing.
  static func pieces(_ text: String) -> [Piece] {
    var pieces: [Piece] = []
    var literal: [UInt8] = []
    var rest = Array(text.utf8)[...]
    while let byte = rest.first {
      let end: Int?
      switch byte {
      case UInt8(ascii: "$"): end = endOfPlaceholder(rest)
      case UInt8(ascii: "_"): end = endOfOldPlaceholder(rest)
      default: end = nil
      }
      guard let end else {
        literal.append(byte)
        rest = rest.dropFirst()
        continue
      }
      if !literal.isEmpty { pieces.append(.literal(literal)) }
      literal = []
      pieces.append(piece(String(decoding: rest[..<end], as: UTF8.self)))
      rest = rest[end...]
    }
    if !literal.isEmpty { pieces.append(.literal(literal)) }
    return pieces
  }

  /// `${`, at least one byte that is no `}`, `}`.
  private static func endOfPlaceholder(_ text: ArraySlice<UInt8>) -> Int? {
    guard text.dropFirst().first == UInt8(ascii: "{"), let close = text.firstIndex(of: UInt8(ascii: "}")), close > text.startIndex + 2 else { return nil }
    return close + 1
  }
  /// `__[A-Z_]+__`, as long as it can be.
  private static func endOfOldPlaceholder(_ text: ArraySlice<UInt8>) -> Int? {
    let name = text.prefix { $0 == UInt8(ascii: "_") || (0x41...0x5a).contains($0) }
    var end = name.endIndex
    while end - name.startIndex >= 5 {
      if name[end - 1] == 0x5f, name[end - 2] == 0x5f, name[name.startIndex + 1] == 0x5f { return end }
      end -= 1
    }
    return nil
  }

  private static func piece(_ whole: String) -> Piece {
    guard whole.hasPrefix("${") else { return .unknown(whole) }
    let name = String(decoding: Array(whole.utf8).dropFirst(2).dropLast(), as: UTF8.self)
    switch name {
    case "tag": return .tag
    case "hostname": return .hostname
    case "time": return .time
    default: break
    }
    if name.hasPrefix("record[\""), name.hasSuffix("\"]"), name.utf8.count >= 10 { return .record(Array(Array(name.utf8).dropFirst(8).dropLast(2))) }
    func index(_ prefix: String) -> Int? {
      guard name.hasPrefix(prefix + "["), name.hasSuffix("]") else { return nil }
      let digits = name.dropFirst(prefix.utf8.count + 1).dropLast()
      return Int(digits).flatMap { String($0) == digits ? $0 : nil }
    }
    if let n = index("tag_parts") { return .tagPart(n) }
    if let n = index("tag_prefix") { return .tagPrefix(n) }
    if let n = index("tag_suffix") { return .tagSuffix(n) }
    return .unknown(whole)
  }

  /// Placeholders that mean nothing, for one warning at start.
  var unknown: [String] {
    switch self {
    case .text(let pieces): return Self.unknown(pieces)
    case .array(let elements): return elements.flatMap(\.unknown)
    case .map(let pairs): return pairs.flatMap { Self.unknown($0.key) + $0.value.unknown }
    case .constant, .expression: return []
    }
  }
  static func unknown(_ pieces: [Piece]) -> [String] { pieces.compactMap { if case .unknown(let name) = $0 { name } else { nil } } }
}
