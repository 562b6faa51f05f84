/// Where a field is in a record: `key`, `$.a.b[0]` or `$['a'][0]['b']` (Fluentd's record_accessor syntax).
public struct RecordPath: Hashable, Sendable, ConfigReadable {
  public enum Step: Hashable, Sendable {
    case key([UInt8])
    case index(Int)
  }
  public let steps: [Step]
  public let configText: String
  public static var configType: String { "field" }

  public init(configText: String, strict: Bool) throws(ConfigValueError) { try self.init(configText) }

  public init(_ text: String) throws(ConfigValueError) {
    configText = text
    if text.hasPrefix("$.") { steps = try Self.dotted(text.dropFirst(2), text) } else if text.hasPrefix("$[") {
      steps = try Self.bracketed(text.dropFirst(1), text)
    } else {
      steps = [.key(Array(text.utf8))]
    }
  }

  /// The field's own name when it is at the top level.
  public var topLevelKey: [UInt8]? { if steps.count == 1, case .key(let key) = steps[0] { key } else { nil } }

  public func find(_ record: RecordView) -> ValueView? {
    var value = record.value
    for step in steps {
      switch step {
      case .key(let key):
        guard let map = value.map, let next = map.find(key) else { return nil }
        value = next
      case .index(let index):
        guard value.kind == .array, let next = value.element(index < 0 ? value.count + index : index) else { return nil }
        value = next
      }
    }
    return value
  }

  private static func dotted(_ rest: Substring, _ whole: String) throws(ConfigValueError) -> [Step] {
    var steps: [Step] = []
    for part in rest.split(separator: ".", omittingEmptySubsequences: false) {
      var part = part
      var indices: [Step] = []
      while part.hasSuffix("]"), let open = part.lastIndex(of: "[") {
        let inner = part[part.index(after: open)...].dropLast()
        guard let index = Int(inner) else { throw ConfigValueError("is not a field path: '\(whole)'; a number belongs in [ ]") }
        indices.insert(.index(index), at: 0)
        part = part[..<open]
      }
      if part.isEmpty, indices.isEmpty { throw ConfigValueError("is not a field path: '\(whole)'; a key is empty") }
      if !part.isEmpty { steps.append(.key(Array(part.utf8))) }
      steps += indices
    }
    return steps
  }

  private static func bracketed(_ rest: Substring, _ whole: String) throws(ConfigValueError) -> [Step] {
    var steps: [Step] = []
    var rest = rest
    while !rest.isEmpty {
      guard rest.first == "[", let close = closing(rest) else { throw ConfigValueError("is not a field path: '\(whole)'; expected $['key'] or [0]") }
      let inner = rest[rest.index(after: rest.startIndex)..<close]
      if let quote = inner.first, quote == "'" || quote == "\"", inner.count >= 2, inner.last == quote {
        steps.append(.key(Array(inner.dropFirst().dropLast().utf8)))
      } else if let index = Int(inner) {
        steps.append(.index(index))
      } else {
        throw ConfigValueError("is not a field path: '\(whole)'; keys are quoted, indices are numbers")
      }
      rest = rest[rest.index(after: close)...]
    }
    return steps
  }

  private static func closing(_ text: Substring) -> Substring.Index? {
    var quote: Character?
    for index in text.indices.dropFirst() {
      let character = text[index]
      if let open = quote {
        if character == open { quote = nil }
      } else if character == "'" || character == "\"" {
        quote = character
      } else if character == "]" {
        return index
      }
    }
    return nil
  }
}

extension RecordPath {
  /// A field at the top level, whatever its name looks like.
  public init(key: String) {
    steps = [.key(Array(key.utf8))]
    configText = key
  }
}
