import AggCore

extension Bindings {
  /// Matches and remembers the result in `$~`.
  func match(_ regexp: RubyRegexp, _ s: RubyString, from start: Int = 0) throws(Failure) -> RubyMatch? {
    try step(4)
    var matcher = regexp.regexp.matcher()
    let found = s.bytes.withUnsafeBytes { matcher.match($0, from: start) }
    lastMatch = found ? result(of: matcher, regexp, s) : nil
    return lastMatch
  }

  func result(of matcher: borrowing RegexpMatcher, _ regexp: RubyRegexp, _ s: RubyString) -> RubyMatch {
    var groups: [Range<Int>?] = []
    for n in 0...regexp.regexp.captureCount { groups.append(matcher.range(of: n)) }
    var names: [(name: String, range: Range<Int>?)] = []
    for (i, name) in regexp.regexp.names.enumerated() { names.append((name, matcher.range(ofName: i))) }
    return RubyMatch(s, groups, names)
  }

  /// A pattern argument: a regular expression, or a text that is meant as it stands.
  func pattern(_ value: RubyValue?) throws(Failure) -> RubyRegexp? {
    if case .regexp(let regexp)? = value { return regexp }
    guard case .string? = value else { throw .type("wrong argument type \(value?.describedClass ?? "nothing") (expected Regexp)") }
    return nil
  }

  /// The argument of `match`, where a text is an expression.
  private func expression(_ value: RubyValue?) throws(Failure) -> RubyRegexp {
    if let regexp = try pattern(value) { return regexp }
    return try compile(String(decoding: text(value), as: UTF8.self), [])
  }

  /// String's methods that take a pattern or a place.
  func callStringPattern(_ s: RubyString, _ method: Method, _ a: [RubyValue], _ block: Block?) throws(Failure) -> RubyValue? {
    let bytes = s.bytes
    switch method {
    case .index:
      try arity(a, 1...2)
      return try slice(s, a) ?? .null
    case .slice:
      try arity(a, 1...2)
      return try slice(s, a) ?? .null
    case .include:
      try arity(a, 1...1)
      return .bool(RubyText.find(try text(a[0]), in: bytes, from: 0) != nil)
    case .startWith:
      for value in a {
        if case .regexp(let regexp) = value {
          if let match = try match(regexp, s), match.groups.first??.lowerBound == 0 { return .bool(true) }
        } else if bytes.starts(with: try text(value)) {
          return .bool(true)
        }
      }
      return .bool(false)
    case .endWith:
      for value in a {
        let suffix = try text(value)
        if bytes.count >= suffix.count, bytes.suffix(suffix.count).elementsEqual(suffix) { return .bool(true) }
      }
      return .bool(false)
    case .indexOf, .rindex: return try position(s, method, a)
    case .matches:
      try arity(a, 1...1)
      guard case .regexp(let regexp) = a[0] else {
        if case .string = a[0] { throw .type("wrong argument type String (expected Regexp)") }
        return .null
      }
      guard let match = try match(regexp, s), let range = match.groups[0] else { return .null }
      return RubyValue(RubyText.count(RubyString(Array(bytes[..<range.lowerBound]), isBinary: s.isBinary)))
    case .match:
      try arity(a, 1...2)
      guard let match = try match(expression(a[0]), s) else { return .null }
      guard let block else { return .match(match) }
      return try block.call(self, .match(match))
    case .isMatch:
      try arity(a, 1...2)
      try step(4)
      let regexp = try expression(a[0])
      return .bool(bytes.withUnsafeBytes { regexp.regexp.matches($0) })
    case .sub, .gsub: return try string(replaced(s, isGlobal: method == .gsub, a, block), isBinary: s.isBinary)
    case .scan: return try scanned(s, a, block)
    case .split: return try array(split(s, a))
    case .partition, .rpartition: return try parted(s, isLast: method == .rpartition, a)
    case .less, .greater, .lessOrEqual, .greaterOrEqual: return nil
    default: return nil
    }
  }

  /// `s[…]`.
  func slice(_ s: RubyString, _ a: [RubyValue]) throws(Failure) -> RubyValue? {
    switch a[0] {
    case .int, .double:
      let start = try integer(a[0])
      if a.count > 1 { return RubyText.slice(s, start, try integer(a[1])).map { .string($0) } }
      guard let found = RubyText.slice(s, start, 1), !found.bytes.isEmpty else { return nil }
      return .string(found)
    case .range(let range):
      guard let (start, count) = try bounds(range, RubyText.count(s)) else { return nil }
      return RubyText.slice(s, start, count).map { .string($0) }
    case .string(let part): return RubyText.find(part.bytes, in: s.bytes, from: 0) == nil ? nil : a[0]
    case .regexp(let regexp):
      guard let match = try match(regexp, s) else { return nil }
      guard a.count > 1 else { return match.group(0) }
      return try group(match, a[1])
    default: throw .type("no implicit conversion of \(a[0].describedClass) into Integer")
    }
  }

  func group(_ match: RubyMatch, _ key: RubyValue) throws(Failure) -> RubyValue {
    switch key {
    case .string, .symbol:
      let name = try label(key)
      guard let found = match.names.first(where: { $0.name == name }) else { throw .raise(.indexError, "undefined group name reference: \(name)") }
      return match.text(found.range)
    default: return match.group(try integer(key))
    }
  }

  /// Start and length of a range in something of `count` parts; nil when it begins outside.
  func bounds(_ range: RubyRange, _ count: Int) throws(Failure) -> (Int, Int)? {
    var start = range.first.isNull ? 0 : try integer(range.first)
    var end = range.last.isNull ? -1 : try integer(range.last)
    if start < 0 { start = start &+ count }
    guard start >= 0, start <= count else { return nil }
    if end < 0 { end = end &+ count }
    if !range.excludesEnd || range.last.isNull { end = end &+ 1 }
    return (start, max(0, min(end, count) - start))
  }

  private func position(_ s: RubyString, _ method: Method, _ a: [RubyValue]) throws(Failure) -> RubyValue {
    try arity(a, 1...2)
    let bytes = s.bytes
    let offsets = s.isBinary || RubyText.isASCII(bytes) ? nil : RubyText.offsets(s)
    let count = offsets.map { $0.count - 1 } ?? bytes.count
    var from = a.count > 1 ? try integer(a[1]) : (method == .rindex ? count : 0)
    if from < 0 { from = from &+ count }
    guard from >= 0, from <= count || method == .rindex else { return .null }
    from = min(from, count)
    let start = offsets?[from] ?? from
    var found: Int?
    if let regexp = try pattern(a[0]) {
      if method == .indexOf {
        found = try match(regexp, s, from: start)?.groups[0]?.lowerBound
      } else {
        var at = start
        while at >= 0, found == nil {
          if let match = try match(regexp, s, from: at), match.groups[0]?.lowerBound == at { found = at }
          at -= 1
        }
      }
    } else {
      let needle = try text(a[0])
      try step(1 + (method == .rindex ? bytes.count / 16 : 0))
      found = method == .indexOf ? RubyText.find(needle, in: bytes, from: start) : RubyText.findLast(needle, in: bytes, upTo: start)
    }
    guard let found else { return .null }
    return RubyValue(offsets.map { $0.firstIndex(of: found) ?? 0 } ?? found)
  }

  /// `sub` and `gsub` with a text, a Hash or a block.
  private func replaced(_ s: RubyString, isGlobal: Bool, _ a: [RubyValue], _ block: Block?) throws(Failure) -> [UInt8] {
    try arity(a, block == nil ? 2...2 : 1...2)
    let bytes = s.bytes
    var out: [UInt8] = []
    var last = 0
    var plan: Replacement?
    if a.count > 1 {
      if case .hash(let hash) = a[1] { plan = .hash(hash) } else { plan = Replacement(try text(a[1])) }
    }
    func put(_ match: RubyMatch, _ range: Range<Int>) throws(Failure) {
      try charge(range.lowerBound - last)
      out += bytes[last..<range.lowerBound]
      let before = out.count
      switch plan {
      case .hash(let hash): out += try call(.hash(hash), .index, [match.group(0)]).displayBytes
      case .text(let text): out += text
      case .parts(let parts): Replacement.expand(parts, match, into: &out)
      case nil: if let block { out += try block.call(self, match.group(0)).displayBytes }
      }
      try charge(out.count - before)
      last = range.upperBound
    }
    guard let regexp = try pattern(a[0]) else {
      let needle = try text(a[0])
      var from = 0
      while let at = RubyText.find(needle, in: bytes, from: from) {
        try step()
        let range = at..<at + needle.count
        let match = RubyMatch(s, [range], [])
        if plan == nil { lastMatch = match }
        try put(match, range)
        if !isGlobal { break }
        from = needle.isEmpty ? at + (at < bytes.count ? RubyText.step(bytes, at).length : 1) : range.upperBound
      }
      out += bytes[last...]
      return out
    }
    var matcher = regexp.regexp.matcher()
    var from = 0
    var result: RubyMatch?
    while from <= bytes.count {
      try step(4)
      // `\K` may begin a match before the place where the search began.
      guard bytes.withUnsafeBytes({ matcher.match($0, from: from) }), let range = matcher.range(of: 0), range.lowerBound >= last else { break }
      if case .text(let text)? = plan {
        try charge(range.lowerBound - last + text.count)
        out += bytes[last..<range.lowerBound]
        out += text
        last = range.upperBound
      } else {
        let match = self.result(of: matcher, regexp, s)
        result = match
        lastMatch = match
        try put(match, range)
      }
      if !isGlobal { break }
      from =
        range.isEmpty ? range.upperBound + (range.upperBound < bytes.count ? RubyText.step(bytes, range.upperBound).length : 1) : range.upperBound
    }
    if let result { lastMatch = result }
    out += bytes[last...]
    return out
  }

  private func scanned(_ s: RubyString, _ a: [RubyValue], _ block: Block?) throws(Failure) -> RubyValue {
    try arity(a, 1...1)
    let regexp = if let given = try pattern(a[0]) { given } else { try compile(RubyEscape.regexp(try text(a[0])), []) }
    var matcher = regexp.regexp.matcher()
    var found: [RubyValue] = []
    var from = 0
    while from <= s.bytes.count {
      try step(4)
      guard s.bytes.withUnsafeBytes({ matcher.match($0, from: from) }), let range = matcher.range(of: 0) else { break }
      let match = result(of: matcher, regexp, s)
      lastMatch = match
      try charge(range.count + 32)
      let value: RubyValue
      if match.groups.count == 1 {
        value = match.group(0)
      } else {
        var groups: [RubyValue] = []
        for n in 1..<match.groups.count { groups.append(match.group(n)) }
        value = try array(groups)
      }
      if let block { _ = try block.call(self, value) } else { found.append(value) }
      from =
        range.isEmpty ? range.upperBound + (range.upperBound < s.bytes.count ? RubyText.step(s.bytes, range.upperBound).length : 1) : range.upperBound
    }
    return block == nil ? try array(found) : .string(s)
  }

  private func parted(_ s: RubyString, isLast: Bool, _ a: [RubyValue]) throws(Failure) -> RubyValue {
    try arity(a, 1...1)
    var range: Range<Int>?
    if let regexp = try pattern(a[0]) {
      if isLast {
        var at = s.bytes.count
        while at >= 0, range == nil {
          if let match = try match(regexp, s, from: at), match.groups[0]?.lowerBound == at { range = match.groups[0] }
          at -= 1
        }
      } else {
        range = try match(regexp, s)?.groups[0]
      }
    } else {
      let needle = try text(a[0])
      let at = isLast ? RubyText.findLast(needle, in: s.bytes, upTo: s.bytes.count) : RubyText.find(needle, in: s.bytes, from: 0)
      range = at.map { $0..<$0 + needle.count }
    }
    let empty = RubyValue([UInt8]())
    guard let range else { return try array(isLast ? [empty, empty, .string(s)] : [.string(s), empty, empty]) }
    return try array([string(Array(s.bytes[..<range.lowerBound])), string(Array(s.bytes[range])), string(Array(s.bytes[range.upperBound...]))])
  }

  private func split(_ s: RubyString, _ a: [RubyValue]) throws(Failure) -> [RubyValue] {
    try arity(a, 0...2)
    let bytes = s.bytes
    let limit = a.count > 1 ? try integer(a[1]) : 0
    var parts: [RubyValue] = []
    var start = 0
    func put(_ range: Range<Int>) throws(Failure) {
      try step()
      parts.append(try string(Array(bytes[range]), isBinary: s.isBinary))
    }
    if limit == 1 { return bytes.isEmpty ? [] : [.string(s)] }
    let separator = a.first ?? .null
    if case .regexp(let regexp) = separator {
      var matcher = regexp.regexp.matcher()
      var from = 0
      while from <= bytes.count, limit <= 0 || parts.count < limit - 1 {
        try step(4)
        guard bytes.withUnsafeBytes({ matcher.match($0, from: from) }), let range = matcher.range(of: 0), range.lowerBound >= start else { break }
        if range.isEmpty {
          if range.lowerBound >= bytes.count { break }
          let next = range.lowerBound + RubyText.step(bytes, range.lowerBound).length
          if range.lowerBound == start {
            // An empty match right here cuts behind the next character.
            if next >= bytes.count { break }
            from = next
            guard bytes.withUnsafeBytes({ matcher.match($0, from: from) }), let other = matcher.range(of: 0), other.lowerBound >= start else { break }
            if other.lowerBound >= bytes.count, other.isEmpty { break }
            try put(start..<other.lowerBound)
            start = other.upperBound
            from = other.upperBound
            continue
          }
          try put(start..<range.lowerBound)
          start = range.lowerBound
          from = range.lowerBound
        } else {
          try put(start..<range.lowerBound)
          start = range.upperBound
          from = range.upperBound
        }
        if regexp.regexp.captureCount > 0 {
          for n in 1...regexp.regexp.captureCount { if let group = matcher.range(of: n) { try put(group) } }
        }
      }
    } else {
      let needle = separator.isNull ? [0x20] : try text(separator)
      if needle == [0x20] {
        var i = 0
        while i < bytes.count {
          while i < bytes.count, RubyText.isSpace(bytes[i]) || bytes[i] == 0 { i += 1 }
          start = i
          if i >= bytes.count || (limit > 0 && parts.count >= limit - 1) { break }
          while i < bytes.count, !RubyText.isSpace(bytes[i]), bytes[i] != 0 { i += 1 }
          try put(start..<i)
          start = min(i + 1, bytes.count)
          if i >= bytes.count { return parts }
        }
        if start < bytes.count || limit != 0 { try put(start..<bytes.count) }
        if limit == 0 { while case .string(let text)? = parts.last, text.bytes.isEmpty { parts.removeLast() } }
        return parts
      }
      if needle.isEmpty {
        let offsets = RubyText.offsets(s)
        try charge(offsets.count &* 40)
        for (from, to) in zip(offsets, offsets.dropFirst()) {
          if limit > 0, parts.count >= limit - 1 { break }
          try put(from..<to)
          start = to
        }
        if limit != 0 { try put(start..<bytes.count) }
        return parts
      }
      while limit <= 0 || parts.count < limit - 1, let at = RubyText.find(needle, in: bytes, from: start) {
        try put(start..<at)
        start = at + needle.count
      }
    }
    if bytes.isEmpty { return [] }
    try put(start..<bytes.count)
    if limit == 0 { while case .string(let text)? = parts.last, text.bytes.isEmpty { parts.removeLast() } }
    return parts
  }
}
