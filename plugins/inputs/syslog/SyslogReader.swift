import AggCore
import AggNet
import CAgg
import Glibc

/// Makes batches of syslog messages: one a tag, or, of a few messages, in the order that they came.
struct SyslogReader: Sendable {
  /// Up to so many messages keep their order across tags; of more, each tag's events become one batch.
  private static let ordered = 32

  let parser: any Parser
  /// The parser reads the priority itself and leaves it in the record as `pri`; else it gets the text behind it.
  let parserReadsPriority: Bool
  let tag: String
  let severityKey: String?
  let facilityKey: String?
  let source: SourceFields
  let emitsUnmatched: Bool
  private let tags: [Tag]
  /// The parser, where its events need nothing added and the priority is the text's own.
  private let direct: SyslogParser?

  init(
    parser: any Parser, readsPriority: Bool, tag: String, severityKey: String?, facilityKey: String?, source: SourceFields, emitsUnmatched: Bool
  ) {
    self.parser = parser
    parserReadsPriority = readsPriority
    self.tag = tag
    self.severityKey = severityKey
    self.facilityKey = facilityKey
    self.source = source
    self.emitsUnmatched = emitsUnmatched
    tags = (0..<SyslogPriority.count).map { Self.tag(tag, $0) }
    direct = severityKey == nil && facilityKey == nil ? (parser as? SyslogParser).flatMap { $0.leavesPriorityAlone ? $0 : nil } : nil
  }

  /// Who sent the messages, and who is told about bad ones.
  struct Origin {
    let peer: PeerAddress
    let host: String?
    let lane: InputLane
  }

  /// The events of a block of whole lines, each a message.
  func batches(ofLines block: UnsafeRawBufferPointer, _ origin: Origin) -> [EventBatch] {
    var messages: [UnsafeRawBufferPointer] = []
    var isMany = false
    if let base = block.baseAddress {
      var at = 0
      while at < block.count {
        if messages.count == Self.ordered {
          isMany = true
          break
        }
        let end = memchr(base + at, 0x0a, block.count - at).map { UnsafeRawPointer($0) - base } ?? block.count
        messages.append(UnsafeRawBufferPointer(start: base + at, count: end - at))
        at = end + 1
      }
    }
    return isMany ? many(block, origin) : few(messages, origin)
  }

  /// The events of messages that were cut out by their length.
  func batches(of messages: [UnsafeRawBufferPointer], _ origin: Origin) -> [EventBatch] {
    if messages.count <= Self.ordered { return few(messages, origin) }
    var lines = ByteWriter(capacity: messages.reduce(0) { $0 + $1.count + 1 })
    var others: [UnsafeRawBufferPointer] = []
    for message in messages {
      if message.contains(0x0a) { others.append(message) } else {
        lines.append(message)
        lines.append(0x0a as UInt8)
      }
    }
    let batches = many(lines.bytes, origin)
    return batches + few(others, origin)
  }

  // MARK: - A few messages, in order

  private func few(_ messages: [UnsafeRawBufferPointer], _ origin: Origin) -> [EventBatch] {
    var batches: [EventBatch] = []
    var builder = BatchBuilder(capacity: 1024)
    // The priority of what `builder` holds; -1 for unmatched lines.
    var current = 0
    var fields = ExtraFields()
    let now = EventTime.now()
    func turn(to priority: Int) {
      guard priority != current || builder.count == 0 else { return }
      if builder.count > 0 {
        var taken = BatchBuilder(capacity: 1024)
        swap(&taken, &builder)
        batches.append(taken.finish(tag: tag(current)))
      }
      current = priority
      fields = self.fields(priority, origin)
    }
    for message in messages {
      var one = BatchBuilder(capacity: message.count * 2 + 256)
      var parsed = ParseContext(now: now)
      var priority: Int?
      var reason: String?
      if parserReadsPriority {
        if case .rejected(let why) = parser.parse(message, into: &one, &parsed) { reason = why }
      } else if let (number, text) = SyslogPriority.split(message) {
        priority = number
        if case .rejected(let why) = parser.parse(text, into: &one, &parsed) { reason = why }
      } else {
        reason = "no priority"
      }
      let events = one.finish(tag: Tag(""))
      events.forEach { event in
        let found = parserReadsPriority ? SyslogPriority.field(of: event.record) : nil
        guard let number = priority ?? found?.priority else { reason = "no priority"; return }
        turn(to: number)
        fields.write(event.record, end: event.bytes, without: found?.key, event.time, into: &builder)
      }
      if let reason {
        tell(1, reason, message, origin)
        if emitsUnmatched {
          turn(to: -1)
          writeUnmatched(message, now, fields, &builder)
        }
      }
    }
    turn(to: .max)
    return batches
  }

  // MARK: - Many messages, by tag

  private func many(_ lines: UnsafeRawBufferPointer, _ origin: Origin) -> [EventBatch] {
    var parsed = ParseContext()
    var batches: [EventBatch]
    if !parserReadsPriority { batches = stripped(lines, &parsed, origin) } else if let direct, source.isEmpty {
      batches = sorted(lines, direct, &parsed)
    } else {
      batches = regrouped(lines, &parsed, origin)
    }
    // In the order that they came.
    parsed.rejects.sort { $0.range.lowerBound < $1.range.lowerBound }
    guard let first = parsed.rejects.first else { return batches }
    tell(parsed.rejects.count, first.reason, slice(lines, first.range), origin)
    if emitsUnmatched {
      var builder = BatchBuilder(capacity: 4096)
      let fields = fields(-1, origin)
      for (range, _) in parsed.rejects { writeUnmatched(slice(lines, range), parsed.now, fields, &builder) }
      batches.append(builder.finish(tag: tag(-1)))
    }
    return batches
  }

  /// Finds each line's priority, then parses the lines by priority into one block, which all batches share: a block of lines of a busy relay
  /// holds most of the 192 priorities, each a few times. Sorting lines costs less than sorting events, which would have to be copied.
  private func sorted(_ lines: UnsafeRawBufferPointer, _ parser: SyslogParser, _ parsed: inout ParseContext) -> [EventBatch] {
    var places = SyslogPlaces(lines: lines.count / 64)
    var rejects: [(range: Range<Int>, reason: String)] = []
    forEachLine(lines) { line, offset in
      if let priority = SyslogParser.priority(of: line) { places.add(offset..<offset + line.count, priority) } else {
        rejects.append((offset..<offset + line.count, SyslogParser.mismatch))
      }
    }
    var session = SyslogParser.Session(parser, omitsPriority: true)
    var builder = BatchBuilder(capacity: lines.count + lines.count / 2 + 4096)
    var parts: [(priority: Int, range: Range<Int>, count: Int)] = []
    places.forEachGroup { priority, ranges in
      let (start, before) = (builder.byteCount, builder.count)
      for range in ranges {
        if case .rejected(let reason) = session.parse(UnsafeRawBufferPointer(rebasing: lines[range]), into: &builder, &parsed) {
          rejects.append((range, reason))
        }
      }
      if builder.count > before { parts.append((priority, start..<builder.byteCount, builder.count - before)) }
    }
    parsed.rejects = rejects
    let all = builder.finish(tag: Tag(""))
    return parts.map { EventBatch(unchecked: all.block, range: $0.range, count: $0.count, tag: tag($0.priority), times: all.times) }
  }

  /// Parses all lines at once, then copies each event to its tag's batch, without `pri`.
  private func regrouped(_ lines: UnsafeRawBufferPointer, _ parsed: inout ParseContext, _ origin: Origin) -> [EventBatch] {
    var builder = BatchBuilder(capacity: lines.count + lines.count / 2 + 4096)
    parser.parseLines(lines, into: &builder, &parsed)
    let events = builder.finish(tag: Tag(""))
    var groups = SyslogGroups<(event: EventView, key: UnsafeRawPointer)>(capacity: events.count)
    var without = 0
    events.forEach { event in
      if let (priority, key) = SyslogPriority.field(of: event.record) { groups.add((event, key), priority) } else { without += 1 }
    }
    origin.lane.reject(without, from: "\(origin.peer)", "\(without) messages without a priority")
    var batches: [EventBatch] = []
    groups.forEachGroup { priority, items in
      let fields = fields(priority, origin)
      var out = BatchBuilder(capacity: events.byteCount / max(1, events.count) * items.count + 1024)
      for (event, key) in items { fields.write(event.record, end: event.bytes, without: key, event.time, into: &out) }
      batches.append(out.finish(tag: tag(priority)))
    }
    withExtendedLifetime(events) {}
    return batches
  }

  /// Gives the parser the texts of each priority as one block.
  private func stripped(_ lines: UnsafeRawBufferPointer, _ parsed: inout ParseContext, _ origin: Origin) -> [EventBatch] {
    var groups = SyslogGroups<UnsafeRawBufferPointer>(capacity: lines.count / 64)
    var rejects: [(range: Range<Int>, reason: String)] = []
    forEachLine(lines) { line, offset in
      if let (priority, text) = SyslogPriority.split(line) { groups.add(text, priority) } else {
        rejects.append((offset..<offset + line.count, "no priority"))
      }
    }
    var batches: [EventBatch] = []
    let now = parsed.now
    groups.forEachGroup { priority, texts in
      var block = ByteWriter(capacity: texts.reduce(0) { $0 + $1.count + 1 })
      for text in texts {
        block.append(text)
        block.append(0x0a as UInt8)
      }
      var builder = BatchBuilder(capacity: block.count + block.count / 2 + 1024)
      var context = ParseContext(now: now)
      parser.parseLines(block.bytes, into: &builder, &context)
      if !context.rejects.isEmpty {
        // Back to where the text came from: the n-th line of the block is the n-th text.
        var starts: [Int: Int] = [:]
        var at = 0
        for (index, text) in texts.enumerated() {
          starts[at] = index
          at += text.count + 1
        }
        for (range, reason) in context.rejects {
          guard let index = starts[range.lowerBound], let start = texts[index].baseAddress, let base = lines.baseAddress else { continue }
          rejects.append((lineStart(lines, before: start - base)..<start - base + texts[index].count, reason))
        }
      }
      batches.append(fields(priority, origin).applied(to: builder.finish(tag: tag(priority))))
    }
    parsed.rejects = rejects
    return batches
  }

  private func lineStart(_ lines: UnsafeRawBufferPointer, before offset: Int) -> Int {
    guard let base = lines.baseAddress, let found = memrchr(base, 0x0a, min(offset, lines.count)) else { return 0 }
    return UnsafeRawPointer(found) - base + 1
  }

  // MARK: - Parts

  private func slice(_ bytes: UnsafeRawBufferPointer, _ range: Range<Int>) -> UnsafeRawBufferPointer {
    UnsafeRawBufferPointer(rebasing: bytes[range.clamped(to: 0..<bytes.count)])
  }

  private func tell(_ count: Int, _ reason: String, _ message: UnsafeRawBufferPointer, _ origin: Origin) {
    let text = "failed to parse \(count == 1 ? "a message" : "\(count) messages") (\(reason)): \(QuietLog.excerpt(message))"
    if emitsUnmatched { origin.lane.quiet.warn("\(origin.peer): \(text)") } else { origin.lane.reject(count, from: "\(origin.peer)", text) }
  }

  private func writeUnmatched(_ message: UnsafeRawBufferPointer, _ now: EventTime, _ fields: ExtraFields, _ builder: inout BatchBuilder) {
    var record = ByteWriter(capacity: message.count + 32)
    record.putMapHeader(1)
    record.putString("unmatched_line" as StaticString)
    record.putString(message)
    if let start = record.bytes.baseAddress {
      fields.write(RecordView(unchecked: ValueView(unchecked: start)), without: nil, now, into: &builder)
    }
    withExtendedLifetime(record) {}
  }

  private func fields(_ priority: Int, _ origin: Origin) -> ExtraFields {
    var fields = ExtraFields()
    if priority >= 0, priority != .max {
      if let severityKey { fields.set(severityKey, SyslogPriority.severity(priority)) }
      if let facilityKey { fields.set(facilityKey, SyslogPriority.facility(priority)) }
    }
    source.set(in: &fields, origin.peer, host: origin.host)
    return fields
  }

  private func tag(_ priority: Int) -> Tag {
    if tags.indices.contains(priority) { return tags[priority] }
    return priority < 0 ? Tag("\(tag).unmatched") : Self.tag(tag, priority)
  }
  private static func tag(_ prefix: String, _ priority: Int) -> Tag {
    Tag("\(prefix).\(SyslogPriority.facility(priority) ?? "").\(SyslogPriority.severity(priority))")
  }
}
