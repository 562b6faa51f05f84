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
    case .ext(let ext) where ext.eventTime != nil: value.display(into: &out)
    default: try quoted(value.displayBytes, &out)
    }
  }

  private func quoted(_ bytes: [UInt8], _ out: inout ByteWriter) throws(Failure) {
    try charge(bytes.count)
    guard bytes.withUnsafeBytes({ RubyJSON.quote($0, into: &out) }) else { throw RubyJSON.malformed }
  }

  /// `record.to_json` straight from the bytes.
  func recordJSON(_ record: RecordView) throws(Failure) -> RubyValue {
    var out = ByteWriter(capacity: 1024)
    guard RubyJSON.write(record.value, into: &out, 0) else {
      // By calls, which say why.
      return try string(json(.hash(self.record)))
    }
    return try string(out.array)
  }
}

/// `record.to_json`.
final class RecordJSONNode: Node, @unchecked Sendable {
  let fallback: Node
  init(_ fallback: Node) { self.fallback = fallback }
  override func evaluate(_ m: Bindings) throws(Failure) -> RubyValue {
    guard let record = m.untouchedRecord else { return try fallback.evaluate(m) }
    return try m.recordJSON(record)
  }
}

/// JSON as Ruby's json writes it.
enum RubyJSON {
  static let malformed = Failure.raise(.generatorError, "source sequence is illegal/malformed utf-8")
  private static let hex = Array("0123456789abcdef".utf8)

  /// False for what is not UTF-8.
  static func quote(_ bytes: UnsafeRawBufferPointer, into out: inout ByteWriter) -> Bool {
    guard UTF8Text.isValid(bytes) else { return false }
    out.append(0x22 as UInt8)
    var start = 0
    var i = 0
    while i < bytes.count {
      let c = bytes[i]
      if c >= 0x20, c != 0x22, c != 0x5c {
        i &+= 1
        continue
      }
      out.append(UnsafeRawBufferPointer(rebasing: bytes[start..<i]))
      switch c {
      case 0x22: out.append("\\\"" as StaticString)
      case 0x5c: out.append("\\\\" as StaticString)
      case 0x0a: out.append("\\n" as StaticString)
      case 0x0d: out.append("\\r" as StaticString)
      case 0x09: out.append("\\t" as StaticString)
      case 0x0c: out.append("\\f" as StaticString)
      case 0x08: out.append("\\b" as StaticString)
      default:
        out.append("\\u00" as StaticString)
        out.append(hex[Int(c >> 4)])
        out.append(hex[Int(c & 15)])
      }
      i &+= 1
      start = i
    }
    out.append(UnsafeRawBufferPointer(rebasing: bytes[start...]))
    out.append(0x22 as UInt8)
    return true
  }

  /// False for what the slow way must look at: extensions, keys that are no text, a key that comes twice, too deep, not a number.
  static func write(_ view: ValueView, into out: inout ByteWriter, _ depth: Int) -> Bool {
    guard depth < 64 else { return false }
    switch view.kind {
    case .null: out.append("null" as StaticString)
    case .bool: out.append(view.bool == true ? "true" : "false" as StaticString)
    case .int: out.putDecimal(view.int64 ?? 0)
    case .uint: out.putDecimal(view.uint64 ?? 0)
    case .double:
      guard let value = view.double, value.isFinite else { return false }
      RubyValue.display(value, into: &out)
    case .string, .binary:
      guard let bytes = view.textBytes else { return false }
      return quote(bytes, into: &out)
    case .array:
      out.append("[" as StaticString)
      var isFirst = true
      var isWritten = true
      view.forEachElement { element in
        guard isWritten else { return }
        if !isFirst { out.append("," as StaticString) }
        isFirst = false
        isWritten = write(element, into: &out, depth + 1)
      }
      guard isWritten else { return false }
      out.append("]" as StaticString)
    case .map:
      guard let map = view.map, map.fieldCount <= 64 else { return false }
      out.append("{" as StaticString)
      var isFirst = true
      var cursor = map.fields
      while let (key, value) = cursor.next() {
        guard let name = key.stringBytes, map.find(name)?.pointer == value.pointer else { return false }
        if !isFirst { out.append("," as StaticString) }
        isFirst = false
        guard quote(name, into: &out) else { return false }
        out.append(":" as StaticString)
        guard write(value, into: &out, depth + 1) else { return false }
      }
      out.append("}" as StaticString)
    case .ext: return false
    }
    return true
  }
}
