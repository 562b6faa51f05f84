import CPCRE2
import Synchronization

/// A regular expression in Ruby's dialect, compiled once and matched over bytes.
///
/// Text that is UTF-8 is matched by characters, any other text by bytes. `^` and `$` hold at every line, `m` lets the
/// dot match a newline. Where names are given, plain parentheses do not capture. A match runs under a step limit; one
/// that exceeds it counts as no match, and in `limitHits`. May be used from several threads at once.
public struct Regexp: Sendable {
  public struct Options: OptionSet, Hashable, Sendable {
    public let rawValue: Int
    public init(rawValue: Int) { self.rawValue = rawValue }
    public static let ignoreCase = Options(rawValue: 1)
    /// The dot matches a newline too.
    public static let multiline = Options(rawValue: 2)
    /// Blanks and `# comments` in the expression mean nothing.
    public static let extended = Options(rawValue: 4)
  }

  public let source: String
  public let options: Options
  let program: RegexpProgram

  /// Throws with Ruby's reason when the text is no regular expression.
  public init(_ source: String, options: Options = []) throws(ConfigValueError) {
    self.source = source
    self.options = options
    program = try RegexpProgram(source, options)
  }

  /// Reads `/…/imx`.
  public init(literal text: String) throws(ConfigValueError) {
    guard text.utf8.first == UInt8(ascii: "/"), let end = text.utf8.lastIndex(of: UInt8(ascii: "/")), end > text.startIndex else {
      throw ConfigValueError("invalid regexp: missing slash: \(text)")
    }
    var options: Options = []
    for letter in text[end...].dropFirst() {
      switch letter {
      case "i": options.insert(.ignoreCase)
      case "m": options.insert(.multiline)
      case "x": options.insert(.extended)
      default: throw ConfigValueError("invalid regexp: unknown option '\(letter)': \(text)")
      }
    }
    try self.init(String(text[text.index(after: text.startIndex)..<end]), options: options)
  }

  /// The names in the order they stand; each once.
  public var names: [String] { program.names }
  /// Capturing groups, the whole match not counted.
  public var captureCount: Int { program.captureCount }
  /// How often a match was given up at the step limit.
  public var limitHits: Int { program.limitHits.load(ordering: .relaxed) }

  /// One match by itself; a loop takes a `matcher()` before it.
  public func matches(_ bytes: UnsafeRawBufferPointer) -> Bool {
    var matcher = matcher()
    return matcher.match(bytes)
  }
  public func matches(_ text: String) -> Bool {
    var text = text
    return text.withUTF8 { matches(UnsafeRawBufferPointer($0)) }
  }

  /// Room for captures, borrowed from a pool: take one a batch, not one an event.
  public func matcher() -> RegexpMatcher { RegexpMatcher(program) }
}

extension Regexp: ConfigReadable {
  public static var configType: String { "regexp" }

  /// Fluentd's rule: `/…/` with the options `i` and `m`, else the text itself.
  public init(configText text: String, strict: Bool) throws(ConfigValueError) {
    let bytes = text.utf8
    guard bytes.first == UInt8(ascii: "/") else {
      try self.init(text)
      return
    }
    guard let end = bytes.lastIndex(of: UInt8(ascii: "/")), end > text.startIndex,
      bytes.distance(from: end, to: text.endIndex) <= 3
    else {
      throw ConfigValueError("invalid regexp: missing right slash: \(text)")
    }
    var options: Options = []
    if text[end...].contains("i") { options.insert(.ignoreCase) }
    if text[end...].contains("m") { options.insert(.multiline) }
    try self.init(String(text[text.index(after: text.startIndex)..<end]), options: options)
  }

  public var configText: String {
    "/\(source)/" + (options.contains(.ignoreCase) ? "i" : "") + (options.contains(.multiline) ? "m" : "")
  }
}
