import AggCore
import Glibc

extension RubyParser {
  private static let always: Set<Method> = [
    .toS, .inspect, .name, .equal, .notEqual, .caseEqual, .isNil, .isA, .kindOf, .classOf, .respondTo, .itself, .hash,
  ]
  private static let calls: [RubyModule: Set<Method>] = [
    .env: [.index, .fetch, .hasKey, .hasKeyOld, .include, .member, .toH, .valuesAt, .dig, .isEmpty, .keys, .values, .slice, .key],
    .time: [.now, .at, .parse, .strptime, .iso8601, .xmlschema, .utc, .gm, .local, .mktime, .new],
    .dateTime: [.now, .parse, .strptime, .iso8601],
    .eventTime: [.now],
    .engine: [.now],
    .json: [.parse, .generate, .dump, .load, .prettyGenerate],
    .socket: [.gethostname],
    .process: [.pid],
    .file: [.basename, .dirname, .extname, .join],
    .math: [.sqrt, .log, .log2, .log10, .exp, .sin, .cos, .hypot],
    .uri: [.decodeWWWFormComponent, .encodeWWWFormComponent, .decodeURIComponent, .encodeURIComponent],
    .cgi: [.escape, .unescape, .escapeHTML, .unescapeHTML],
    .base64: [.encode64, .strictEncode64, .urlsafeEncode64, .decode64, .strictDecode64, .urlsafeDecode64],
    .secureRandom: [.uuid, .hex, .alphanumeric, .randomNumber],
    .regexp: [.new, .escape, .quote, .union, .lastMatch],
    .hash: [.new, .index], .array: [.new, .index], .string: [.new], .integer: [.sqrt],
  ]

  /// Whether a class or module has the method: known at start, so that a call of another is an error there.
  static func isSupported(_ module: RubyModule, _ method: Method) -> Bool {
    if let methods = calls[module] { return methods.contains(method) || always.contains(method) }
    return always.contains(method)
  }
}

extension Bindings {
  func callModule(_ module: RubyModule, _ method: Method, _ a: [RubyValue], _ block: Block?) throws(Failure) -> RubyValue? {
    switch method {
    case .caseEqual:
      try arity(a, 1...1)
      return .bool(try caseEquals(.module(module), a[0]))
    case .name, .toS, .inspect: return RubyValue(module.displayName)
    case .less, .lessOrEqual:
      guard case .module(let other)? = a.first else { return nil }
      return .bool(module.inherits(other) && (method == .lessOrEqual || module != other))
    default: break
    }
    guard RubyParser.isSupported(module, method) || module == .kernel else { return nil }
    switch module {
    case .kernel: return try kernel(method, a)
    case .env: return try environment(method, a, block)
    case .time, .dateTime, .eventTime, .engine: return try timeClass(module, method, a)
    case .json:
      switch method {
      case .generate, .dump: return try string(json(a.first ?? .null))
      case .prettyGenerate: return try string(json(a.first ?? .null, isPretty: true))
      default: return try parsedJSON(a, isLenient: method == .load)
      }
    case .socket: return RubyValue(host.hostname)
    case .process: return .int(Int64(getpid()))
    case .file: return try filePath(method, a)
    case .math:
      var numbers: [Double] = []
      for value in a {
        guard let number = value.number else { throw .type("can't convert \(value.describedClass) into Float") }
        numbers.append(number)
      }
      try arity(a, 1...2)
      let x = numbers[0]
      if x < 0, method == .sqrt || method == .log || method == .log2 || method == .log10 {
        throw .raise(.argumentError, "Numerical argument is out of domain - \"\(method.rawValue)\"")
      }
      switch method {
      case .sqrt: return .double(x.squareRoot())
      case .log: return .double(numbers.count > 1 ? Glibc.log(x) / Glibc.log(numbers[1]) : Glibc.log(x))
      case .log2: return .double(Glibc.log2(x))
      case .log10: return .double(Glibc.log10(x))
      case .exp: return .double(Glibc.exp(x))
      case .sin: return .double(Glibc.sin(x))
      case .cos: return .double(Glibc.cos(x))
      case .hypot: return .double(Glibc.hypot(x, numbers.count > 1 ? numbers[1] : 0))
      default: return nil
      }
    case .uri, .cgi, .base64:
      try arity(a, 1...2)
      let bytes = try text(a[0])
      try charge(bytes.count &* 3)
      guard let result = RubyEscape.convert(bytes, module, method) else { throw .argument("invalid %-encoding or base64") }
      return try string(result, isBinary: method == .decode64 || method == .strictDecode64 || method == .urlsafeDecode64)
    case .secureRandom: return try random(method, a)
    case .regexp: return try regexpClass(method, a)
    case .hash:
      let hash = try newHash()
      if method == .index {
        try arity(a, 1...1)
        for element in try list(a[0]) {
          guard case .array(let pair) = element, pair.elements.count == 2 else { throw .argument("invalid element of Hash[]") }
          try set(hash, pair.elements[0], pair.elements[1])
        }
        return .hash(hash)
      }
      hash.defaultValue = a.first ?? .null
      hash.defaultBlock = block
      return .hash(hash)
    case .array:
      if method == .index { return try array(a) }
      let n = a.isEmpty ? 0 : try integer(a[0])
      guard n >= 0 else { throw .argument("negative array size") }
      try step(n)
      try charge(n &* 24)
      var elements: [RubyValue] = []
      for i in 0..<n { elements.append(try block?.call(self, RubyValue(i)) ?? (a.count > 1 ? a[1] : .null)) }
      return try array(elements)
    case .string: return a.isEmpty ? RubyValue([UInt8]()) : try string(text(a[0]))
    case .integer:
      let n = try integer(a.first)
      guard n >= 0 else { throw .raise(.argumentError, "Numerical argument is out of domain - \"isqrt\"") }
      var root = Int(Double(n).squareRoot())
      while root > 0, root.multipliedReportingOverflow(by: root).overflow || root * root > n { root -= 1 }
      return RubyValue(root)
    default: return nil
    }
  }

  private func environment(_ method: Method, _ a: [RubyValue], _ block: Block?) throws(Failure) -> RubyValue? {
    switch method {
    case .index, .dig:
      try arity(a, 1...1)
      return host.variables[String(decoding: try text(a[0]), as: UTF8.self)].map { RubyValue($0) } ?? .null
    case .fetch:
      try arity(a, 1...2)
      let name = String(decoding: try text(a[0]), as: UTF8.self)
      if let value = host.variables[name] { return RubyValue(value) }
      if let block { return try block.call(self, a[0]) }
      if a.count > 1 { return a[1] }
      throw .raise(.keyError, "key not found: \"\(name)\"")
    case .hasKey, .hasKeyOld, .include, .member:
      try arity(a, 1...1)
      return .bool(host.variables[String(decoding: try text(a[0]), as: UTF8.self)] != nil)
    default:
      let hash = try newHash()
      for (name, value) in host.variables.sorted(by: { $0.key < $1.key }) { try set(hash, RubyValue(name), RubyValue(value)) }
      return try callHash(hash, method, a, block)
    }
  }

  private func regexpClass(_ method: Method, _ a: [RubyValue]) throws(Failure) -> RubyValue? {
    switch method {
    case .new:
      try arity(a, 1...2)
      if case .regexp = a[0] { return a[0] }
      var options: Regexp.Options = []
      if case .int(let bits)? = a.dropFirst().first {
        if bits & 1 != 0 { options.insert(.ignoreCase) }
        if bits & 2 != 0 { options.insert(.extended) }
        if bits & 4 != 0 { options.insert(.multiline) }
      } else if a.count > 1, a[1].isTrue {
        options.insert(.ignoreCase)
      }
      return .regexp(try compile(String(decoding: text(a[0]), as: UTF8.self), options))
    case .escape, .quote:
      let bytes = try text(a.first)
      try charge(bytes.count &* 2)
      return try string(Array(RubyEscape.regexp(bytes).utf8))
    case .union:
      var parts: [String] = []
      let flat: [RubyValue]
      if a.count == 1, case .array(let array) = a[0] { flat = array.elements } else { flat = a }
      for value in flat {
        if case .regexp = value {
          parts.append(String(decoding: value.displayBytes, as: UTF8.self))
        } else {
          parts.append(RubyEscape.regexp(try text(value)))
        }
      }
      return .regexp(try compile(parts.isEmpty ? "(?!)" : parts.joined(separator: "|"), []))
    default:
      guard let match = lastMatch else { return .null }
      return a.isEmpty ? .match(match) : try group(match, a[0])
    }
  }

  private func random(_ method: Method, _ a: [RubyValue]) throws(Failure) -> RubyValue? {
    func bytes(_ n: Int) -> [UInt8] { (0..<n).map { _ in UInt8.random(in: 0...255, using: &generator) } }
    switch method {
    case .uuid:
      var raw = bytes(16)
      raw[6] = raw[6] & 0x0f | 0x40
      raw[8] = raw[8] & 0x3f | 0x80
      let hex = String(decoding: RubyBase64.hex(raw), as: UTF8.self)
      var out = ""
      for (i, c) in hex.enumerated() {
        if [8, 12, 16, 20].contains(i) { out += "-" }
        out.append(c)
      }
      return RubyValue(out)
    case .hex:
      let n = a.isEmpty || a[0].isNull ? 16 : try integer(a[0])
      guard n >= 0 else { throw .argument("negative string size") }
      try step(n)
      try charge(n &* 4)
      return try string(RubyBase64.hex(bytes(n)))
    case .alphanumeric:
      let n = a.isEmpty ? 16 : max(0, try integer(a[0]))
      try step(n)
      try charge(n)
      let letters = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789".utf8)
      return try string((0..<n).map { _ in letters[Int.random(in: 0..<62, using: &generator)] })
    default: return try kernel(.kernelRandom, a)
    }
  }

  private func filePath(_ method: Method, _ a: [RubyValue]) throws(Failure) -> RubyValue? {
    let slash = UInt8(ascii: "/")
    let path = try text(a.first)
    var trimmed = path[...]
    while trimmed.count > 1, trimmed.last == slash { trimmed.removeLast() }
    let base = Array(trimmed == [slash] ? trimmed : trimmed.suffix(from: trimmed.lastIndex(of: slash).map { $0 + 1 } ?? trimmed.startIndex))
    func dot() -> Int? {
      guard let at = base.lastIndex(of: UInt8(ascii: ".")), at > 0, at + 1 < base.count, base[..<at].contains(where: { $0 != UInt8(ascii: ".") })
      else { return nil }
      return at
    }
    switch method {
    case .basename:
      guard a.count > 1 else { return try string(base) }
      let suffix = try text(a[1])
      if suffix == Array(".*".utf8) { return try string(dot().map { Array(base[..<$0]) } ?? base) }
      return try string(base.count > suffix.count && base.suffix(suffix.count).elementsEqual(suffix) ? Array(base.dropLast(suffix.count)) : base)
    case .extname: return try string(dot().map { Array(base[$0...]) } ?? [])
    case .dirname:
      guard let at = trimmed.lastIndex(of: slash) else { return RubyValue(".") }
      var folder = trimmed[..<at]
      while folder.last == slash { folder.removeLast() }
      return try string(folder.isEmpty ? [slash] : Array(folder))
    default:
      var out: [UInt8] = []
      for (i, value) in a.enumerated() {
        var part = try text(value)[...]
        if i > 0 {
          while out.last == slash { out.removeLast() }
          out.append(slash)
          while part.first == slash { part.removeFirst() }
        }
        out += part
      }
      return try string(out)
    }
  }
}
