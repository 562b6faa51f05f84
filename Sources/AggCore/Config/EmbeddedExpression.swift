/// Evaluates what stands in `#{…}`: the part of Ruby that configurations use for hosts, workers and variables.
///
/// `ENV['X']`, `ENV.fetch('X', 'default')`, `hostname`, `Socket.gethostname`, `worker_id`, `use_nil`, `use_default`,
/// strings, integers, `nil`, `||`, `+`, parentheses, and `.to_s .to_i .upcase .downcase .strip`. A nil result is an empty text.
public func evaluateEmbedded(_ code: String, _ environment: ConfigEnvironment) throws(ConfigValueError) -> EmbeddedResult {
  var reader = EmbeddedReader(Array(code.utf8), environment, depth: 0)
  reader.space()
  if reader.isAtEnd { return .text("") }
  do throws(EmbeddedReader.Stop) {
    let value = try reader.alternatives(runs: true)
    reader.space()
    guard reader.isAtEnd else { throw .error(reader.unsupported) }
    return .text(value.text)
  } catch {
    switch error {
    case .useNil: return .useNil
    case .useDefault: return .useDefault
    case .error(let message): throw ConfigValueError(message)
    }
  }
}

/// Finds the end of embedded code.
enum EmbeddedCode {
  /// The code up to its closing `}`, which is passed too; nil, with the cursor where it was, when there is none.
  static func take(_ cursor: inout ConfigCursor) -> String? {
    let start = cursor
    var closers: [UInt8] = [UInt8(ascii: "}")]
    while let c = cursor.byte, let closer = closers.last {
      cursor.advance(1)
      let inString = closer != UInt8(ascii: "}")
      if c == closer {
        closers.removeLast()
        if closers.isEmpty { return String(decoding: start.bytes[start.at..<cursor.at - 1], as: UTF8.self) }
      } else if inString {
        if c == UInt8(ascii: "\\") { cursor.advance(1) }
        if c == UInt8(ascii: "#"), closer == UInt8(ascii: "\""), cursor.byte == UInt8(ascii: "{") {
          cursor.advance(1)
          closers.append(UInt8(ascii: "}"))
        }
      } else if c == UInt8(ascii: "'") || c == UInt8(ascii: "\"") {
        closers.append(c)
      } else if c == UInt8(ascii: "{") {
        closers.append(UInt8(ascii: "}"))
      }
      if closers.count > 32 { break }
    }
    cursor = start
    return nil
  }
}

private struct EmbeddedReader {
  enum Stop: Error {
    case useNil
    case useDefault
    case error(String)
  }
  enum Value {
    case none
    case text(String)
    case integer(Int)
    case bool(Bool)

    var text: String {
      switch self {
      case .none: ""
      case .text(let text): text
      case .integer(let value): String(value)
      case .bool(let value): String(value)
      }
    }
    var isTrue: Bool {
      switch self {
      case .none, .bool(false): false
      default: true
      }
    }
    var word: String {
      switch self {
      case .none: "nil"
      case .text: "a string"
      case .integer: "an integer"
      case .bool: "true or false"
      }
    }
  }

  let bytes: [UInt8]
  let environment: ConfigEnvironment
  var at = 0
  /// Parentheses, arguments and nested strings; 32 is beyond any real configuration.
  var depth: Int

  init(_ bytes: [UInt8], _ environment: ConfigEnvironment, depth: Int) {
    self.bytes = bytes
    self.environment = environment
    self.depth = depth
  }

  var byte: UInt8? { at < bytes.count ? bytes[at] : nil }
  var isAtEnd: Bool { at >= bytes.count }
  let unsupported =
    "is not understood; supported are ENV['X'], ENV.fetch('X', 'default'), hostname, worker_id, use_nil, use_default, "
    + "strings, integers, ||, + and .to_s .to_i .upcase .downcase .strip"

  mutating func space() { while let c = byte, c == 0x20 || (c >= 0x09 && c <= 0x0d) { _ = c; at += 1 } }

  mutating func take(_ text: StaticString) -> Bool {
    space()
    let wanted = Array(text.description.utf8)
    guard bytes.count - at >= wanted.count, bytes[at..<at + wanted.count].elementsEqual(wanted) else { return false }
    at += wanted.count
    return true
  }

  mutating func word() -> String {
    let start = at
    while let c = byte, c == UInt8(ascii: "_") || c >= 0x80 || (c >= 0x30 && c <= 0x39) || (c | 0x20 >= 0x61 && c | 0x20 <= 0x7a) { _ = c; at += 1 }
    return String(decoding: bytes[start..<at], as: UTF8.self)
  }

  /// `runs` is false on the side of `||` that Ruby would not evaluate: it is only checked for being understood.
  mutating func alternatives(runs: Bool) throws(Stop) -> Value {
    depth += 1
    defer { depth -= 1 }
    guard depth <= 32 else { throw .error("is nested too deep") }
    var value = try sum(runs: runs)
    while take("||") {
      let isNeeded = runs && !value.isTrue
      let other = try sum(runs: isNeeded)
      if isNeeded { value = other }
    }
    return value
  }

  mutating func sum(runs: Bool) throws(Stop) -> Value {
    var value = try postfix(runs: runs)
    while take("+") {
      let other = try postfix(runs: runs)
      guard runs else { continue }
      switch (value, other) {
      case (.text(let a), .text(let b)): value = .text(a + b)
      case (.integer(let a), .integer(let b)):
        let (result, overflow) = a.addingReportingOverflow(b)
        if overflow { throw .error("adds up to more than 64 bits") }
        value = .integer(result)
      default: throw .error("adds \(value.word) and \(other.word); '+' takes two strings or two integers (use .to_s or .to_i)")
      }
    }
    return value
  }

  mutating func postfix(runs: Bool) throws(Stop) -> Value {
    var value = try primary(runs: runs)
    while take(".") {
      space()
      let method = word()
      if take("("), !take(")") { throw .error(unsupported) }
      switch (method, value) {
      case ("to_s", _): value = .text(value.text)
      case ("to_i", .none): value = .integer(0)
      case ("to_i", .integer): break
      case ("to_i", .text(let text)): value = .integer(RubyNumber.integerPrefix(text) ?? (text.contains("-") ? Int.min : Int.max))
      case ("upcase", .text(let text)): value = .text(text.uppercased())
      case ("downcase", .text(let text)): value = .text(text.lowercased())
      case ("strip", .text(let text)): value = .text(RubyNumber.strip(text))
      case ("upcase", _), ("downcase", _), ("strip", _):
        if runs { throw .error("calls .\(method) on \(value.word), which has none; give a default with || before it") }
      default: throw .error(unsupported)
      }
    }
    return value
  }

  mutating func primary(runs: Bool) throws(Stop) -> Value {
    space()
    guard let c = byte else { throw .error(unsupported) }
    switch c {
    case UInt8(ascii: "'"), UInt8(ascii: "\""): return .text(try string(runs: runs))
    case UInt8(ascii: "("):
      at += 1
      let value = try alternatives(runs: runs)
      guard take(")") else { throw .error(unsupported) }
      return value
    case UInt8(ascii: "-"), 0x30...0x39:
      let start = at
      at += 1
      let digits = word()
      let text = (c == UInt8(ascii: "-") ? "-" : String(UnicodeScalar(c))) + digits
      guard let value = Int(text.filter { $0 != "_" }) else {
        at = start
        throw .error(unsupported)
      }
      return .integer(value)
    default: break
    }
    switch word() {
    case "ENV": return try environmentVariable(runs: runs)
    case "hostname": return .text(environment.hostname)
    case "Socket":
      guard take("."), word() == "gethostname" else { throw .error(unsupported) }
      return .text(environment.hostname)
    case "worker_id": return .text(environment.workerID.map(String.init) ?? "")
    case "use_nil":
      if runs { throw .useNil }
      return .none
    case "use_default":
      if runs { throw .useDefault }
      return .none
    case "nil": return .none
    case "true": return .bool(true)
    case "false": return .bool(false)
    default: throw .error(unsupported)
    }
  }

  mutating func environmentVariable(runs: Bool) throws(Stop) -> Value {
    if take("[") {
      let name = try alternatives(runs: runs)
      guard take("]") else { throw .error(unsupported) }
      return environment.variables[name.text].map { .text($0) } ?? .none
    }
    guard take("."), word() == "fetch", take("(") else { throw .error(unsupported) }
    let name = try alternatives(runs: runs)
    let found = environment.variables[name.text]
    var fallback: Value?
    if take(",") { fallback = try alternatives(runs: runs && found == nil) }
    guard take(")") else { throw .error(unsupported) }
    if take("{") {
      fallback = try alternatives(runs: runs && found == nil)
      guard take("}") else { throw .error(unsupported) }
    }
    if let found { return .text(found) }
    if let fallback { return fallback }
    if runs { throw .error("needs the environment variable \(name.text), which is not set; set it, or write ENV.fetch('\(name.text)', 'default')") }
    return .none
  }

  mutating func string(runs: Bool) throws(Stop) -> String {
    guard let quote = byte else { throw .error(unsupported) }
    at += 1
    var out: [UInt8] = []
    while let c = byte {
      at += 1
      if c == quote { return String(decoding: out, as: UTF8.self) }
      if c == UInt8(ascii: "\\"), let next = byte {
        at += 1
        if quote == UInt8(ascii: "\"") { out.append(ClassicParser.escape(next) ?? next) } else {
          if next != UInt8(ascii: "'"), next != UInt8(ascii: "\\") { out.append(c) }
          out.append(next)
        }
      } else if c == UInt8(ascii: "#"), quote == UInt8(ascii: "\""), byte == UInt8(ascii: "{") {
        at += 1
        let value = try alternatives(runs: runs)
        guard take("}") else { throw .error(unsupported) }
        out += Array(value.text.utf8)
      } else {
        out.append(c)
      }
    }
    throw .error(unsupported)
  }
}
