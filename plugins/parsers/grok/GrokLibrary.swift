import AggCore

/// Patterns by name, and their expansion to one regular expression.
struct GrokLibrary {
  /// Patterns that name themselves in a circle, or each other many times, end here.
  static let maximumSize = 1 << 20
  static let maximumDepth = 100
  private var patterns: [String: String] = [:]

  init() { for text in GrokPatterns.standard { add(text) } }

  /// `NAME expression` lines; empty ones and those that begin with `#` mean nothing.
  mutating func add(_ text: String) {
    for line in text.split(whereSeparator: \.isNewline) where !line.hasPrefix("#") {
      let parts = line.split(maxSplits: 1, whereSeparator: { $0 == " " || $0 == "\t" })
      if parts.count == 2 { patterns[String(parts[0])] = String(parts[1].drop { $0 == " " || $0 == "\t" }) }
    }
  }

  struct Expansion {
    var expression = ""
    /// The fields that `%{NAME:field:type}` named, with their types, each once: the last type counts.
    var types: [(field: String, type: String)] = []
  }

  func expand(_ pattern: String) throws(ConfigValueError) -> Expansion {
    var expansion = Expansion()
    var size = 0
    expansion.expression = try expand(Substring(pattern), &expansion.types, &size, depth: 0)
    return expansion
  }

  private func expand(
    _ pattern: Substring, _ types: inout [(field: String, type: String)], _ size: inout Int, depth: Int
  ) throws(ConfigValueError) -> String {
    if depth > Self.maximumDepth { throw ConfigValueError("grok pattern names itself, by others perhaps: \(pattern)") }
    var out = ""
    var rest = pattern
    while let open = rest.firstRange(of: "%{") {
      out += rest[..<open.lowerBound]
      let inner = rest[open.upperBound...]
      guard let close = inner.firstIndex(of: "}"), let use = Use(inner[..<close]) else {
        // As in Fluentd, what does not look like a pattern is text of the expression.
        out += rest[open]
        rest = inner
        continue
      }
      guard let known = patterns[use.pattern] else {
        let near = nearest(use.pattern, Array(patterns.keys).sorted()).map { "; did you mean '\($0)'?" } ?? ""
        throw ConfigValueError("grok pattern not found: %{\(use.pattern)}\(near)")
      }
      size += known.utf8.count
      if size > Self.maximumSize {
        throw ConfigValueError(
          "grok pattern is longer than \(Self.maximumSize) bytes when its names are replaced: \(pattern.prefix(200))")
      }
      if let field = use.field {
        types.removeAll { $0.field == field }
        types.append((field, use.type ?? "string"))
      }
      out += use.field.map { "(?<\($0)>" } ?? "(?:"
      out += try expand(Substring(known), &types, &size, depth: depth + 1) + ")"
      rest = inner[inner.index(after: close)...]
    }
    return out + rest
  }

  /// `NAME`, `NAME:field` or `NAME:field:type`; a field may be `[a][b]`, which is `a.b`.
  private struct Use {
    var pattern: String
    var field: String?
    var type: String?

    init?(_ text: Substring) {
      let parts = text.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false).map(String.init)
      guard let name = parts.first, !name.isEmpty, name.utf8.allSatisfy({ $0 == 0x5f || Self.isAlphanumeric($0) }) else {
        return nil
      }
      pattern = name
      guard parts.count > 1 else { return }
      var field = parts[1]
      if field.hasPrefix("["), field.hasSuffix("]") {
        field = String(field.dropFirst().dropLast()).split(separator: "][").joined(separator: ".")
      }
      guard !field.isEmpty, field.utf8.allSatisfy({ "@[]_.-".utf8.contains($0) || Self.isAlphanumeric($0) }) else { return nil }
      self.field = field
      if parts.count > 2 {
        guard ["string", "bool", "integer", "float", "time", "array"].contains(parts[2].prefix { $0 != ":" }) else { return nil }
        type = parts[2]
      }
    }
    private static func isAlphanumeric(_ byte: UInt8) -> Bool {
      (0x30...0x39).contains(byte) || (0x41...0x5a).contains(byte) || (0x61...0x7a).contains(byte)
    }
  }
}
