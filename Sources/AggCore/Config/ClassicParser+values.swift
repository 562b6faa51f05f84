extension ClassicParser {
  /// A quoted text with the cursor on its quote; nil when mistakes inside it were reported and the text was passed over.
  mutating func quoted() throws(ConfigError) -> ConfigElement.Value? {
    cursor.byte == UInt8(ascii: "'") ? try singleQuoted() : try doubleQuoted()
  }

  /// Only `\'` and `\\` mean something, and the text ends on its line.
  private mutating func singleQuoted() throws(ConfigError) -> ConfigElement.Value {
    let at = cursor.location
    var out: [UInt8] = []
    cursor.advance(1)
    while let c = cursor.byte, !cursor.isAtLineEnd {
      cursor.advance(1)
      if c == UInt8(ascii: "'") { return .text(String(decoding: out, as: UTF8.self)) }
      if c == UInt8(ascii: "\\"), let next = cursor.byte, next == UInt8(ascii: "'") || next == UInt8(ascii: "\\") {
        out.append(next)
        cursor.advance(1)
      } else {
        out.append(c)
      }
    }
    throw ConfigError(at: at, "a single-quoted text is not closed on its line; add ' (inside it write \\' and \\\\), or use double quotes for several lines")
  }

  /// Escapes, `#{…}`, line breaks (kept; a backslash before one removes it).
  private mutating func doubleQuoted() throws(ConfigError) -> ConfigElement.Value? {
    let start = cursor
    var out: [UInt8] = []
    var special: EmbeddedResult?
    var isGood = true
    cursor.advance(1)
    while let c = cursor.byte {
      let at = cursor.location
      cursor.advance(1)
      switch c {
      case UInt8(ascii: "\""):
        guard isGood else { return nil }
        switch special {
        case .useNil?: return .useNil
        case .useDefault?: return .useDefault
        default: return .text(String(decoding: out, as: UTF8.self))
        }
      case UInt8(ascii: "\\"):
        guard let next = cursor.byte else { break }
        cursor.advance(1)
        if next == 0x0d, cursor.byte == 0x0a { cursor.advance(1) }
        if next == 0x0a || next == 0x0d { continue }
        if let byte = Self.escape(next) { out.append(byte) } else {
          isGood = false
          session.report(ConfigError(at: at, "'\\\(UnicodeScalar(next))' is no escape in double quotes; write \\\\\(UnicodeScalar(next)) for a backslash, or use single quotes"))
        }
      case UInt8(ascii: "#") where cursor.byte == UInt8(ascii: "{"):
        cursor.advance(1)
        switch EmbeddedCode.value(&cursor, at: at, session) {
        case nil: isGood = false
        case .text(let text)?: out += Array(text.utf8)
        case .useNil?: special = .useNil
        case .useDefault?: if special == nil { special = .useDefault }
        }
      case 0x0d where cursor.byte == 0x0a: break
      default: out.append(c)
      }
    }
    cursor = start
    throw ConfigError(at: start.location, "a double-quoted text is not closed; add \" at its end (inside it write \\\")")
  }

  /// The byte that `\c` stands for; nil for letters and digits without a meaning.
  static func escape(_ c: UInt8) -> UInt8? {
    switch c {
    case UInt8(ascii: "n"): 0x0a
    case UInt8(ascii: "t"): 0x09
    case UInt8(ascii: "r"): 0x0d
    case UInt8(ascii: "f"): 0x0c
    case UInt8(ascii: "b"): 0x08
    case UInt8(ascii: "0"): 0
    case 0x30...0x39, 0x41...0x5a, 0x61...0x7a: nil
    default: c
    }
  }

  // MARK: JSON

  /// An array or hash, over as many lines as its brackets take. `#` starts a comment outside strings; `#{…}` is
  /// replaced before the JSON is read, so its value may be any piece of JSON (Fluentd's rule).
  mutating func json(of name: String) throws(ConfigError) -> ConfigElement.Value? {
    let start = cursor
    let isArray = cursor.byte == UInt8(ascii: "[")
    let what = isArray ? "array" : "hash"
    var clean: [UInt8] = []
    var depth = 0
    var inString = false
    var isGood = true
    var lastSignificant: UInt8 = 0
    var brokeLine = false

    scan: while let c = cursor.byte {
      let at = cursor.location
      if c == UInt8(ascii: "#") {
        let isCode = cursor.byte(1) == UInt8(ascii: "{") && cursor.byte(2) != nil && cursor.byte(2) != UInt8(ascii: "}")
        if isCode, inString || depth > 1 || lastSignificant == UInt8(ascii: ":") || (lastSignificant == UInt8(ascii: ",") && brokeLine) {
          cursor.advance(2)
          switch EmbeddedCode.value(&cursor, at: at, session) {
          case nil: isGood = false
          case .text(let text)?: clean += Array(text.utf8)
          case .useNil?, .useDefault?:
            isGood = false
            session.report(ConfigError(at: at, "use_nil and use_default cannot stand inside an \(what); use them for the whole value of '\(name)'"))
          }
          lastSignificant = c
          continue
        }
        if !inString {
          cursor.skipLine()
          continue
        }
      }
      if !inString, c == UInt8(ascii: "/"), cursor.byte(1) == UInt8(ascii: "/") {
        cursor.skipLine()
        continue
      }
      cursor.advance(1)
      clean.append(c)
      if inString {
        if c == UInt8(ascii: "\\"), let next = cursor.byte {
          clean.append(next)
          cursor.advance(1)
        } else if c == UInt8(ascii: "\"") {
          inString = false
        }
        continue
      }
      switch c {
      case UInt8(ascii: "\""): inString = true
      case UInt8(ascii: "["), UInt8(ascii: "{"): depth += 1
      case UInt8(ascii: "]"), UInt8(ascii: "}"):
        depth -= 1
        if depth == 0 { break scan }
      case 0x0a: brokeLine = true
      default: break
      }
      if c != 0x20 && c != 0x09 && c != 0x0a && c != 0x0d {
        lastSignificant = c
        brokeLine = false
      }
    }
    let quoteIt = "if '\(name)' is meant as text, put quotes around it"
    guard depth == 0, cursor.at > start.at else {
      cursor = start
      throw ConfigError(at: start.location, "the \(what) of '\(name)' is not closed; add '\(isArray ? "]" : "}")'; \(quoteIt)")
    }
    guard isGood else { return nil }
    do throws(ConfigJSON.Mistake) { return .text(try ConfigJSON.parse(clean).json) } catch {
      let line = clean[..<min(error.offset, clean.count)].reduce(start.line) { $1 == 0x0a ? $0 + 1 : $0 }
      throw ConfigError(at: SourceLocation(file: cursor.file, line: line), "the \(what) of '\(name)' is not valid JSON: \(error.message); \(quoteIt)")
    }
  }
}
