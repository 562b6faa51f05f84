import AggCore

/// Grok patterns, compiled; text that none of them takes becomes one field.
struct GrokFields: Sendable {
  private struct Attempt: Sendable {
    var fields: RegexpFields
    /// What the name's field gets, as MessagePack.
    var name: [UInt8]
  }
  private let attempts: [Attempt]
  private let nameKey: [UInt8]?
  private let failureKey: [UInt8]?

  /// Reads the files of custom patterns.
  init(_ grok: GrokParameters, _ parse: ParseParameters, _ time: TimeParameters, multiline: Bool, _ context: PluginContext) throws
  {
    if grok.series == .ecs {
      throw ConfigValueError("'grok_pattern_series' ecs-v1 is not known; use legacy, or give the patterns by custom_pattern_path")
    }
    if grok.pattern != nil, !grok.sections.isEmpty {
      context.config.warnings.add(context.element.at, "<grok> has no effect beside 'grok_pattern'; make it the first <grok>")
    }
    var library = GrokLibrary()
    if let path = grok.customPath { for text in try Self.texts(path) { library.add(text) } }
    var attempts: [Attempt] = []
    func add(_ pattern: String, _ name: (inout ByteWriter) -> Void, _ parse: ParseParameters, _ time: TimeParameters) throws {
      let expansion = try library.expand(pattern)
      var parse = parse
      if !expansion.types.isEmpty { parse.types = StringMap(expansion.types.map { .init($0.field, $0.type) }) }
      let regexp: Regexp
      do throws(ConfigValueError) { regexp = try Regexp(expansion.expression, options: multiline ? .multiline : []) } catch {
        throw ConfigValueError("the pattern '\(pattern)' is no regular expression: \(error.message)")
      }
      if regexp.names.isEmpty { throw ConfigValueError("the pattern '\(pattern)' names no field; write %{NAME:field}") }
      var encoded = ByteWriter(capacity: 64)
      name(&encoded)
      attempts.append(Attempt(fields: try RegexpFields(regexp, ParseRules(parse, time)), name: encoded.array))
    }
    if let pattern = grok.pattern {
      try add(pattern, { $0.putString("grok_pattern" as StaticString) }, parse, time)
    } else {
      for (index, section) in grok.sections.enumerated() {
        var (parse, time) = (parse, time)
        parse.timeKey = section.timeKey
        parse.keepTimeKey = section.keepTimeKey ?? parse.keepTimeKey
        time.timeFormat = section.timeFormat ?? time.timeFormat
        time.timezone = section.timezone ?? time.timezone
        try time.validate()
        let at = context.element.children("grok").dropFirst(index).first?.at ?? context.element.at
        do {
          try add(
            section.pattern, { out in if let name = section.name { out.putString(name) } else { out.putInt(Int64(index)) } },
            parse, time)
        } catch let error as ConfigValueError { throw ConfigErrors(at: at, error.message) }
      }
    }
    if attempts.isEmpty { throw ConfigValueError("no grok patterns; give 'grok_pattern' or a <grok> section") }
    self.attempts = attempts
    nameKey = grok.nameKey.map { Array($0.utf8) }
    failureKey = grok.failureKey.map { Array($0.utf8) }
  }

  private static func texts(_ path: String) throws -> [String] {
    guard let status = File.status(path) else { throw ConfigValueError("'custom_pattern_path' does not exist: \(path)") }
    let files = status.isDirectory ? try File.list(path).sorted().map { path + "/" + $0 } : [path]
    do {
      return try files.filter { File.status($0)?.isRegular ?? false }.map { try File.contents($0, limit: 1 << 20).string }
    } catch {
      throw ConfigValueError("'custom_pattern_path' cannot be read: \(error)")
    }
  }

  func parse(_ text: UnsafeRawBufferPointer, into batch: inout BatchBuilder, _ context: inout ParseContext) -> ParseOutcome {
    for attempt in attempts {
      let start = batch.byteCount
      var matcher = attempt.fields.regexp.matcher()
      var writer = FieldWriter(attempt.fields.rules)
      let (outcome, end) = attempt.fields.parse(text, &matcher, &writer, into: &batch, &context)
      // No match; a match whose time cannot be read refuses the text.
      guard end != nil else { continue }
      if outcome == .parsed, let nameKey { name(nameKey, attempt.name, from: start, &batch) }
      return outcome
    }
    batch.begin(room: text.count + 128)
    batch.writer.putMapHeader(failureKey == nil ? 1 : 2)
    batch.writer.putString("message" as StaticString)
    batch.writer.putString(text)
    if let failureKey {
      batch.writer.putString(failureKey)
      batch.writer.putString("No grok pattern matched" as StaticString)
    }
    batch.commit(time: context.now)
    return .parsed
  }

  /// Sets the field in the event that begins at `start`; one of that name gives way.
  private func name(_ key: [UInt8], _ value: [UInt8], from start: Int, _ batch: inout BatchBuilder) {
    let made = Array(batch.writer.bytes[start...])
    made.withUnsafeBytes { bytes in
      guard bytes.count > 0 else { return }
      var cursor = EventCursor(unchecked: bytes)
      guard let event = cursor.next() else { return }
      let timeAndHeader = event.record.pointer - (bytes.baseAddress ?? event.record.pointer)
      batch.writer.count = start
      batch.writer.append(UnsafeRawBufferPointer(rebasing: bytes[..<timeAndHeader]))
      let mark = batch.writer.beginMap()
      var count = 1
      event.record.forEachField { name, field in
        if let text = name.stringBytes, text.elementsEqual(key) { return }
        count += 1
        batch.writer.append(name.bytes)
        batch.writer.append(field.bytes)
      }
      batch.writer.putString(key)
      batch.writer.append(value)
      batch.writer.end(mark, count: count)
    }
  }
}
