import AggCore
import AggPlugins
import AggTesting

/// What a parser made of a block: `seconds[.nanoseconds] json` for each event, and the refused lines.
struct Parsed: Equatable {
  var events: [String] = []
  var rejects: [String] = []
  var untimed: [Int] = []
}

let testNow = EventTime(seconds: 1_700_000_000)

extension Parser {
  /// Parses as an input does: a block of whole lines, 64 readable bytes behind it.
  func lines(_ text: String, timeOfUntimed: EventTime? = nil) -> Parsed {
    lines(Array(text.utf8), timeOfUntimed: timeOfUntimed)
  }
  func lines(_ text: [UInt8], timeOfUntimed: EventTime? = nil) -> Parsed {
    run(text, timeOfUntimed) { block, builder, context in parseLines(block, into: &builder, &context) }
  }
  /// Parses one record by itself.
  func one(_ text: String, timeOfUntimed: EventTime? = nil) -> Parsed {
    run(Array(text.utf8), timeOfUntimed) { block, builder, context in
      if case .rejected = parse(block, into: &builder, &context) { context.rejects.append((0..<block.count, "")) }
    }
  }
  private func run(
    _ text: [UInt8], _ timeOfUntimed: EventTime?, _ body: (UnsafeRawBufferPointer, inout BatchBuilder, inout ParseContext) -> Void
  ) -> Parsed {
    var context = ParseContext(now: testNow)
    context.timeOfUntimed = timeOfUntimed
    var builder = BatchBuilder()
    var result = Parsed()
    (text + [UInt8](repeating: 0xaa, count: 64)).withUnsafeBytes { padded in
      let block = UnsafeRawBufferPointer(rebasing: padded[..<text.count])
      body(block, &builder, &context)
      for reject in context.rejects { result.rejects.append(String(decoding: block[reject.range], as: UTF8.self)) }
    }
    let batch = builder.finish(tag: Tag("t"))
    batch.forEachEvent { time, record in
      var out = ByteWriter()
      _ = JSONFormatter.writeRecord(record, into: &out)
      result.events.append("\(time.seconds)\(time.nanoseconds == 0 ? "" : ".\(time.nanoseconds)") \(out.string)")
    }
    result.untimed = context.untimed
    return result
  }
}

/// The records only.
func records(_ parsed: Parsed) -> [String] { parsed.events.map { $0.split(separator: " ", maxSplits: 1).last.map(String.init) ?? "" } }
