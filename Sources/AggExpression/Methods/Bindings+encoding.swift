import AggCore

extension Bindings {
  // MARK: tr, delete, squeeze, count

  /// A character set as `tr` writes it: ranges, `^` in front, escapes.
  private func characterSet(_ spec: [UInt8]) throws(Failure) -> (characters: [[UInt8]], isNegated: Bool) {
    var all = RubyText.characters(RubyString(spec))
    let isNegated = all.count > 1 && all[0] == [UInt8(ascii: "^")]
    if isNegated { all.removeFirst() }
    var out: [[UInt8]] = []
    var i = 0
    while i < all.count {
      if all[i] == [UInt8(ascii: "\\")], i + 1 < all.count {
        out.append(all[i + 1])
        i += 2
      } else if i + 2 < all.count, all[i + 1] == [UInt8(ascii: "-")] {
        let low = String(decoding: all[i], as: UTF8.self).unicodeScalars.first?.value ?? 0
        let high = String(decoding: all[i + 2], as: UTF8.self).unicodeScalars.first?.value ?? 0
        guard low <= high else { throw .argument("invalid range \"\(String(decoding: spec, as: UTF8.self))\" in string transliteration") }
        try step(Int(high - low))
        for value in low...high { if let scalar = UnicodeScalar(value) { out.append(Array(String(Character(scalar)).utf8)) } }
        i += 3
      } else {
        out.append(all[i])
        i += 1
      }
    }
    return (out, isNegated)
  }

  func translated(_ s: RubyString, _ method: Method, _ a: [RubyValue]) throws(Failure) -> RubyValue {
    let characters = RubyText.characters(s)
    try step(characters.count / 4)
    try charge(characters.count &* 40)
    if method == .tr || method == .trS {
      try arity(a, 2...2)
      let (from, isNegated) = try characterSet(text(a[0]))
      let to = try characterSet(text(a[1])).characters
      let places = Dictionary(zip(from, from.indices)) { first, _ in first }
      var out: [UInt8] = []
      var lastReplacement: [UInt8]?
      for character in characters {
        let place = places[character]
        guard isNegated == (place == nil) else {
          out += character
          lastReplacement = nil
          continue
        }
        guard let replacement = to.isEmpty ? [] : isNegated ? to.last : to[min(place ?? 0, to.count - 1)] else { continue }
        if method == .trS, lastReplacement == replacement { continue }
        out += replacement
        lastReplacement = replacement
      }
      return try string(out, isBinary: s.isBinary)
    }
    var sets: [(Set<[UInt8]>, Bool)] = []
    for value in a {
      let (members, isNegated) = try characterSet(text(value))
      sets.append((Set(members), isNegated))
    }
    func isMember(_ character: [UInt8]) -> Bool { sets.allSatisfy { $0.0.contains(character) != $0.1 } }
    switch method {
    case .count:
      guard !sets.isEmpty else { throw .argument("wrong number of arguments (given 0, expected 1+)") }
      return RubyValue(characters.count { isMember($0) })
    case .delete:
      guard !sets.isEmpty else { throw .argument("wrong number of arguments (given 0, expected 1+)") }
      return try string(Array(characters.filter { !isMember($0) }.joined()), isBinary: s.isBinary)
    default:
      var out: [UInt8] = []
      var last: [UInt8]?
      for character in characters {
        if character == last, isMember(character) { continue }
        out += character
        last = character
      }
      return try string(out, isBinary: s.isBinary)
    }
  }

  // MARK: encodings

  private func encodingName(_ value: RubyValue) throws(Failure) -> String {
    switch value {
    case .module(.encodingUTF8): return "UTF-8"
    case .module(.encodingBinary): return "ASCII-8BIT"
    case .module(.encodingASCII): return "US-ASCII"
    case .module(.encodingLatin1): return "ISO-8859-1"
    default:
      let name = String(decoding: try text(value), as: UTF8.self).uppercased()
      switch name {
      case "BINARY": return "ASCII-8BIT"
      case "UTF8", "UTF-8-MAC": return "UTF-8"
      case "ASCII": return "US-ASCII"
      default: return name
      }
    }
  }

  /// Bytes that are no character of UTF-8 (or, for a binary source, none of ASCII) become `replacement`.
  private func scrubbed(_ bytes: [UInt8], isBinary: Bool, _ replacement: (ArraySlice<UInt8>) throws(Failure) -> [UInt8]) throws(Failure) -> [UInt8] {
    var out: [UInt8] = []
    out.reserveCapacity(bytes.count)
    var i = 0
    while i < bytes.count {
      let step = isBinary ? (length: 1, isValid: bytes[i] < 0x80) : RubyText.step(bytes, i)
      if step.isValid {
        out += bytes[i..<i + step.length]
        i += step.length
        continue
      }
      // The longest beginning of a character counts as one.
      var end = i + 1
      if !isBinary, bytes[i] >= 0xc2, bytes[i] <= 0xf4 {
        let need = bytes[i] >= 0xf0 ? 3 : bytes[i] >= 0xe0 ? 2 : 1
        let low: [UInt8: UInt8] = [0xe0: 0xa0, 0xf0: 0x90]
        let high: [UInt8: UInt8] = [0xed: 0x9f, 0xf4: 0x8f]
        while end < bytes.count, end - i < need, bytes[end] & 0xc0 == 0x80 {
          if end == i + 1, bytes[end] < low[bytes[i]] ?? 0x80 || bytes[end] > high[bytes[i]] ?? 0xbf { break }
          end += 1
        }
      }
      let more = try replacement(bytes[i..<end])
      try charge(more.count)
      out += more
      i = end
    }
    return out
  }

  func encoded(_ s: RubyString, _ method: Method, _ a: [RubyValue], _ block: Block?) throws(Failure) -> RubyValue {
    let bytes = s.bytes
    switch method {
    case .validEncoding: return .bool(s.isBinary || RubyText.isValid(bytes))
    case .asciiOnly: return .bool(RubyText.isASCII(bytes))
    case .encoding: return .module(s.isBinary ? .encodingBinary : .encodingUTF8)
    case .b: return .string(RubyString(bytes, isBinary: true))
    case .forceEncoding:
      try arity(a, 1...1)
      return .string(RubyString(bytes, isBinary: try encodingName(a[0]) == "ASCII-8BIT"))
    case .scrub:
      if s.isBinary { return .string(s) }
      let given = a.first.map { $0.isNull ? nil : $0 } ?? nil
      let fixed: [UInt8] = try given.map { value throws(Failure) in try text(value) } ?? [0xef, 0xbf, 0xbd]
      return try string(
        scrubbed(bytes, isBinary: false) { part throws(Failure) in
          if given == nil, let block { return try block.call(self, .string(RubyString(Array(part)))).displayBytes }
          return fixed
        })
    default:
      var names: [String] = []
      var replacesInvalid = false
      var replacement: [UInt8]?
      for value in a {
        if case .hash(let options) = value {
          for (key, value) in options.pairs {
            switch try label(key) {
            case "invalid", "undef": replacesInvalid = replacesInvalid || !value.isNull
            case "replace": replacement = try text(value)
            default: break
            }
          }
        } else {
          names.append(try encodingName(value))
        }
      }
      let target = names.first ?? "UTF-8"
      let source = names.count > 1 ? names[1] : s.isBinary ? "ASCII-8BIT" : "UTF-8"
      try charge(bytes.count &* 2)
      if source == "ASCII-8BIT" || source == "US-ASCII" || source == "UTF-8" {
        let isBinary = source != "UTF-8"
        switch target {
        case "ASCII-8BIT" where source == target, "UTF-8" where source == target:
          if !replacesInvalid { return .string(s) }
        default: break
        }
        if target == "UTF-8" || target == "US-ASCII" || target == "ASCII-8BIT" {
          let toASCII = target != "UTF-8"
          let fallback = replacement ?? (toASCII ? [UInt8(ascii: "?")] : [0xef, 0xbf, 0xbd])
          let clean = try scrubbed(bytes, isBinary: isBinary) { part throws(Failure) in
            if replacesInvalid { return fallback }
            throw .raise(.encodingError, "\"\\x\(String(part.first ?? 0, radix: 16, uppercase: true))\" from \(source) to \(target)")
          }
          guard toASCII, !RubyText.isASCII(clean) else { return .string(RubyString(clean, isBinary: target == "ASCII-8BIT")) }
          guard replacesInvalid else { throw .raise(.encodingError, "a character has no form in \(target)") }
          return .string(
            RubyString(Array(RubyText.characters(RubyString(clean)).map { $0.count == 1 ? $0 : fallback }.joined()), isBinary: target == "ASCII-8BIT")
          )
        }
      }
      do throws(ConfigValueError) {
        var converter = try TextEncoding(from: source, to: target)
        var out = ByteWriter(capacity: bytes.count * 2 + 16)
        bytes.withUnsafeBytes { converter.convert($0, into: &out) }
        return .string(RubyString(out.array, isBinary: target != "UTF-8"))
      } catch {
        throw .raise(.encodingError, error.message)
      }
    }
  }
}
