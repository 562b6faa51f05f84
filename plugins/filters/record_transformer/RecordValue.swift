import AggCore
import AggExpression

/// A template with everything put in that is the same for a whole batch: what is left is the record and its time.
indirect enum RecordValue: Sendable {
  /// Encoded MessagePack.
  case constant([UInt8])
  /// A field as it is, or nil.
  case field([UInt8])
  case text([Part])
  case array([RecordValue])
  case map([(key: [Part], value: RecordValue)])
  case expression(Template)

  enum Part: Sendable {
    case literal([UInt8])
    case field([UInt8])
    case time
    case expression(Template)
  }

  /// What placeholders stand for in one batch.
  struct Scope {
    let tag: String
    let parts: [Substring]
    let hostname: String
    /// A value that is one placeholder keeps its type.
    let typecast: Bool
    /// Of the batch, with its tag set; nil where no value is Ruby.
    let bindings: Bindings?

    init(tag: Tag, hostname: String, typecast: Bool, bindings: Bindings? = nil) {
      self.tag = tag.description
      // As Ruby's split: empty parts at the end do not count.
      var parts = tag.parts[...]
      while parts.last?.isEmpty ?? false { parts.removeLast() }
      self.parts = Array(parts)
      self.hostname = hostname
      self.typecast = typecast
      self.bindings = bindings
    }

    /// What `template` gives for all events of the batch; nil when that depends on the event, or fails.
    func constant(_ template: Template, isText: Bool) -> [UInt8]? {
      guard template.traits.isConstant, let bindings else { return nil }
      var out = ByteWriter(capacity: 128)
      do throws(EvaluationError) {
        if isText { try template.display(bindings, into: &out) } else { try template.write(bindings, into: &out) }
        return out.array
      } catch { return nil }
    }

    /// nil for what is not there; only for pieces that a batch decides.
    func text(_ piece: RecordTemplate.Piece) -> String? {
      switch piece {
      case .tag: return tag
      case .hostname: return hostname
      case .tagPart(let n): return index(n).map { String(parts[$0]) }
      case .tagPrefix(let n): return index(n).map { parts[...$0].joined(separator: ".") }
      case .tagSuffix(let n): return index(n).map { parts[$0...].joined(separator: ".") }
      case .literal(let bytes): return String(decoding: bytes, as: UTF8.self)
      case .record, .time, .unknown, .expression: return nil
      }
    }
    private func index(_ n: Int) -> Int? {
      let at = n < 0 ? parts.count &+ n : n
      return parts.indices.contains(at) ? at : nil
    }

    func parts(_ pieces: [RecordTemplate.Piece]) -> [Part] {
      var out: [Part] = []
      var literal: [UInt8] = []
      for piece in pieces {
        let part: Part
        switch piece {
        case .record(let key): part = .field(key)
        case .time: part = .time
        case .expression(let template):
          if let bytes = constant(template, isText: true) {
            literal += bytes
            continue
          }
          part = .expression(template)
        case .literal(let bytes):
          literal += bytes
          continue
        default:
          literal += (text(piece) ?? "").utf8
          continue
        }
        if !literal.isEmpty { out.append(.literal(literal)) }
        literal = []
        out.append(part)
      }
      if !literal.isEmpty { out.append(.literal(literal)) }
      return out
    }
  }

  init(_ template: RecordTemplate, _ scope: Scope) {
    switch template {
    case .constant(let bytes): self = .constant(bytes)
    case .expression(let template): self = scope.constant(template, isText: false).map { .constant($0) } ?? .expression(template)
    case .array(let elements): self = .array(elements.map { RecordValue($0, scope) })
    case .map(let pairs): self = .map(pairs.map { (scope.parts($0.key), RecordValue($0.value, scope)) })
    case .text(let pieces):
      if scope.typecast, pieces.count == 1 {
        switch pieces[0] {
        case .record(let key):
          self = .field(key)
          return
        case .literal, .time, .expression: break
        case .unknown, .tag, .hostname, .tagPart, .tagPrefix, .tagSuffix:
          if scope.text(pieces[0]) == nil {
            self = .constant([0xc0])
            return
          }
        }
      }
      self = .text(scope.parts(pieces))
    }
    if isConstant { self = .constant(encoded) }
  }

  private var isConstant: Bool {
    func isLiteral(_ parts: [Part]) -> Bool { parts.allSatisfy { if case .literal = $0 { true } else { false } } }
    switch self {
    case .constant: return true
    case .field, .expression: return false
    case .text(let parts): return isLiteral(parts)
    case .array(let elements): return elements.allSatisfy(\.isConstant)
    case .map(let pairs): return pairs.allSatisfy { isLiteral($0.key) && $0.value.isConstant }
    }
  }
  /// Whether Ruby must be evaluated for each event.
  var hasExpressions: Bool {
    func isExpression(_ parts: [Part]) -> Bool { parts.contains { if case .expression = $0 { true } else { false } } }
    switch self {
    case .constant, .field: return false
    case .expression: return true
    case .text(let parts): return isExpression(parts)
    case .array(let elements): return elements.contains(where: \.hasExpressions)
    case .map(let pairs): return pairs.contains { isExpression($0.key) || $0.value.hasExpressions }
    }
  }

  /// Of a constant.
  private var encoded: [UInt8] {
    var out = ByteWriter(capacity: 256)
    var scratch = RecordScratch()
    let empty: [UInt8] = [0x80]
    empty.withUnsafeBytes { bytes in
      guard let base = bytes.baseAddress else { return }
      write(RecordView(unchecked: ValueView(unchecked: base)), EventTime(seconds: 0), &scratch, &out)
    }
    return out.array
  }

  func write(_ record: RecordView, _ time: EventTime, _ scratch: inout RecordScratch, _ out: inout ByteWriter) {
    switch self {
    case .constant(let bytes): out.append(bytes)
    case .field(let key):
      if let value = record.find(key) { out.append(value.bytes) } else {
        scratch.miss(key)
        out.putNil()
      }
    case .expression(let template): scratch.write(template, into: &out)
    case .text(let parts): Self.write(parts, record, time, &scratch, &out)
    case .array(let elements):
      out.putArrayHeader(elements.count)
      for element in elements { element.write(record, time, &scratch, &out) }
    case .map(let pairs):
      out.putMapHeader(pairs.count)
      for pair in pairs {
        Self.write(pair.key, record, time, &scratch, &out)
        pair.value.write(record, time, &scratch, &out)
      }
    }
  }

  /// One string of all parts.
  static func write(_ parts: [Part], _ record: RecordView, _ time: EventTime, _ scratch: inout RecordScratch, _ out: inout ByteWriter) {
    let mark = out.beginString()
    append(parts, record, time, &scratch, &out)
    out.endString(mark)
  }

  /// The text of all parts.
  static func append(_ parts: [Part], _ record: RecordView, _ time: EventTime, _ scratch: inout RecordScratch, _ out: inout ByteWriter) {
    for part in parts {
      switch part {
      case .literal(let bytes): out.append(bytes)
      case .field(let key):
        if let value = record.find(key) { RubyText.write(value, into: &out) } else { scratch.miss(key) }
      case .time: scratch.write(time, into: &out)
      case .expression(let template): scratch.display(template, into: &out)
      }
    }
  }
}
