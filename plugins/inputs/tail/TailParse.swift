import AggCore

/// Parses one block of whole lines, keeping unmatched ones in their place where that is asked for.
struct TailParse: ~Copyable {
  private let parser: any Parser
  private let keepsUnmatched: Bool
  private let maxLineSize: Int?
  private var builder: BatchBuilder
  private var context = ParseContext()
  /// Lines that were left out because they are longer than `maxLineSize`.
  private(set) var tooLong = 0
  /// Lines (or events) that no format took, and the first of them; none where they are kept.
  private(set) var unmatched = 0
  private(set) var sample: String?

  init(parser: any Parser, keepsUnmatched: Bool, maxLineSize: Int?) {
    self.parser = parser
    self.keepsUnmatched = keepsUnmatched
    self.maxLineSize = maxLineSize
    builder = BatchBuilder(capacity: 64)
  }

  mutating func run(_ text: UnsafeRawBufferPointer, tag: Tag) -> EventBatch {
    builder.writer.reserve(text.count + text.count / 8 + 1024)
    if let multiline = parser as? any MultilineParser {
      multiline.hasFirstLine ? parseEvents(text, multiline) : joinLines(text, multiline)
    } else if let maxLineSize {
      // Fluentd counts the line's end too.
      forEachLine(text) { line, _ in if line.count + 1 > maxLineSize { tooLong += 1 } else { one(line, parser) } }
    } else {
      parseLines(text)
    }
    var done = BatchBuilder(capacity: 0)
    swap(&done, &builder)
    return done.finish(tag: tag)
  }

  private mutating func parseLines(_ text: UnsafeRawBufferPointer) {
    parser.parseLines(text, into: &builder, &context)
    guard let first = context.rejects.first else { return }
    if !keepsUnmatched {
      unmatched = context.rejects.count
      sample = String(decoding: text[first.range].prefix(200), as: UTF8.self)
      return
    }
    // Their place is between the others: once more, cut at them.
    let rejects = context.rejects.map(\.range)
    builder.writer.removeAll()
    builder.add(events: -builder.count)
    var at = 0
    for range in rejects {
      if at < range.lowerBound { parser.parseLines(UnsafeRawBufferPointer(rebasing: text[at..<range.lowerBound]), into: &builder, &context) }
      keep(UnsafeRawBufferPointer(rebasing: text[range]))
      at = min(range.upperBound + 1, text.count)
    }
    if at < text.count { parser.parseLines(UnsafeRawBufferPointer(rebasing: text[at...]), into: &builder, &context) }
  }

  private mutating func parseEvents(_ text: UnsafeRawBufferPointer, _ multiline: any MultilineParser) {
    let starts = multiline.eventStarts(text)
    // Lines before the first event belong to none: Fluentd looks at each by itself where unmatched lines are kept, else drops it.
    forEachLine(UnsafeRawBufferPointer(rebasing: text[..<(starts.first ?? text.count)])) { line, _ in
      if keepsUnmatched { one(line, multiline) } else { refuse(line) }
    }
    for (index, start) in starts.enumerated() {
      let end = index + 1 < starts.count ? starts[index + 1] : text.count
      var event = UnsafeRawBufferPointer(rebasing: text[start..<end])
      if event.last == 0x0a { event = UnsafeRawBufferPointer(rebasing: event.dropLast()) }
      if !event.isEmpty { one(event, multiline) }
    }
  }

  /// Lines are joined until the join parses.
  private mutating func joinLines(_ text: UnsafeRawBufferPointer, _ multiline: any MultilineParser) {
    var start = 0
    forEachLine(text) { line, offset in
      let joined = UnsafeRawBufferPointer(rebasing: text[start..<offset + line.count])
      let before = builder.count
      let outcome = multiline.parse(joined, into: &builder, &context)
      // An event that is there is taken; what follows it in the join and does not match is lost with it, as in Fluentd.
      guard outcome == .parsed || builder.count > before else { return }
      if outcome != .parsed { refuse(joined) }
      start = offset + line.count + 1
    }
    if start < text.count { refuse(UnsafeRawBufferPointer(rebasing: text[start...])) }
  }

  private mutating func one(_ text: UnsafeRawBufferPointer, _ parser: any Parser) {
    if case .rejected = parser.parse(text, into: &builder, &context) { refuse(text) }
  }

  private mutating func refuse(_ text: UnsafeRawBufferPointer) {
    if keepsUnmatched { return keep(text) }
    unmatched += 1
    if sample == nil { sample = String(decoding: text.prefix(200), as: UTF8.self) }
  }

  private mutating func keep(_ text: UnsafeRawBufferPointer) {
    builder.begin(room: text.count + 64)
    builder.writer.putMapHeader(1)
    builder.writer.putString("unmatched_line" as StaticString)
    builder.writer.putString(text)
    builder.commit(time: context.now)
  }
}
