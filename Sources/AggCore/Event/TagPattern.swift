/// What `<match …>` and `<filter …>` say: patterns between blanks, one of which must fit the whole tag.
///
/// `*` is any text within one part; `**` any text over parts, `a.**` fits `a` too; `{a,b}` alternatives; `\` takes the
/// next character as it is; `/…/` a regular expression between `\A` and `\Z` (so `/a|b/` is `a…` or `…b`). Source: Fluentd's `match.rb`.
public struct TagPattern: Sendable {
  enum Alternative: Sendable {
    case all
    case glob(TagGlob)
    case regexp(Regexp)
  }
  public let source: String
  let alternatives: [Alternative]

  /// Throws when a regular expression or a brace is not well-formed, or the pattern is larger than the matcher takes.
  public init(_ configText: String) throws(ConfigValueError) {
    source = configText
    var alternatives: [Alternative] = []
    for word in configText.utf8.split(whereSeparator: { $0 == 32 || (9...13).contains($0) }) {
      let text = String(decoding: word, as: UTF8.self)
      if text == "**" {
        alternatives.append(.all)
      } else if text.hasPrefix("/") {
        guard text.hasSuffix("/"), text.utf8.count > 1 else { throw ConfigValueError("invalid match - regex: \(text)") }
        alternatives.append(.regexp(try Regexp("\\A" + text.dropFirst().dropLast() + "\\Z")))
      } else {
        alternatives.append(.glob(try TagGlob(text)))
      }
    }
    if alternatives.isEmpty { throw ConfigValueError("the pattern is empty; use ** for every tag") }
    self.alternatives = alternatives
  }

  public func matches(_ tag: Tag) -> Bool {
    var text = tag.description
    return text.withUTF8 { bytes in
      for alternative in alternatives {
        switch alternative {
        case .all: return true
        case .glob(let glob): if glob.matches(bytes) { return true }
        case .regexp(let regexp): if regexp.matches(UnsafeRawBufferPointer(bytes)) { return true }
        }
      }
      return false
    }
  }

  /// Every tag fits: nothing after it can be reached.
  public var isCatchAll: Bool {
    alternatives.contains { alternative in
      switch alternative {
      case .all: true
      case .glob(let glob): glob.isCatchAll
      case .regexp: false
      }
    }
  }

  /// The tags that fit when there are only finitely many (no wildcard, no expression), at most 256; else nil.
  public var literalTags: [String]? {
    var tags: [String] = []
    for alternative in alternatives {
      guard case .glob(let glob) = alternative, let words = glob.literals else { return nil }
      tags += words
    }
    return tags
  }
}

extension TagPattern {
  /// Tags that fit cannot be listed or compared.
  public var hasRegexp: Bool {
    alternatives.contains { alternative in
      if case .regexp = alternative { true } else { false }
    }
  }

  /// Escaped so that a pattern takes it as it is.
  public static func literal(_ text: String) -> String {
    var out: [UInt8] = []
    for byte in text.utf8 {
      if "\\*{},/".utf8.contains(byte) { out.append(UInt8(ascii: "\\")) }
      out.append(byte)
    }
    return String(decoding: out, as: UTF8.self)
  }
}

extension TagPattern: ConfigReadable {
  public static var configType: String { "pattern" }
  public init(configText text: String, strict: Bool) throws(ConfigValueError) { try self.init(text) }
  public var configText: String { source }
}
