public import AggCore

/// Tries one format after the other; the first that takes the text makes the event.
///
/// Source: fluent-plugin-multi-format-parser 1.1.
public struct MultiFormatParser: Parser {
  public struct Config: Configurable {
    var formatKey: String?
    var patterns: [ConfigElement] = []
    var formats: [ConfigElement] = []
    public init() {}
    public static let parameters: [Parameter<Self>] = [
      .elements(
        "pattern", \.patterns,
        "A format, as <parse> has it: format (or @type) and its parameters; format_name names it for format_key"),
      .elements("format", \.formats, "The same, under another name"),
      .optional("format_key", \.formatKey, "Field that gets the name of the format that took the text"),
    ]
    public mutating func validate(_ context: ConfigContext) throws {
      if patterns.isEmpty, formats.isEmpty { throw ConfigValueError("<pattern> section is required: a format to try") }
    }
  }
  public static let name = "multi_format"
  public static let summary = "Tries one format after the other."

  private struct Attempt: Sendable {
    var parser: any Parser
    var name: String
  }
  private let attempts: [Attempt]
  private let key: [UInt8]?

  public init(_ config: Config, _ context: PluginContext) throws {
    key = config.formatKey.map { Array($0.utf8) }
    // In the file's order, whichever name they have.
    var attempts: [Attempt] = []
    for (index, section) in context.element.children.enumerated() where section.name == "pattern" || section.name == "format" {
      var section = section
      let name = section["format_name"]
      section.entries.removeAll { $0.name == "format_name" }
      guard let type = section["format"] ?? section.type else {
        throw ConfigErrors(at: section.at, "<\(section.name)> needs 'format': which parser it is")
      }
      if type == Self.name {
        throw ConfigErrors(at: section.at, "a multi_format cannot stand in another one; list its patterns here")
      }
      section.entries.removeAll { ["format", "@type", "type"].contains($0.name) }
      let expression = Self.expression(type)
      section.entries.insert(.init(name: "@type", text: expression == nil ? type : "regexp", at: section.at), at: 0)
      if let expression { section.entries.append(.init(name: "expression", text: expression, at: section.at)) }
      attempts.append(Attempt(parser: try context.parser(section), name: name ?? "\(type)#\(index)"))
    }
    self.attempts = attempts
  }

  /// `format /…/` is a regular expression, as in older configurations.
  private static func expression(_ type: String) -> String? { type.hasPrefix("/") ? type : nil }

  public func parse(_ text: UnsafeRawBufferPointer, into batch: inout BatchBuilder, _ context: inout ParseContext) -> ParseOutcome
  {
    for attempt in attempts {
      let first = batch.count
      let start = batch.byteCount
      let untimed = context.untimed.count
      guard case .parsed = attempt.parser.parse(text, into: &batch, &context) else { continue }
      if batch.count == first {
        // Taken, but no event: Fluentd tries the next format.
        context.untimed.removeSubrange(min(untimed, context.untimed.count)...)
        continue
      }
      if let key { name(key, attempt.name, from: start, count: batch.count - first, &batch) }
      return .parsed
    }
    return .rejected("pattern not matched")
  }

  /// Sets the field in the events that were just made.
  private func name(_ key: [UInt8], _ name: String, from start: Int, count: Int, _ batch: inout BatchBuilder) {
    var made = BatchBuilder(capacity: batch.byteCount - start + 64)
    made.append(events: UnsafeRawBufferPointer(rebasing: batch.writer.bytes[start...]), count: count)
    let named = made.finish(tag: Tag("")).setting(key, name)
    batch.writer.count = start
    named.withBytes { batch.writer.append($0) }
  }
}
