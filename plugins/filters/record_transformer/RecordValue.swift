import AggCore
import Glibc

/// A template with everything put in that is the same for a whole batch: what is left is the record and its time.
indirect enum RecordValue: Sendable {
  /// Encoded MessagePack.
  case constant([UInt8])
  /// A field as it is, or nil.
  case field([UInt8])
  case path(RecordPath)
  case text([Part])
  case array([RecordValue])
  case map([(key: [Part], value: RecordValue)])

  enum Part: Sendable {
    case literal([UInt8])
    case field([UInt8])
    case path(RecordPath)
    case time
  }

  /// What placeholders stand for in one batch.
  struct Scope {
    let tag: String
    let parts: [Substring]
    let hostname: String
    /// A value that is one placeholder keeps its type.
    let typecast: Bool

    init(tag: Tag, hostname: String, typecast: Bool) {
      self.tag = tag.description
      // As Ruby's split: empty parts at the end do not count.
      var parts = tag.parts[...]
      while parts.last?.isEmpty ?? false { parts.removeLast() }
      self.parts = Array(parts)
      self.hostname = hostname
      self.typecast = typecast
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
      case .record, .path, .time, .unknown: return nil
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
        switch piece {
        case .record(let key):
          if !literal.isEmpty { out.append(.literal(literal)) }
          literal = []
          out.append(.field(key))
        case .path(let path):
          if !literal.isEmpty { out.append(.literal(literal)) }
          literal = []
          out.append(.path(path))
        case .time:
          if !literal.isEmpty { out.append(.literal(literal)) }
          literal = []
          out.append(.time)
        case .literal(let bytes): literal += bytes
        default: literal += (text(piece) ?? "").utf8
        }
      }
      if !literal.isEmpty { out.append(.literal(literal)) }
      return out
    }
  }

  init(_ template: RecordTemplate, _ scope: Scope) {
    switch template {
    case .constant(let bytes): self = .constant(bytes)
    case .array(let elements): self = .array(elements.map { RecordValue($0, scope) })
    case .map(let pairs): self = .map(pairs.map { (scope.parts($0.key), RecordValue($0.value, scope)) })
    case .text(let pieces):
      if scope.typecast, pieces.count == 1 {
        switch pieces[0] {
        case .record(let key):
          self = .field(key)
          return
        case .path(let path):
          self = .path(path)
          return
        case .literal, .time: break
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
    case .field, .path: return false
    case .text(let parts): return isLiteral(parts)
    case .array(let elements): return elements.allSatisfy(\.isConstant)
    case .map(let pairs): return pairs.allSatisfy { isLiteral($0.key) && $0.value.isConstant }
    }
  }
  /// Of a constant.
  private var encoded: [UInt8] {
    var out = ByteWriter(capacity: 256)
    var clock = RecordClock()
    let empty: [UInt8] = [0x80]
    empty.withUnsafeBytes { bytes in
      guard let base = bytes.baseAddress else { return }
      write(RecordView(unchecked: ValueView(unchecked: base)), EventTime(seconds: 0), &clock, &out)
    }
    return out.array
  }

  func write(_ record: RecordView, _ time: EventTime, _ clock: inout RecordClock, _ out: inout ByteWriter) {
    switch self {
    case .constant(let bytes): out.append(bytes)
    case .field(let key):
      if let value = record.find(key) { out.append(value.bytes) } else {
        clock.miss(key)
        out.putNil()
      }
    case .path(let path): if let value = path.find(record) { out.append(value.bytes) } else { out.putNil() }
    case .text(let parts): Self.write(parts, record, time, &clock, &out)
    case .array(let elements):
      out.putArrayHeader(elements.count)
      for element in elements { element.write(record, time, &clock, &out) }
    case .map(let pairs):
      out.putMapHeader(pairs.count)
      for pair in pairs {
        Self.write(pair.key, record, time, &clock, &out)
        pair.value.write(record, time, &clock, &out)
      }
    }
  }

  /// One string of all parts: written behind the shortest header, moved when it needs a longer one.
  static func write(_ parts: [Part], _ record: RecordView, _ time: EventTime, _ clock: inout RecordClock, _ out: inout ByteWriter) {
    let start = out.count
    out.append(0xa0 as UInt8)
    for part in parts {
      switch part {
      case .literal(let bytes): out.append(bytes)
      case .field(let key):
        if let value = record.find(key) { RubyText.write(value, into: &out) } else { clock.miss(key) }
      case .path(let path): if let value = path.find(record) { RubyText.write(value, into: &out) }
      case .time: clock.write(time, into: &out)
      }
    }
    let length = out.count - start - 1
    if length < 32 {
      out.mutableBytes[start] = 0xa0 | UInt8(truncatingIfNeeded: length)
      return
    }
    let header = length < 0x100 ? 2 : length < 0x1_0000 ? 3 : 5
    out.reserve(header)
    let base = out.end - length  // the text's first byte
    memmove(base + (header - 1), base, length)
    out.count = start
    switch header {
    case 2:
      out.uncheckedAppend(0xd9)
      out.uncheckedAppend(UInt8(truncatingIfNeeded: length))
    case 3:
      out.uncheckedAppend(0xda)
      out.uncheckedBigEndian(UInt16(truncatingIfNeeded: length))
    default:
      out.uncheckedAppend(0xdb)
      out.uncheckedBigEndian(UInt32(clamping: length))
    }
    out.count += length
  }
}

/// What writing a batch's values keeps: the last second's text of `${time}`, and the first field that was not there.
struct RecordClock {
  private var formatter: TimeFormatter?
  private(set) var missed: [UInt8]?

  mutating func miss(_ key: [UInt8]) { if missed == nil { missed = key } }
  /// As Ruby's Time#to_s: `2023-11-14 22:13:20 +0000`, in the machine's zone.
  mutating func write(_ time: EventTime, into out: inout ByteWriter) {
    if formatter == nil { formatter = RecordClock.local }
    formatter?.format(time, into: &out)
  }
  private static let local = TimeFormatter(format: "%Y-%m-%d %H:%M:%S %z", zone: .local())
}
