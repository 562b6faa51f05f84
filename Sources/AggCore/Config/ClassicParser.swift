/// Fluentd's v1 language: `<section argument>`, `name value` lines, `#` comments, `@include`.
///
/// One pass without recursion; after a mistake it goes on with the next line, so that one run reports them all.
struct ClassicParser {
  /// A section left open deeper than this is a mistake, and the tree stays safe to walk recursively.
  static let depthLimit = 64

  var cursor: ConfigCursor
  let session: ConfigSession
  private var frames: [ConfigFrame]
  private var tooDeep = false

  /// Adds a file's lines and sections to a section (or the root); mistakes go to the session.
  static func read(_ bytes: [UInt8], file: String, into frame: inout ConfigFrame, _ session: ConfigSession) {
    if let line = ConfigCursor.firstInvalidLine(bytes) {
      return session.report(ConfigError(at: SourceLocation(file: file, line: line), "is not UTF-8 text; save the file as UTF-8"))
    }
    var parser = ClassicParser(cursor: ConfigCursor(bytes, file: file), session: session, frames: [frame])
    parser.run()
    frame = parser.frames[0]
  }

  private init(cursor: ConfigCursor, session: ConfigSession, frames: [ConfigFrame]) {
    self.cursor = cursor
    self.session = session
    self.frames = frames
  }

  private mutating func run() {
    while !tooDeep, !session.isFull {
      cursor.skipSpaceAndComments()
      guard let byte = cursor.byte else { break }
      let start = cursor
      do throws(ConfigError) {
        if byte != UInt8(ascii: "<") { try parameter() } else if cursor.byte(1) == UInt8(ascii: "/") { try closeTag() } else { try openTag() }
      } catch {
        session.report(error)
        if cursor.at <= start.at { cursor = start }
        cursor.skipLine()
      }
    }
    while frames.count > 1 { reportUnclosed(hint: nil) }
  }

  /// Pops the innermost section and says where it was opened.
  private mutating func reportUnclosed(hint: String?) {
    let element = frames.removeLast().element
    let top = ["source", "match", "filter", "label", "system", "worker"]
    var remedy = hint ?? "add </\(element.name)>"
    if hint == nil, element.name != "label", element.name != "worker", let child = element.children.first(where: { top.contains($0.name) }) {
      remedy += " before <\(child.name)> at line \(child.at.line)"
    }
    if !tooDeep { session.report(ConfigError(at: element.at, "<\(element.name)> is never closed; \(remedy)")) }
    frames[frames.count - 1].element.children.append(element)
  }

  // MARK: Sections

  private mutating func openTag() throws(ConfigError) {
    let at = cursor.location
    cursor.advance(1)
    let name = cursor.takeName()
    guard !name.isEmpty else { throw ConfigError(at: at, "a section's name is missing after '<'; write <name> or <name argument>") }
    guard frames.count <= Self.depthLimit else {
      tooDeep = true
      throw ConfigError(at: at, "<\(name)> is nested more than \(Self.depthLimit) sections deep; close the sections before it")
    }
    cursor.skipBlanks()
    var argument = ""
    var mistake: ConfigError?
    if cursor.byte == UInt8(ascii: "\"") || cursor.byte == UInt8(ascii: "'") {
      do throws(ConfigError) {
        if case .text(let text)? = try quoted() { argument = text }
      } catch { mistake = error }
    } else {
      argument = cursor.takeArgument()
    }
    if mistake == nil {
      var next = cursor
      next.skipSpaceAndComments()
      if next.byte == UInt8(ascii: ">") {
        cursor = next
        cursor.advance(1)
        if !cursor.skipLineEnd() {
          let rest = cursor.restOfLine
          cursor.skipLine()
          session.report(ConfigError(at: at, "'\(rest)' follows <\(name)> on its line; put it on a line of its own"))
          if rest.hasSuffix("</\(name)>") { return }
        }
      } else {
        mistake = ConfigError(at: at, "<\(name) has no closing '>'; write <\(argument.isEmpty ? name : "\(name) \(argument)")>")
      }
    }
    if let mistake {
      session.report(mistake)
      cursor.skipLine()
    }
    frames.append(ConfigFrame(ConfigElement(name: name, argument: argument, at: at)))
  }

  private mutating func closeTag() throws(ConfigError) {
    let at = cursor.location
    cursor.advance(2)
    let name = cursor.takeName()
    cursor.skipBlanks()
    if cursor.byte == UInt8(ascii: ">") {
      cursor.advance(1)
      if !cursor.skipLineEnd() {
        session.report(ConfigError(at: at, "'\(cursor.restOfLine)' follows </\(name)> on its line; put it on a line of its own"))
        cursor.skipLine()
      }
    } else {
      session.report(ConfigError(at: at, "</\(name) has no closing '>'; write </\(name)>"))
      cursor.skipLine()
    }
    let open = frames[frames.count - 1].element
    if frames.count > 1, open.name == name {
      frames.removeLast()
      frames[frames.count - 1].element.children.append(open)
      return
    }
    guard frames.count > 1 else {
      return session.report(ConfigError(at: at, "</\(name)> closes nothing: no section is open here; remove it or add <\(name)> before it"))
    }
    if frames.dropFirst().contains(where: { $0.element.name == name }) {
      while frames.count > 1, frames[frames.count - 1].element.name != name { reportUnclosed(hint: "add </\(frames[frames.count - 1].element.name)> before </\(name)> at line \(at.line)") }
      let closed = frames.removeLast().element
      frames[frames.count - 1].element.children.append(closed)
      return
    }
    session.report(ConfigError(at: at, "</\(name)> does not close <\(open.name)> of line \(open.at.line); write </\(open.name)>"))
    // A mistyped name closes what it was meant for; an unrelated one is passed over.
    if nearest(name, [open.name]) != nil {
      frames.removeLast()
      frames[frames.count - 1].element.children.append(open)
    }
  }

  // MARK: Parameters

  private static let reserved: Set<String> = ["@type", "@id", "@label", "@log_level"]
  private static let strictSections: Set<String> = ["match", "source", "filter", "system"]

  private mutating func parameter() throws(ConfigError) {
    let at = cursor.location
    let name: String
    if cursor.byte == UInt8(ascii: "\"") || cursor.byte == UInt8(ascii: "'") {
      guard case .text(let text)? = try quoted(), !text.isEmpty else { throw ConfigError(at: at, "a parameter's name is empty") }
      guard cursor.isAtSpace else { throw ConfigError(at: at, "a blank is missing after \"\(text)\"") }
      name = text
    } else {
      name = cursor.takeWord()
    }
    cursor.skipBlanks()
    let isRoot = frames.count == 1
    if name == "@include" || (name == "include" && isRoot) { return try include(name, at: at) }
    if name.hasPrefix("@"), !Self.reserved.contains(name) {
      if isRoot || Self.strictSections.contains(frames[frames.count - 1].element.name) {
        session.report(ConfigError(at: at, "'\(name)' cannot be used: '@' is kept for \(Self.reserved.sorted().joined(separator: ", ")) and @include; remove the '@'"))
        _ = try value(of: name)
        return
      }
      session.warnings.add(at, "'\(name)' starts with '@', which is reserved; Fluentd may reject it in the future")
    }
    guard let value = try value(of: name) else { return }
    frames[frames.count - 1].set(ConfigElement.Entry(name: name, value: value, at: at), session.warnings)
  }

  /// A value and the end of its line; nil when mistakes were reported already.
  private mutating func value(of name: String) throws(ConfigError) -> ConfigElement.Value? {
    let start = cursor
    let value: ConfigElement.Value?
    switch cursor.byte {
    case nil, 0x0a, 0x0d: return .text("")
    case UInt8(ascii: "["), UInt8(ascii: "{"): value = try json(of: name)
    case UInt8(ascii: "\""), UInt8(ascii: "'"): value = try quoted()
    default: return .text(cursor.takeBare())
    }
    guard cursor.skipLineEnd() else {
      let rest = cursor.restOfLine
      let opened = cursor.line == start.line ? "" : " (opened at line \(start.line))"
      let what = start.byte == UInt8(ascii: "[") ? "array" : start.byte == UInt8(ascii: "{") ? "hash" : "quoted text"
      let error = ConfigError(at: cursor.location, "'\(rest)' follows the \(what)\(opened) of '\(name)'; put quotes around the whole value, or '#' before a comment")
      if cursor.line != start.line, what == "quoted text" { cursor = start }
      throw error
    }
    return value
  }

  private mutating func include(_ name: String, at: SourceLocation) throws(ConfigError) {
    if name == "include" { session.warnings.add(at, "'include' is deprecated: write @include") }
    let pattern: String
    switch cursor.byte {
    case nil, 0x0a, 0x0d: throw ConfigError(at: at, "@include names no file; write @include path")
    case UInt8(ascii: "\""), UInt8(ascii: "'"):
      guard let value = try quoted() else { return }
      guard case .text(let text) = value, !text.isEmpty else { throw ConfigError(at: at, "@include names no file; write @include path") }
      pattern = text
      guard cursor.skipLineEnd() else { throw ConfigError(at: at, "'\(cursor.restOfLine)' follows the path of @include; remove it") }
    default: pattern = cursor.takeBare()
    }
    let session = self.session
    var frame = frames.removeLast()
    session.include(pattern, at: at) { path, bytes in ClassicParser.read(bytes, file: path, into: &frame, session) }
    frames.append(frame)
  }
}
