/// The second argument of `sub` and `gsub`.
enum Replacement {
  case text([UInt8])
  case parts([Part])
  case hash(RubyHash)

  enum Part {
    case text([UInt8])
    case group(Int)
    case name(String)
    case before, after
  }

  /// `\1`, `\0`, `\&`, `\k<name>`, `` \` ``, `\'` and `\\`.
  init(_ bytes: [UInt8]) {
    guard bytes.contains(UInt8(ascii: "\\")) else {
      self = .text(bytes)
      return
    }
    var parts: [Part] = []
    var text: [UInt8] = []
    var i = 0
    func flush() {
      if !text.isEmpty { parts.append(.text(text)) }
      text = []
    }
    while i < bytes.count {
      guard bytes[i] == UInt8(ascii: "\\"), i + 1 < bytes.count else {
        text.append(bytes[i])
        i += 1
        continue
      }
      let c = bytes[i + 1]
      i += 2
      switch c {
      case 48...57:
        flush()
        parts.append(.group(Int(c) - 48))
      case UInt8(ascii: "&"):
        flush()
        parts.append(.group(0))
      case UInt8(ascii: "`"):
        flush()
        parts.append(.before)
      case UInt8(ascii: "'"):
        flush()
        parts.append(.after)
      case UInt8(ascii: "\\"): text.append(c)
      case UInt8(ascii: "k"):
        if i < bytes.count, bytes[i] == UInt8(ascii: "<"), let close = bytes[i...].firstIndex(of: UInt8(ascii: ">")) {
          flush()
          parts.append(.name(String(decoding: bytes[i + 1..<close], as: UTF8.self)))
          i = close + 1
        } else {
          text += [UInt8(ascii: "\\"), c]
        }
      default: text += [UInt8(ascii: "\\"), c]
      }
    }
    flush()
    if parts.count == 1, case .text(let only) = parts[0] { self = .text(only) } else { self = .parts(parts) }
  }

  static func expand(_ parts: [Part], _ match: RubyMatch, into out: inout [UInt8]) {
    let bytes = match.subject.bytes
    for part in parts {
      switch part {
      case .text(let text): out += text
      case .group(let n): if match.groups.indices.contains(n), let range = match.groups[n] { out += bytes[range] }
      case .name(let name):
        if let range = match.names.first(where: { $0.name == name })?.range {
          out += bytes[range]
        } else if let n = Int(name), match.groups.indices.contains(n), let range = match.groups[n] {
          out += bytes[range]
        }
      case .before: if let range = match.groups[0] { out += bytes[..<range.lowerBound] }
      case .after: if let range = match.groups[0] { out += bytes[range.upperBound...] }
      }
    }
  }
}

extension Bindings {
  func callRegexp(_ regexp: RubyRegexp, _ method: Method, _ a: [RubyValue]) throws(Failure) -> RubyValue? {
    switch method {
    case .matches, .match, .isMatch:
      try arity(a, 1...2)
      if a[0].isNull {
        if method == .isMatch { return .bool(false) }
        lastMatch = nil
        return .null
      }
      let subject: RubyValue = if case .symbol(let bytes) = a[0] { RubyValue(bytes) } else { a[0] }
      guard case .string(let s) = subject else { throw .type("no implicit conversion of \(a[0].describedClass) into String") }
      return try callStringPattern(s, method, [.regexp(regexp)], nil)
    case .caseEqual:
      try arity(a, 1...1)
      return .bool(try caseEquals(.regexp(regexp), a[0]))
    case .source: return RubyValue(regexp.regexp.source)
    case .names: return try array(regexp.regexp.names.map { RubyValue($0) })
    case .options:
      return RubyValue(
        (regexp.regexp.options.contains(.ignoreCase) ? 1 : 0) + (regexp.regexp.options.contains(.extended) ? 2 : 0)
          + (regexp.regexp.options.contains(.multiline) ? 4 : 0))
    default: return nil
    }
  }

  func callMatch(_ match: RubyMatch, _ method: Method, _ a: [RubyValue]) throws(Failure) -> RubyValue? {
    func text(_ range: Range<Int>) throws(Failure) -> RubyValue { try string(Array(match.subject.bytes[range])) }
    guard let whole = match.groups.first ?? nil else { return nil }
    switch method {
    case .index:
      try arity(a, 1...2)
      switch a[0] {
      case .range: return try call(array(match.groups.indices.map { match.group($0) }), .index, a)
      default: return a.count == 2 ? try call(array(match.groups.indices.map { match.group($0) }), .index, a) : try group(match, a[0])
      }
    case .toA: return try array(match.groups.indices.map { match.group($0) })
    case .captures: return try array(match.groups.indices.dropFirst().map { match.group($0) })
    case .valuesAt:
      var values: [RubyValue] = []
      for key in a { values.append(try group(match, key)) }
      return try array(values)
    case .namedCaptures:
      let hash = try newHash()
      for (name, range) in match.names { try set(hash, RubyValue(name), match.text(range)) }
      return .hash(hash)
    case .names: return try array(match.names.map { RubyValue($0.name) })
    case .length, .size: return RubyValue(match.groups.count)
    case .preMatch: return try text(0..<whole.lowerBound)
    case .postMatch: return try text(whole.upperBound..<match.subject.bytes.count)
    case .string: return .string(match.subject)
    case .begin, .end:
      guard let range = match.groups[0] else { return .null }
      return RubyValue(RubyText.count(RubyString(Array(match.subject.bytes[..<(method == .begin ? range.lowerBound : range.upperBound)]))))
    default: return nil
    }
  }
}
