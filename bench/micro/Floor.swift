import AggCore
import AggPlugins
import AggTesting
import CAgg
import Glibc

/// What a row of the benchmark costs at least: the same bytes read, parsed, formatted and written by one thread that does nothing else.
/// No buffer, no routing, no watching, no second copy. Where this is more than an eighth of the best peer's cost, 1.3 times it is the aim.
///
///     agg-micro floor tail-json-file IN OUT
///
/// IN and OUT are files; for rows with a network (`SocketFloor`) `port:N`. bench/floors.py runs all rows.
enum Floor {
  static let rows = [
    "tail-raw-file", "tail-json-file", "tail-json-file-diskbuffer", "tail-json-file-fsync", "tail-json-file-zstd", "tail-nginx-file",
    "tail-json-filter-file",
  ]
  private static let stored: Set<String> = ["tail-json-file-diskbuffer", "tail-json-file-fsync", "tail-json-file-zstd"]

  static func main(_ arguments: [String]) throws {
    guard arguments.count == 3, rows.contains(arguments[0]) || SocketFloor.rows.contains(arguments[0]) else {
      throw ConfigValueError("floor ROW IN OUT, with ROW one of \((rows + SocketFloor.rows).joined(separator: ", "))")
    }
    // Blocks that are freed are used again: else each costs its pages anew, which no floor should hold.
    mallopt(M_MMAP_THRESHOLD, 1 << 30)
    mallopt(M_TRIM_THRESHOLD, 1 << 30)
    if SocketFloor.rows.contains(arguments[0]) { return try SocketFloor.main(arguments[0], from: arguments[1], to: arguments[2]) }
    let row = arguments[0]
    let input = try File(arguments[1], .read)
    let output = try File(arguments[2], [.readWrite, .create, .truncate])
    let driver = PluginDriver()
    let parser: any Parser =
      switch row {
      case "tail-raw-file": try driver.make(NoneParser.self, "")
      case "tail-nginx-file": try driver.make(NginxParser.self, "")
      default: try driver.make(JSONParser.self, "")
      }
    let buffer = stored.contains(row) ? try File(arguments[2] + ".buffer", [.readWrite, .create, .truncate]) : nil
    let grep = try driver.make(GrepFilter.self, "<exclude>\nkey level\npattern /^info$/\n</exclude>")
    let transform = try driver.make(RecordTransformerFilter.self, "remove_keys latency_ms\n<record>\ncluster tokyo-1\norigin ${record[\"host\"]}\n</record>")
    let begun = Self.cpu()
    var block = ByteWriter(capacity: 512 << 10)
    var out = ByteWriter(capacity: 2 << 20)
    var (position, stored, events) = (0, 0, 0)
    while true {
      block.removeAll()
      let n = try input.read(at: position, 256 << 10, into: &block)
      if n == 0 { break }
      guard let base = block.bytes.baseAddress, let last = memrchr(base, 0x0a, n) else { break }
      let complete = UnsafeRawPointer(last) - base + 1
      position += complete
      var builder = BatchBuilder(capacity: complete * 2)
      var context = ParseContext()
      parser.parseLines(UnsafeRawBufferPointer(start: base, count: complete), into: &builder, &context)
      var batch = builder.finish(tag: Tag("bench.tail"))
      events += batch.count
      if row == "tail-json-filter-file" {
        var sink = FilterSink()
        batch = try transform.filter(grep.filter(batch, &sink), &sink)
      }
      if let buffer { batch = try throughFile(batch, buffer, &stored, packed: row == "tail-json-file-zstd", synced: row == "tail-json-file-fsync") }
      JSONFormatter.writeLines(batch, into: &out) { _ in }
      if out.count >= 1 << 20 {
        try output.write(out.bytes)
        out.removeAll()
      }
    }
    try output.write(out.bytes)
    report(row, events, Self.cpu() - begun)
    if let buffer { try File.remove(buffer.path) }
  }

  /// Written behind `at` and read back.
  private static func throughFile(_ batch: EventBatch, _ buffer: File, _ at: inout Int, packed: Bool, synced: Bool) throws -> EventBatch {
    var frame = ByteWriter(capacity: batch.byteCount)
    if packed { batch.withBytes { Zstd.compress($0, into: &frame) } }
    let count = packed ? frame.count : batch.byteCount
    if packed { try buffer.write(frame.bytes) } else { try buffer.write(batch.bytes) }
    if synced { try buffer.sync() }
    var back = ByteWriter(capacity: count)
    while back.count < count, try buffer.read(at: at + back.count, count - back.count, into: &back) > 0 {}
    at += count
    if packed {
      var events = ByteWriter(capacity: batch.byteCount)
      try Zstd.decompress(back.bytes, into: &events, limit: DecompressionLimit(bytes: 64 << 20))
      swap(&events, &back)
    }
    return EventBatch(unchecked: Block(back), range: 0..<batch.byteCount, count: batch.count, tag: batch.tag)
  }

  static func report(_ row: String, _ events: Int, _ nanoseconds: Int) {
    print("\(row): \(events) events, \(Micro.fixed(Double(nanoseconds) / 1000 / Double(max(1, events)), 4)) us of CPU an event")
  }

  static func cpu() -> Int {
    var time = timespec()
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
    return time.tv_sec * 1_000_000_000 + time.tv_nsec
  }
}
