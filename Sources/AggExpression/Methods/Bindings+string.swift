import AggCore

extension Bindings {
  /// String's methods that need no pattern; the rest is in `callStringPattern`.
  func callString(_ s: RubyString, _ method: Method, _ a: [RubyValue], _ block: Block?) throws(Failure) -> RubyValue? {
    let bytes = s.bytes
    switch method {
    case .toS, .toStr, .unicodeNormalize: return .string(s)
    case .toSym, .intern: return .symbol(bytes)
    case .toI:
      let radix = a.isEmpty ? 10 : try integer(a[0])
      guard (2...36).contains(radix) else { throw .argument("invalid radix \(radix)") }
      guard let value = RubyNumbers.integerPrefix(bytes, radix: radix) else { throw Failure.overflow }
      return .int(value)
    case .toF: return .double(RubyNumbers.floatPrefix(bytes))
    case .hex:
      guard let value = RubyNumbers.integerPrefix(bytes, radix: 16) else { throw Failure.overflow }
      return .int(value)
    case .oct:
      guard let value = RubyNumbers.integerPrefix(bytes, radix: 8) else { throw Failure.overflow }
      return .int(value)
    case .upcase, .downcase, .swapcase, .capitalize: return try string(RubyCase.convert(s, method), isBinary: s.isBinary)
    case .strip: return try string(RubyText.strip(bytes, left: true, right: true), isBinary: s.isBinary)
    case .lstrip: return try string(RubyText.strip(bytes, left: true, right: false), isBinary: s.isBinary)
    case .rstrip: return try string(RubyText.strip(bytes, left: false, right: true), isBinary: s.isBinary)
    case .chomp:
      if let suffix = a.first { return try string(removingSuffix(bytes, text(suffix)), isBinary: s.isBinary) }
      if bytes.last == 0x0a { return try string(Array(bytes.dropLast(bytes.dropLast().last == 0x0d ? 2 : 1)), isBinary: s.isBinary) }
      return bytes.last == 0x0d ? try string(Array(bytes.dropLast()), isBinary: s.isBinary) : .string(s)
    case .chop:
      if bytes.suffix(2) == [0x0d, 0x0a] { return try string(Array(bytes.dropLast(2)), isBinary: s.isBinary) }
      return RubyText.slice(s, 0, max(0, RubyText.count(s) - 1)).map { .string($0) }
    case .chr: return RubyText.slice(s, 0, 1).map { .string($0) }
    case .length, .size: return RubyValue(RubyText.count(s))
    case .bytesize: return RubyValue(bytes.count)
    case .bytes:
      try step(bytes.count)
      return try array(bytes.map { .int(Int64($0)) })
    case .eachByte:
      for byte in bytes { _ = try need(block, method).call(self, .int(Int64(byte))) }
      return .string(s)
    case .chars, .eachChar:
      try step(bytes.count / 4)
      try charge(bytes.count &* 40)
      let characters = try array(RubyText.characters(s).map { .string(RubyString($0, isBinary: s.isBinary)) })
      guard let block else { return characters }
      for character in try list(characters) { _ = try block.call(self, character) }
      return .string(s)
    case .lines, .eachLine:
      let lines = try lines(s, a)
      guard let block else { return try array(lines) }
      for line in lines { _ = try block.call(self, line) }
      return .string(s)
    case .isEmpty: return .bool(bytes.isEmpty)
    case .reverse:
      try charge(bytes.count &* 2)
      if s.isBinary || RubyText.isASCII(bytes) { return .string(RubyString(bytes.reversed(), isBinary: s.isBinary)) }
      return try string(Array(RubyText.characters(s).reversed().joined()))
    case .center, .ljust, .rjust: return try padded(s, method, a)
    case .add:
      try arity(a, 1...1)
      let other = try text(a[0])
      try charge(bytes.count &+ other.count)
      return .string(RubyString(bytes + other, isBinary: s.isBinary))
    case .concat, .shiftLeft:
      var out = bytes
      for value in a {
        if case .int(let code) = value, let scalar = UInt32(exactly: code).flatMap({ UnicodeScalar($0) }) {
          out += Array(String(Character(scalar)).utf8)
        } else {
          let more = try text(value)
          try charge(more.count)
          out += more
        }
      }
      return try string(out, isBinary: s.isBinary)
    case .prepend:
      var out: [UInt8] = []
      for value in a { out += try text(value) }
      try charge(out.count)
      return try string(out + bytes, isBinary: s.isBinary)
    case .replace:
      try arity(a, 1...1)
      return try string(text(a[0]))
    case .clear: return RubyValue([UInt8]())
    case .insert:
      try arity(a, 2...2)
      let at = try integer(a[0])
      let count = RubyText.count(s)
      let place = at < 0 ? at &+ count &+ 1 : at
      guard place >= 0, place <= count else { throw .raise(.indexError, "index \(at) out of string") }
      let offset = RubyText.slice(s, 0, place)?.bytes.count ?? 0
      return try string(Array(bytes[..<offset]) + text(a[1]) + Array(bytes[offset...]), isBinary: s.isBinary)
    case .multiply:
      try arity(a, 1...1)
      let times = try integer(a[0])
      guard times >= 0 else { throw .argument("argument must be non-negative") }
      let (total, overflow) = bytes.count.multipliedReportingOverflow(by: times)
      try charge(overflow ? .max : total)
      return .string(RubyString(Array(repeatElement(bytes, count: bytes.isEmpty ? 0 : times).joined()), isBinary: s.isBinary))
    case .modulo:
      try arity(a, 1...1)
      if case .array(let array) = a[0] { return try string(format(bytes, array.elements)) }
      return try string(format(bytes, [a[0]]))
    case .tr, .trS, .delete, .squeeze, .count: return try translated(s, method, a)
    case .encode, .scrub, .forceEncoding, .b, .encoding, .validEncoding, .asciiOnly: return try encoded(s, method, a, block)
    case .ord:
      guard let first = bytes.first else { throw .argument("empty string") }
      if s.isBinary || first < 0x80 { return .int(Int64(first)) }
      let length = RubyText.step(bytes, 0)
      guard length.isValid, let scalar = String(decoding: bytes[..<length.length], as: UTF8.self).unicodeScalars.first else {
        throw .argument("invalid byte sequence in UTF-8")
      }
      return .int(Int64(scalar.value))
    case .casecmp, .isCasecmp:
      try arity(a, 1...1)
      guard case .string(let other) = a[0] else { throw .type("no implicit conversion of \(a[0].describedClass) into String") }
      let x = RubyCase.convert(s, .downcase)
      let y = RubyCase.convert(other, .downcase)
      return method == .isCasecmp ? .bool(x == y) : RubyValue(RubyValue.order(x, y))
    case .deletePrefix:
      try arity(a, 1...1)
      let prefix = try text(a[0])
      return bytes.starts(with: prefix) ? try string(Array(bytes.dropFirst(prefix.count)), isBinary: s.isBinary) : .string(s)
    case .deleteSuffix:
      try arity(a, 1...1)
      return try string(removingSuffix(bytes, text(a[0])), isBinary: s.isBinary)
    case .byteslice:
      try arity(a, 1...2)
      return try slice(RubyString(bytes, isBinary: true), a).map {
        if case .string(let t) = $0 { .string(RubyString(t.bytes, isBinary: s.isBinary)) } else { $0 }
      } ?? .null
    case .succ, .next: return try string(RubyText.successor(bytes), isBinary: s.isBinary)
    case .unpack1:
      try arity(a, 1...1)
      guard try text(a[0]) == Array("H*".utf8) else { throw .argument("unpack1 supports only 'H*'") }
      return try string(RubyBase64.hex(bytes))
    case .dump: return try string(RubyValue.string(s).inspected)
    default: return try callStringPattern(s, method, a, block)
    }
  }

  private func removingSuffix(_ bytes: [UInt8], _ suffix: [UInt8]) -> [UInt8] {
    bytes.count >= suffix.count && bytes.suffix(suffix.count).elementsEqual(suffix) ? Array(bytes.dropLast(suffix.count)) : bytes
  }

  private func lines(_ s: RubyString, _ a: [RubyValue]) throws(Failure) -> [RubyValue] {
    var chomps = false
    if case .hash(let options)? = a.last { chomps = options[.symbol(Array("chomp".utf8))]?.isTrue ?? false }
    var separator: [UInt8] = [0x0a]
    if case .string(let given)? = a.first, !given.bytes.isEmpty { separator = given.bytes }
    var result: [RubyValue] = []
    var start = 0
    while start < s.bytes.count {
      try step()
      let found = RubyText.find(separator, in: s.bytes, from: start)
      let end = found.map { $0 + separator.count } ?? s.bytes.count
      var line = Array(s.bytes[start..<end])
      if chomps, found != nil {
        line.removeLast(separator.count)
        if separator == [0x0a], line.last == 0x0d { line.removeLast() }
      }
      result.append(try string(line, isBinary: s.isBinary))
      start = end
    }
    return result
  }

  private func padded(_ s: RubyString, _ method: Method, _ a: [RubyValue]) throws(Failure) -> RubyValue {
    try arity(a, 1...2)
    let width = try integer(a[0])
    let pad = a.count > 1 ? try text(a[1]) : [0x20]
    guard !pad.isEmpty else { throw .argument("zero width padding") }
    guard width > 0 else { return .string(s) }
    let missing = width - RubyText.count(s)
    guard missing > 0 else { return .string(s) }
    try charge(missing, each: 4)
    let characters = RubyText.characters(RubyString(pad))
    func fill(_ n: Int) -> [UInt8] {
      var out: [UInt8] = []
      for i in 0..<n { out += characters[i % characters.count] }
      return out
    }
    switch method {
    case .ljust: return try string(s.bytes + fill(missing))
    case .rjust: return try string(fill(missing) + s.bytes)
    default: return try string(fill(missing / 2) + s.bytes + fill(missing - missing / 2))
    }
  }
}

extension RubyText {
  /// `succ` of letters and digits: "a9" gives "b0".
  static func successor(_ bytes: [UInt8]) -> [UInt8] {
    guard let last = bytes.lastIndex(where: { ($0 >= 48 && $0 <= 57) || ($0 | 0x20 >= 0x61 && $0 | 0x20 <= 0x7a) }) else { return bytes }
    var out = bytes
    var at = last
    while true {
      switch out[at] {
      case UInt8(ascii: "9"): out[at] = UInt8(ascii: "0")
      case UInt8(ascii: "z"): out[at] = UInt8(ascii: "a")
      case UInt8(ascii: "Z"): out[at] = UInt8(ascii: "A")
      default:
        out[at] &+= 1
        return out
      }
      let c = out[at]
      guard at > 0, (out[at - 1] >= 48 && out[at - 1] <= 57) || (out[at - 1] | 0x20 >= 0x61 && out[at - 1] | 0x20 <= 0x7a) else {
        out.insert(c == UInt8(ascii: "0") ? UInt8(ascii: "1") : c, at: at)
        return out
      }
      at -= 1
    }
  }
}
