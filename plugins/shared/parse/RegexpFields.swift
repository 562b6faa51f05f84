import AggCore

/// A regular expression whose names are the fields: what regexp, apache, apache_error, nginx and multiline have in common.
struct RegexpFields: Sendable {
  let regexp: Regexp
  let rules: ParseRules
  let keys: KeyTable

  init(_ regexp: Regexp, _ rules: ParseRules) throws {
    if regexp.names.isEmpty {
      throw ConfigValueError("No named captures in 'expression' parameter. The regexp must have at least one named capture")
    }
    self.regexp = regexp
    self.rules = rules
    keys = KeyTable(regexp.names, rules)
  }

  /// One match at or after `from`; its end where there is one. A match whose time cannot be read has an end too.
  @inline(__always)
  func parse(
    _ text: UnsafeRawBufferPointer, from: Int = 0, _ matcher: inout RegexpMatcher, _ writer: inout FieldWriter,
    into batch: inout BatchBuilder, _ context: inout ParseContext
  ) -> (outcome: ParseOutcome, end: Int?) {
    guard matcher.match(text, from: from) else { return (.rejected("pattern not matched"), nil) }
    writer.begin(&batch, room: keys.byteCount &+ text.count &* 2, fields: keys.count)
    for i in 0..<keys.count {
      guard let range = matcher.range(ofName: i) else { continue }
      batch.writer.reserve(keys.keys[i].length &+ range.count &+ 16)  // captures may overlap
      writer.put(keys, i, UnsafeRawBufferPointer(rebasing: text[range]), &batch)
    }
    return (writer.finish(&batch, &context), matcher.range(of: 0)?.upperBound)
  }

  func parse(_ text: UnsafeRawBufferPointer, into batch: inout BatchBuilder, _ context: inout ParseContext) -> ParseOutcome {
    var matcher = regexp.matcher()
    var writer = FieldWriter(rules)
    return parse(text, &matcher, &writer, into: &batch, &context).outcome
  }

  func parseLines(_ block: UnsafeRawBufferPointer, into batch: inout BatchBuilder, _ context: inout ParseContext) {
    var matcher = regexp.matcher()
    var writer = FieldWriter(rules)
    forEachLine(block) { line, offset in
      if case .rejected(let reason) = parse(line, &matcher, &writer, into: &batch, &context).outcome {
        context.rejects.append((offset..<offset + line.count, reason))
      }
    }
  }
}
