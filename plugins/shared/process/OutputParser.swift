package import AggCore
import Glibc

/// Turns what a command prints into batches, block by block.
///
/// As Fluentd: JSON and MessagePack are read as streams of values, other formats line by line; a multiline format gets
/// everything at once when the output ends.
package struct OutputParser: ~Copyable {
  enum Framing: Sendable { case lines, json, stream, whole }
  /// Longer values, and longer whole outputs, are given up.
  static let limit = 64 << 20

  package struct Batch {
    package var batch: EventBatch
    /// Events without a time of their own, by index; they have the time of reading.
    var untimed: [Int] = []
    package var rejected = 0
    /// The first rejected text, cut, and why.
    var reason = ""
  }

  private let parser: any Parser
  private let framing: Framing
  private let tag: Tag
  private var framer = JSONFramer()
  /// So far each line of JSON was one object: the parser's own loop over lines is several times faster than framing.
  private var isByLine = true
  private var isLost = false

  /// `type` is the parser's name.
  package init(_ parser: any Parser, type: String, tag: Tag) {
    self.parser = parser
    self.tag = tag
    framing = Self.framing(parser, type)
  }
  static func framing(_ parser: any Parser, _ type: String) -> Framing {
    parser.isStream ? .stream : type == "json" ? .json : parser is any MultilineParser ? .whole : .lines
  }

  /// Takes what is complete off the front of `buffer`.
  package mutating func take(_ buffer: inout ByteWriter, atEnd: Bool) -> Batch {
    var context = ParseContext()
    context.timeOfUntimed = context.now
    var builder = BatchBuilder(capacity: buffer.count + buffer.count / 4 + 1024)
    var result = Batch(batch: .empty(tag))
    switch framing {
    case .lines: takeLines(&buffer, atEnd, &builder, &context, &result)
    case .json: takeJSON(&buffer, atEnd, &builder, &context, &result)
    case .stream: takeStream(&buffer, atEnd, &builder, &context, &result)
    case .whole:
      if atEnd {
        if !buffer.isEmpty { one(buffer, 0..<buffer.count, &builder, &context, &result) }
        buffer.removeAll()
      }
    }
    if buffer.count > Self.limit {
      reject(buffer.bytes, "longer than \(Self.limit) bytes without an end", &result)
      buffer.removeAll()
      framer = JSONFramer()
      isLost = framing == .json
      if isLost { isByLine = false }
    }
    result.batch = builder.finish(tag: tag)
    result.untimed = context.untimed
    return result
  }

  private func takeLines(
    _ buffer: inout ByteWriter, _ atEnd: Bool, _ builder: inout BatchBuilder, _ context: inout ParseContext, _ result: inout Batch
  ) {
    var complete = buffer.count
    if !atEnd {
      guard let last = buffer.bytes.lastIndex(of: 0x0a) else { return }
      complete = last + 1
    }
    let hasReturns = buffer.bytes[..<complete].contains(0x0d)
    if hasReturns {
      // The parsers take lines without their end; \r\n is one here.
      var plain = ByteWriter(capacity: complete)
      var previous: UInt8 = 0
      for byte in buffer.bytes[..<complete] {
        if byte == 0x0a, previous == 0x0d { plain.count -= 1 }
        plain.append(byte)
        previous = byte
      }
      if atEnd, previous == 0x0d { plain.count -= 1 }
      parse(plain.bytes, &builder, &context, &result)
    } else {
      parse(UnsafeRawBufferPointer(rebasing: buffer.bytes[..<complete]), &builder, &context, &result)
    }
    buffer.removeFirst(complete)
  }
  private func parse(_ block: UnsafeRawBufferPointer, _ builder: inout BatchBuilder, _ context: inout ParseContext, _ result: inout Batch) {
    parser.parseLines(block, into: &builder, &context)
    for entry in context.rejects where entry.range.upperBound <= block.count {
      reject(UnsafeRawBufferPointer(rebasing: block[entry.range]), entry.reason, &result)
    }
  }

  private mutating func takeJSON(
    _ buffer: inout ByteWriter, _ atEnd: Bool, _ builder: inout BatchBuilder, _ context: inout ParseContext, _ result: inout Batch
  ) {
    if isByLine, takeJSONLines(&buffer, atEnd, &builder, &context) { return }
    if isLost {
      guard let end = buffer.bytes.firstIndex(of: 0x0a) else { return buffer.removeAll() }
      buffer.removeFirst(end + 1)
      isLost = false
    }
    var taken = 0
    scan: while true {
      switch framer.next(buffer.bytes) {
      case .value(let range):
        one(buffer, range, &builder, &context, &result)
        taken = range.upperBound
      case .needMore(let pending):
        if atEnd {
          if let last = framer.finish(buffer.bytes) { one(buffer, last, &builder, &context, &result) } else if pending > 0 {
            reject(UnsafeRawBufferPointer(rebasing: buffer.bytes[(buffer.count - pending)...]), "cut off", &result)
          }
          taken = buffer.count
        } else {
          taken = buffer.count - pending
        }
        break scan
      case .invalid(let at):
        // A new start at the next line.
        let end = buffer.bytes[at...].firstIndex(of: 0x0a) ?? buffer.count
        reject(UnsafeRawBufferPointer(rebasing: buffer.bytes[at..<end]), "not JSON", &result)
        isLost = end == buffer.count && !atEnd
        buffer.removeFirst(min(end + 1, buffer.count))
        framer = JSONFramer()
        taken = 0
      }
    }
    buffer.removeFirst(taken)
    framer.discard(taken)
  }

  /// True when everything there is was taken, or waits for the rest of its line.
  private mutating func takeJSONLines(
    _ buffer: inout ByteWriter, _ atEnd: Bool, _ builder: inout BatchBuilder, _ context: inout ParseContext
  ) -> Bool {
    let complete = buffer.bytes.lastIndex(of: 0x0a).map { $0 + 1 } ?? 0
    if complete > 0 {
      parser.parseLines(UnsafeRawBufferPointer(rebasing: buffer.bytes[..<complete]), into: &builder, &context)
      if !context.rejects.isEmpty {
        // Values over several lines, several in a line, or none: framed from here on.
        isByLine = false
        builder = BatchBuilder(capacity: buffer.count + buffer.count / 4 + 1024)
        context.rejects = []
        context.untimed = []
        return false
      }
      buffer.removeFirst(complete)
    }
    // The last line without its end is for the framer.
    if atEnd { isByLine = false }
    return !atEnd
  }

  private func takeStream(
    _ buffer: inout ByteWriter, _ atEnd: Bool, _ builder: inout BatchBuilder, _ context: inout ParseContext, _ result: inout Batch
  ) {
    guard let complete = parser.completeLength(buffer.bytes), complete <= buffer.count else {
      reject(buffer.bytes, "not of this format", &result)
      return buffer.removeAll()
    }
    if complete > 0 { parse(UnsafeRawBufferPointer(rebasing: buffer.bytes[..<complete]), &builder, &context, &result) }
    buffer.removeFirst(complete)
    if atEnd, !buffer.isEmpty {
      reject(buffer.bytes, "cut off", &result)
      buffer.removeAll()
    }
  }

  private func one(
    _ buffer: borrowing ByteWriter, _ range: Range<Int>, _ builder: inout BatchBuilder, _ context: inout ParseContext, _ result: inout Batch
  ) {
    let text = UnsafeRawBufferPointer(rebasing: buffer.bytes[range])
    if framing == .json, text.contains(0x0a) {
      // The parser takes a line; between JSON's tokens a newline is no more than a blank.
      var line = ByteWriter(capacity: text.count)
      for byte in text { line.append(byte == 0x0a ? 0x20 : byte) }
      if case .rejected(let reason) = parser.parse(line.bytes, into: &builder, &context) { reject(text, reason, &result) }
      return
    }
    if case .rejected(let reason) = parser.parse(text, into: &builder, &context) { reject(text, reason, &result) }
  }
  private func reject(_ text: UnsafeRawBufferPointer, _ reason: String, _ result: inout Batch) {
    result.rejected += 1
    if result.reason.isEmpty { result.reason = "\(reason): \(String(decoding: text.prefix(200), as: UTF8.self))" }
  }
}
