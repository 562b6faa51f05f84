/// Finds the end of embedded code, and has it evaluated by the program that reads the configuration.
enum EmbeddedCode {
  /// Takes `code}` and evaluates it; a mistake is reported at `at` and gives nil.
  static func value(_ cursor: inout ConfigCursor, at: SourceLocation, _ session: ConfigSession) -> EmbeddedResult? {
    guard let code = code(&cursor, session.environment) else {
      session.report(ConfigError(at: at, "'#{' is not closed; add '}', or write \\#{ for the text itself"))
      return nil
    }
    do throws(ConfigValueError) { return try session.environment.evaluate(code, session.environment) } catch {
      let line = code.split { $0.isNewline }.joined(separator: " ")
      session.report(ConfigError(at: at, "\"#{\(line.count > 200 ? line.prefix(200) + "…" : line)}\" \(error.message)"))
      return nil
    }
  }

  /// Braces and quotes say where code ends, except in regular expressions and `%q(…)`: where that is not understood, the
  /// first closing brace that makes it so is taken, as Fluentd does.
  private static func code(_ cursor: inout ConfigCursor, _ environment: ConfigEnvironment) -> String? {
    let start = cursor
    let guess = take(&cursor)
    if let guess, environment.understands(guess) { return guess }
    var end = start
    // Longer code, or more braces, than anybody writes: a bound on the time that a bad text takes.
    for _ in 0..<64 {
      while let c = end.byte, c != UInt8(ascii: "}"), end.at - start.at < 16 << 10 { end.advance(1) }
      guard end.byte == UInt8(ascii: "}") else { break }
      let code = end.text(from: start.at)
      end.advance(1)
      if environment.understands(code) {
        cursor = end
        return code
      }
    }
    return guess
  }

  /// The code up to its closing `}`, which is passed too; nil, with the cursor where it was, when there is none.
  private static func take(_ cursor: inout ConfigCursor) -> String? {
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
