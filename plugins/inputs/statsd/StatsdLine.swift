import AggCore
import Glibc

/// One line of statsd, with DogStatsD's extensions, taken apart in place: `name:value[:value…]|type[|@rate][|#tag:value,tag]…`.
struct StatsdLine {
  enum Kind: Sendable { case counter, gauge, timer, set }

  var name: UnsafeRawBufferPointer
  /// One or more values, with colons between them.
  var values: UnsafeRawBufferPointer
  var kind: Kind
  /// 0 < rate <= 1.
  var rate = 1.0
  /// Without `#`.
  var tags: UnsafeRawBufferPointer?

  static let longestName = 1024

  struct Problem: Error { let what: StaticString }

  init(_ line: UnsafeRawBufferPointer) throws(Problem) {
    if line.starts(with: "_e{".utf8) || line.starts(with: "_sc|".utf8) {
      throw Problem(what: "events and service checks are no metrics")
    }
    guard let bar = line.firstIndex(of: UInt8(ascii: "|")), let colon = line[..<bar].firstIndex(of: UInt8(ascii: ":")) else {
      throw Problem(what: "not name:value|type")
    }
    name = UnsafeRawBufferPointer(rebasing: line[..<colon])
    values = UnsafeRawBufferPointer(rebasing: line[(colon + 1)..<bar])
    if name.isEmpty || name.count > Self.longestName { throw Problem(what: "the name is empty or too long") }
    if values.isEmpty { throw Problem(what: "there is no value") }
    var rest = line[(bar + 1)...]
    func section() -> Slice<UnsafeRawBufferPointer>? {
      guard !rest.isEmpty else { return nil }
      let end = rest.firstIndex(of: UInt8(ascii: "|")) ?? rest.endIndex
      defer { rest = end < rest.endIndex ? rest[(end + 1)...] : rest[rest.endIndex...] }
      return rest[..<end]
    }
    guard let type = section() else { throw Problem(what: "there is no type") }
    switch String(decoding: type.prefix(3), as: UTF8.self) {
    case "c", "m": kind = .counter
    case "g": kind = .gauge
    case "ms", "h", "d": kind = .timer
    case "s": kind = .set
    default: throw Problem(what: "the type is none of c, g, ms, h, d, s")
    }
    while let part = section() {
      switch part.first {
      case UInt8(ascii: "@"):
        guard let value = Double(String(decoding: part.dropFirst().prefix(32), as: UTF8.self)), value > 0, value <= 1 else {
          throw Problem(what: "the sample rate is not between 0 and 1")
        }
        rate = value
      case UInt8(ascii: "#"): tags = UnsafeRawBufferPointer(rebasing: part.dropFirst())
      default: break  // container id, timestamp: newer DogStatsD
      }
    }
  }

  /// The tags as labels, at most `limit`; a tag without a value has the empty one. Sorted, so that their order does not matter.
  func labels(limit: Int) -> [(name: String, value: String)] {
    guard let tags, !tags.isEmpty else { return [] }
    var pairs: [String: String] = [:]
    for tag in tags.split(separator: UInt8(ascii: ",")) {
      if pairs.count >= limit { break }
      let colon = tag.firstIndex(of: UInt8(ascii: ":")) ?? tag.endIndex
      let name = ExpositionText.name(String(decoding: tag[..<colon].prefix(200), as: UTF8.self), colons: false)
      pairs[name] =
        colon < tag.endIndex ? String(decoding: tag[(colon + 1)...].prefix(LabelKeyWriter.longest), as: UTF8.self) : ""
    }
    return pairs.sorted { $0.key < $1.key }.map { (name: $0.key, value: $0.value) }
  }
}
