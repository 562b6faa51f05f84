import AggCore

extension Bindings {
  /// `JSON.parse(text, symbolize_names: true)`.
  func parsedJSON(_ a: [RubyValue], isLenient: Bool) throws(Failure) -> RubyValue {
    try arity(a, 1...2)
    if isLenient, a[0].isNull { return .null }
    let bytes = try text(a[0])
    try charge(bytes.count &* 8)
    try step(bytes.count / 64)
    guard let value = bytes.withUnsafeBytes({ JSONTranscoder.decode($0) }) else {
      let start = String(decoding: bytes.prefix(60), as: UTF8.self)
      throw .raise(.parserError, bytes.isEmpty ? "unexpected end of input" : "unexpected token at '\(start)'")
    }
    var symbolizes = false
    if a.count > 1, case .hash(let options) = a[1] { symbolizes = options[.symbol(Array("symbolize_names".utf8))]?.isTrue ?? false }
    return try imported(value, symbolizes, 0)
  }

  private func imported(_ value: Value, _ symbolizes: Bool, _ depth: Int) throws(Failure) -> RubyValue {
    guard depth < RubyValue.maximumDepth else { throw Failure.tooDeep }
    switch value {
    case .array(let elements):
      var result: [RubyValue] = []
      for element in elements { result.append(try imported(element, symbolizes, depth + 1)) }
      return try array(result)
    case .map(let map):
      let hash = try newHash()
      for field in map.fields {
        let key = RubyValue(field.key)
        try set(hash, symbolizes ? .symbol(key.displayBytes) : key, imported(field.value, symbolizes, depth + 1))
      }
      return .hash(hash)
    default: return RubyValue(value)
    }
  }

  /// `to_json`, as Ruby's json writes it.
  func json(_ value: RubyValue, isPretty: Bool = false) throws(Failure) -> [UInt8] {
    var out = ByteWriter(capacity: 256)
    try json(value, isPretty, &out, 0)
    return out.array
  }

  private func json(_ value: RubyValue, _ isPretty: Bool, _ out: inout ByteWriter, _ depth: Int) throws(Failure) {
    guard depth <= 100 else { throw .raise(.generatorError, "nesting of \(depth) is too deep") }
    func line(_ out: inout ByteWriter, _ depth: Int) { if isPretty { out.append("\n" + String(repeating: "  ", count: depth)) } }
    switch value {
    case .null: out.append("null" as StaticString)
    case .bool, .int, .uint: value.display(into: &out)
    case .double(let number):
      guard number.isFinite else {
        throw .raise(.generatorError, "\(number.isNaN ? "NaN" : number < 0 ? "-Infinity" : "Infinity") not allowed in JSON")
      }
      RubyValue.display(number, into: &out)
    case .string(let text): try quoted(text.bytes, &out)
    case .symbol(let bytes): try quoted(bytes, &out)
    case .array(let array):
      out.append("[" as StaticString)
      for (i, element) in array.elements.enumerated() {
        try step()
        if i > 0 { out.append("," as StaticString) }
        line(&out, depth + 1)
        try json(element, isPretty, &out, depth + 1)
      }
      if !array.elements.isEmpty { line(&out, depth) }
      out.append("]" as StaticString)
    case .hash(let hash):
      out.append("{" as StaticString)
      var isFirst = true
      for (key, element) in hash.pairs {
        try step()
        if !isFirst { out.append("," as StaticString) }
        isFirst = false
        line(&out, depth + 1)
        try quoted(key.displayBytes, &out)
        out.append(isPretty ? ": " : ":" as StaticString)
        try json(element, isPretty, &out, depth + 1)
      }
      if !isFirst { line(&out, depth) }
      out.append("}" as StaticString)
    default: try quoted(value.displayBytes, &out)
    }
  }

  private func quoted(_ bytes: [UInt8], _ out: inout ByteWriter) throws(Failure) {
    guard RubyText.isValid(bytes) else { throw .raise(.generatorError, "source sequence is illegal/malformed utf-8") }
    try charge(bytes.count)
    let hex = Array("0123456789abcdef".utf8)
    out.append(0x22 as UInt8)
    for c in bytes {
      switch c {
      case 0x22: out.append("\\\"" as StaticString)
      case 0x5c: out.append("\\\\" as StaticString)
      case 0x0a: out.append("\\n" as StaticString)
      case 0x0d: out.append("\\r" as StaticString)
      case 0x09: out.append("\\t" as StaticString)
      case 0x0c: out.append("\\f" as StaticString)
      case 0x08: out.append("\\b" as StaticString)
      case 0..<0x20:
        out.append("\\u00" as StaticString)
        out.append(hex[Int(c >> 4)])
        out.append(hex[Int(c & 15)])
      default: out.append(c)
      }
    }
    out.append(0x22 as UInt8)
  }
}
