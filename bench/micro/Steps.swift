import AggCore
import AggEngine
import AggPlugins
import AggTesting
import Glibc

/// The steps: codecs, parsers, time formats, regular expressions, routing, the buffer.
enum Steps {
  static let lines = 1000
  /// A run makes a block and a batch, whatever it holds.
  private static let perBlock = 0.05

  static func all() throws -> [Step] {
    let json = Lines.block(lines, Lines.json)
    let raw = Lines.block(lines, Lines.raw)
    let nginx = Lines.block(lines, Lines.nginx)
    let syslog = Lines.block(lines, Lines.syslog)
    let driver = PluginDriver()
    let batch = parsed(try driver.make(JSONParser.self, ""), json)
    let messages = parsed(try driver.make(NoneParser.self, ""), raw)
    return [
      try parser("tail: json", JSONParser.self, "", json, usual: 180),
      try parser("tail: raw line", NoneParser.self, "", raw, usual: 25),
      try parser("tail: nginx", NginxParser.self, "", nginx, usual: 300),
      try parser("syslog: rfc3164", SyslogParser.self, "with_priority true", syslog, usual: 170),
      reading("batch: read in place", batch, usual: 15) { batch in
        var sum = 0
        batch.forEachEvent { _, record in sum &+= record.fieldCount }
        return sum
      },
      reading("batch: find 3 keys", batch, usual: 60) { batch in
        var sum = 0
        batch.forEachEvent { _, record in
          for key in ["level", "status", "message"] as [StaticString] { if record.find(key) != nil { sum &+= 1 } }
        }
        return sum
      },
      reading("forward: validate", batch, usual: 60) { EventBatch.validating($0.block, tag: $0.tag, zeroTime: nil).batch.count },
      writing("file: json", batch, usual: 140) { JSONFormatter.writeLines($0, into: &$1) { _ in } },
      writing("file: raw as json", messages, usual: 30) { JSONFormatter.writeLines($0, into: &$1) { _ in } },
      writing("gzip", batch, usual: 350) { Gzip.compress($0.bytes, into: &$1) },
      writing("zstd", batch, usual: 500) { Zstd.compress($0.bytes, into: &$1) },
      try regexp(nginx),
      try time(),
      try formatting(),
      routing(),
      try append(batch),
    ]
  }

  private static func parsed(_ parser: some Parser, _ block: Block) -> EventBatch {
    var builder = BatchBuilder(capacity: block.count * 2)
    var context = ParseContext()
    parser.parseLines(block.bytes, into: &builder, &context)
    precondition(context.rejects.isEmpty, "a line of the benchmark is not understood: \(context.rejects[0].reason)")
    return builder.finish(tag: Tag("bench.tail"))
  }

  private static func parser<P: Parser>(_ name: String, _ type: P.Type, _ config: String, _ block: Block, usual: Double) throws -> Step {
    let parser: any Parser = try PluginDriver().make(type, config)
    return Step(name: name, events: lines, bytes: block.count, allocations: perBlock, usual: usual) {
      var builder = BatchBuilder(capacity: block.count * 2)
      var context = ParseContext()
      parser.parseLines(block.bytes, into: &builder, &context)
      keep(builder.finish(tag: Tag("bench.tail")).count)
    }
  }
  private static func reading(_ name: String, _ batch: EventBatch, usual: Double, _ body: @escaping (EventBatch) -> Int) -> Step {
    Step(name: name, events: batch.count, bytes: batch.byteCount, allocations: perBlock, usual: usual) { keep(body(batch)) }
  }
  private static func writing(_ name: String, _ batch: EventBatch, usual: Double, _ body: @escaping (EventBatch, inout ByteWriter) -> Void) -> Step {
    Step(name: name, events: batch.count, bytes: batch.byteCount, allocations: perBlock, usual: usual) {
      var out = ByteWriter(capacity: batch.byteCount * 2)
      body(batch, &out)
      keep(out.count)
    }
  }

  private static func regexp(_ block: Block) throws -> Step {
    let expression = try Regexp(
      #"^(?<remote>[^ ]*) (?<host>[^ ]*) (?<user>[^ ]*) \[(?<time>[^\]]*)\] "(?<method>\S+)(?: +(?<path>[^\"]*?)(?: +\S*)?)?" (?<code>[^ ]*) (?<size>[^ ]*)(?: "(?<referer>[^\"]*)" "(?<agent>[^\"]*)")"#)
    return Step(name: "regexp: nginx", events: lines, bytes: block.count, allocations: perBlock, usual: 250) {
      var matcher = expression.matcher()
      var found = 0
      forEachLine(block.bytes) { line, _ in if matcher.match(line) { found += 1 } }
      keep(found)
    }
  }
  private static func time() throws -> Step {
    let parser = try TimeParser(format: "%d/%b/%Y:%H:%M:%S %z", zone: .utc)
    let texts = (0..<lines).map { Array("14/Nov/2023:22:\(13 + $0 % 40):\(10 + $0 % 50) +0900".utf8) }
    return Step(name: "time: parse", events: lines, bytes: 0, allocations: perBlock, usual: 45) {
      var sum: Int64 = 0
      for text in texts { sum &+= text.withUnsafeBytes { parser.parse($0) }?.seconds ?? 0 }
      keep(Int(truncatingIfNeeded: sum))
    }
  }
  private static func formatting() throws -> Step {
    let formatter = TimeFormatter(format: "%Y-%m-%dT%H:%M:%S.%NZ", zone: .utc)
    return Step(name: "time: format", events: lines, bytes: 0, allocations: perBlock, usual: 40) {
      var formatter = formatter
      var out = ByteWriter(capacity: 64 * lines)
      for i in 0..<lines { formatter.format(EventTime(seconds: 1_700_000_000 + Int64(i / 100), nanoseconds: UInt32(i)), into: &out) }
      keep(out.count)
    }
  }

  /// 200 matches of which the last applies; a batch an event.
  private static func routing() -> Step {
    let router = LabelRouter(id: "bench", unmatched: Counters(plugin: "bench", type: "bench", kind: "bench"), log: Log(level: .fatal, writer: SilentLog()))
    let sink = CollectingSink(id: "bench")
    for i in 0..<200 { if let pattern = try? TagPattern("other\(i).**") { router.add(.init(pattern: pattern, target: .output(sink))) } }
    if let pattern = try? TagPattern("bench.**") { router.add(.init(pattern: pattern, target: .output(sink))) }
    let batches = (0..<lines).map { EventBatch.empty(Tag("bench.\($0)")) }
    return Step(name: "route a batch (200 rules)", events: lines, bytes: 0, allocations: 2, usual: 250) {
      for batch in batches {
        var transaction = Transaction()
        try? router.take(batch, &transaction)
        keep(transaction.deliveries.count)
      }
    }
  }

  /// Frames of a thousand events.
  private static func append(_ batch: EventBatch) throws -> Step {
    let store = FileChunkStore(.init(directory: Lines.folder + "/buffer", prefix: "buffer."), log: Log(level: .fatal, writer: SilentLog()))
    _ = try store.open { _ in true }
    let id = ChunkID.random()
    var sequence: UInt64 = 0
    return Step(name: "buffer: append, os", events: batch.count, bytes: batch.byteCount, allocations: perBlock, usual: 120) {
      sequence += 1
      // A chunk that is full is given up: the file must not grow without end.
      if sequence % 64 == 0 { store.remove(id) }
      try? store.append(batch, to: id, ChunkMetadata(), id: BatchID(epoch: 1, sequence: sequence))
    }
  }
}

@inline(never) func keep(_ value: Int) {}
