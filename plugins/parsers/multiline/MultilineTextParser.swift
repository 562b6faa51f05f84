public import AggCore

/// Events that span lines: one expression in parts, and one for an event's first line.
public struct MultilineTextParser: MultilineParser {
  static let maximumFormats = 20
  public struct Config: ParseConfigurable {
    public var time = TimeParameters()
    public var parse = ParseParameters(timeKey: "time")
    var firstLine: String?
    var unmatchedLines: String?
    var formats = [String?](repeating: nil, count: MultilineTextParser.maximumFormats)
    public init() {}
    public static let parameters: [Parameter<Self>] =
      [
        .optional("format_firstline", \.firstLine, "/…/ that an event's first line matches; without it lines are joined until they match"),
        .optional("unmatched_lines", \.unmatchedLines, "Where it is given, text that does not match becomes {\"unmatched_line\": …}"),
      ]
      + (0..<MultilineTextParser.maximumFormats).map { i in
        .optional("format\(i + 1)", \Self.formats[i], i == 0 ? "/…/ of the whole event, or its first part" : "/…/, part \(i + 1)")
      } + parseRows
  }
  public static let name = "multiline"
  public static let summary = "Events that span lines, by regular expressions."
  private let fields: RegexpFields
  private let firstLine: Regexp?
  private let keepsUnmatched: Bool

  public init(_ config: Config, _ context: PluginContext) throws {
    let numbers = context.element.entries.compactMap { $0.name.hasPrefix("format") ? Int($0.name.dropFirst(6)) : nil }
    let invalid = numbers.filter { !(1...Self.maximumFormats).contains($0) }
    if !invalid.isEmpty {
      throw ConfigValueError(
        "Invalid formatN found. N should be 1 - \(Self.maximumFormats): \(invalid.map { "format\($0)" }.joined(separator: ","))")
    }
    var source = ""
    var isEnded = false
    for (i, format) in config.formats.enumerated() {
      guard let format else {
        isEnded = i > 0 || isEnded
        continue
      }
      if isEnded || (i > 0 && config.formats[i - 1] == nil) {
        throw ConfigValueError("Jump of format index found. format\(i) is missing.")
      }
      source += try Self.body(format, "format\(i + 1)")
    }
    let regexp: Regexp
    do { regexp = try Regexp(source, options: .multiline) } catch { throw ConfigValueError("Invalid regexp '\(source)': \(error.message)") }
    if regexp.names.isEmpty { throw ConfigValueError("Invalid regexp '\(source)': No named captures") }
    fields = try RegexpFields(regexp, ParseRules(config.parse, config.time))
    firstLine = try config.firstLine.map { try Regexp(Self.body($0, "format_firstline")) }
    keepsUnmatched = config.unmatchedLines != nil
  }

  /// What stands between the slashes.
  private static func body(_ format: String, _ name: String) throws -> String {
    guard format.utf8.count >= 2, format.hasPrefix("/"), format.hasSuffix("/") else {
      throw ConfigValueError("format should be Regexp, need //, in \(name): '\(format)'")
    }
    let body = String(format.dropFirst().dropLast())
    do { _ = try Regexp(body, options: .multiline) } catch { throw ConfigValueError("Invalid regexp in \(name): \(error.message)") }
    return body
  }

  public var hasFirstLine: Bool { firstLine != nil }

  public func eventStarts(_ block: UnsafeRawBufferPointer) -> [Int] {
    guard let firstLine else { return [] }
    var matcher = firstLine.matcher()
    var starts: [Int] = []
    forEachLine(block) { line, offset in if matcher.match(line) { starts.append(offset) } }
    return starts
  }

  /// As many events as the text has one after another; what is left of it is refused.
  public func parse(_ text: UnsafeRawBufferPointer, into batch: inout BatchBuilder, _ context: inout ParseContext) -> ParseOutcome {
    var matcher = fields.regexp.matcher()
    var writer = FieldWriter(fields.rules)
    var rest = text
    while true {
      let (outcome, end) = fields.parse(rest, &matcher, &writer, into: &batch, &context)
      guard let end else {
        if !keepsUnmatched { return outcome }
        batch.begin(room: rest.count + 64)
        batch.writer.putMapHeader(1)
        batch.writer.putString("unmatched_line" as StaticString)
        batch.writer.putString(rest)
        batch.commit(time: context.now)
        return .parsed
      }
      if case .rejected = outcome { return outcome }
      var next = end
      if next < rest.count, rest[next] == 0x0a { next += 1 }
      // An expression that matches nothing would match it for ever.
      if next == 0 || next >= rest.count { return .parsed }
      rest = UnsafeRawBufferPointer(rebasing: rest[next...])
    }
  }
}
