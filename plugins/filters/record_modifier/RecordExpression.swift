import AggCore

/// The Ruby expressions in `${…}` that need no Ruby: `tag`, `tag_parts[n]`, `record["a"]["b"]`, `record.dig("a", 0)`, `hostname`,
/// `Socket.gethostname`, `time`, `Time.at(time).to_s`, each with `.to_s` after it where wanted.
enum RecordExpression {
  static func template(_ text: String) throws(ConfigValueError) -> RecordTemplate {
    var pieces: [RecordTemplate.Piece] = []
    var literal: [UInt8] = []
    var rest = Array(text.utf8)[...]
    while let byte = rest.first {
      guard byte == UInt8(ascii: "$"), rest.dropFirst().first == UInt8(ascii: "{") else {
        literal.append(byte)
        rest = rest.dropFirst()
        continue
      }
      guard let close = rest.firstIndex(of: UInt8(ascii: "}")) else { throw ConfigValueError("has ${ without }: \(text)") }
      if !literal.isEmpty { pieces.append(.literal(literal)) }
      literal = []
      pieces.append(try piece(String(decoding: rest[(rest.startIndex + 2)..<close], as: UTF8.self)))
      rest = rest[(close + 1)...]
    }
    if !literal.isEmpty { pieces.append(.literal(literal)) }
    return .text(pieces)
  }

  private static func piece(_ code: String) throws(ConfigValueError) -> RecordTemplate.Piece {
    var name = code.filter { $0 != " " }
    if name.hasSuffix(".to_s"), name != "Time.at(time).to_s" { name.removeLast(5) }
    switch name {
    case "tag": return .tag
    case "hostname", "Socket.gethostname": return .hostname
    case "time", "Time.at(time)", "Time.at(time).to_s": return .time
    default: break
    }
    if name.hasPrefix("tag_parts["), name.hasSuffix("]"), let n = Int(name.dropFirst(10).dropLast()) { return .tagPart(n) }
    if code.hasPrefix("record["), let path = try? RecordPath("$" + code.dropFirst(6)) { return path.topLevelKey.map { .record($0) } ?? .path(path) }
    if name.hasPrefix("record.dig("), name.hasSuffix(")") {
      let keys = code.drop { $0 != "(" }.dropFirst().prefix { $0 != ")" }.split(separator: ",").map { part in "[\(part.drop { $0 == " " })]" }
      if !keys.isEmpty, let path = try? RecordPath("$" + keys.joined()) { return path.topLevelKey.map { .record($0) } ?? .path(path) }
    }
    throw ConfigValueError(
      "has ${\(code)}, which agg cannot evaluate; known: ${tag}, ${tag_parts[0]}, ${record[\"k\"]}, ${record.dig(\"a\",\"b\")}, ${hostname}, ${Time.at(time).to_s}")
  }
}
