import AggCore

/// The metrics in ordinary records, as fluent-plugin-mackerel finds them: `out_keys` or `out_key_pattern`, named by `metrics_name`.
struct FieldMetrics: Sendable {
  private enum Piece: Sendable {
    case text(String)
    case outKey
    case tagPart(Int)
  }
  private let keys: [String]?
  private let pattern: Regexp?
  private let name: [Piece]
  private let prefix: String
  private let fillsWithZero: Bool
  private let flattens: Bool

  /// Nil where the configuration has neither `out_keys` nor `out_key_pattern`.
  init?(_ config: MackerelOutput.Config) throws(ConfigValueError) {
    if config.outKeys == nil, config.outKeyPattern == nil { return nil }
    keys = config.outKeys?.filter { !$0.isEmpty }
    pattern = try config.outKeyPattern.map { (text) throws(ConfigValueError) in try Regexp(text) }
    name = Self.pieces(config.metricsName ?? "${out_key}")
    prefix = config.removePrefix ? "" : "custom."
    fillsWithZero = config.useZeroForEmpty && keys != nil
    flattens = config.flatten
  }

  private static func pieces(_ text: String) -> [Piece] {
    var pieces: [Piece] = []
    var rest = text[...]
    while let start = rest.firstIndex(of: "$") {
      if start > rest.startIndex { pieces.append(.text(String(rest[..<start]))) }
      let tail = rest[start...]
      if tail.hasPrefix("${out_key}") {
        pieces.append(.outKey)
        rest = tail.dropFirst("${out_key}".count)
      } else if tail.hasPrefix("${["), let close = tail.firstIndex(of: "]"), tail[close...].hasPrefix("]}"),
        let number = Int(tail[tail.index(tail.startIndex, offsetBy: 3)..<close])
      {
        pieces.append(.tagPart(number))
        rest = tail[tail.index(close, offsetBy: 2)...]
      } else {
        pieces.append(.text("$"))
        rest = tail.dropFirst()
      }
    }
    if !rest.isEmpty { pieces.append(.text(String(rest))) }
    return pieces
  }

  private func name(of key: String, _ parts: [Substring]) -> String {
    var out = prefix
    for piece in name {
      switch piece {
      case .text(let text): out += text
      case .outKey: out += key
      case .tagPart(let n):
        let index = n < 0 ? parts.count + n : n
        if parts.indices.contains(index) { out += parts[index] }
      }
    }
    return out
  }

  /// What one chunk's records had, for `use_zero_for_empty`.
  struct Seen {
    fileprivate var tags: [Tag: Set<String>] = [:]
    fileprivate var latest: Int64 = 0
    /// The last event of each tag: what fails is told of it.
    fileprivate var events: [Tag: Int] = [:]
  }

  /// Calls `take` for each metric of a record; what cannot be one is told to `refuse`.
  func read(
    _ record: RecordView, _ event: Int, _ tag: Tag, _ time: Int64, _ seen: inout Seen,
    take: (_ name: String, _ value: Double) -> Void,
    refuse: (String) -> Void
  ) {
    let parts = tag.parts
    var found = seen.tags[tag] ?? []
    func one(_ key: String, _ value: ValueView) {
      guard let number = Self.number(value) else { return refuse("'\(key.prefix(100))' is no number") }
      take(name(of: key, parts), number)
      seen.latest = max(seen.latest, time)
      if fillsWithZero { found.insert(key) }
    }
    if flattens {
      Self.flat(record, "", depth: 0) { key, value in
        if keys?.contains(key) ?? pattern?.matches(key) ?? false { one(key, value) }
      }
    } else if let keys {
      for key in keys { if let value = record.find(key) { one(key, value) } }
    } else if let pattern {
      record.forEachField { key, value in
        if let text = key.textBytes, pattern.matches(text) { one(String(decoding: text, as: UTF8.self), value) }
      }
    }
    if fillsWithZero {
      seen.tags[tag] = found
      seen.events[tag] = event
    }
  }

  /// The zeros of fields that no record of a tag had.
  func zeros(_ seen: Seen, take: (_ name: String, _ tag: Tag, _ time: Int64, _ event: Int) -> Void) {
    guard fillsWithZero, let keys, seen.latest > 0 else { return }
    for (tag, found) in seen.tags {
      let parts = tag.parts
      for key in keys where !found.contains(key) { take(name(of: key, parts), tag, seen.latest, seen.events[tag] ?? 0) }
    }
  }

  private static func flat(_ record: RecordView, _ path: String, depth: Int, _ body: (String, ValueView) -> Void) {
    record.forEachField { key, value in
      guard let name = key.string else { return }
      if let map = value.map, depth < 16 {
        flat(map, path + name + ".", depth: depth + 1, body)
      } else {
        body(path + name, value)
      }
    }
  }

  /// Ruby's `to_f`: a text counts by the number it begins with, nil is 0; true, false and containers are none.
  static func number(_ value: ValueView) -> Double? {
    if let number = value.number { return number }
    guard let text = value.textBytes else { return value.kind == .null ? 0 : nil }
    var end = 0
    var sawDigit = false
    var sawPoint = false
    var sawExponent = false
    let bytes = Array(text.drop { $0 == 0x20 || (0x09...0x0d).contains($0) }.prefix(400))
    scan: while end < bytes.count {
      switch bytes[end] {
      case 0x30...0x39: sawDigit = true
      case 0x2b, 0x2d: if end > 0, bytes[end - 1] | 0x20 != 0x65 { break scan }
      case 0x2e:
        let hasDigit = end + 1 < bytes.count && (0x30...0x39).contains(bytes[end + 1])
        if sawPoint || sawExponent || !sawDigit || !hasDigit { break scan }
        sawPoint = true
      case 0x65, 0x45:
        if sawExponent || !sawDigit { break scan }
        sawExponent = true
      default: break scan
      }
      end += 1
    }
    while end > 0, !(0x30...0x39).contains(bytes[end - 1]) { end -= 1 }
    return end == 0 ? 0 : Double(String(decoding: bytes[..<end], as: UTF8.self)) ?? 0
  }
}
