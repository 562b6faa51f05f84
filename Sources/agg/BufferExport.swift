import AggCore
import AggEngine
import ArgumentParser
import Glibc

/// `agg buffer verify`: every frame is read, checked and decoded.
struct BufferVerify: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "verify", abstract: "Read and check every frame of chunks; status 1 when something is damaged.",
    discussion: "A chunk that agg is writing to just now may seem to end in the midst of a frame.")
  @OptionGroup var filter: ChunkFilter
  @Flag(help: "JSON lines, one for each chunk.")
  var json = false

  mutating func run() throws {
    let all = filter.find()
    var out = Printer()
    var progress = Progress()
    var (events, frames, bad, checked, lost) = (0, 0, 0, 0, 0)
    for (index, found) in all.enumerated() {
      progress.show("\(index) of \(all.count) chunks")
      let chunk = found.chunk
      let content: ChunkContent
      do throws(FileError) { content = try chunk.read() } catch {
        if error.isMissing { continue }
        bad += 1
        progress.clear()
        if json {
          out.line(json: .object([.init("path", .string(chunk.path)), .init("error", .string(error.description))]))
        } else {
          out.line(SafeText.line(error.description, limit: 1000))
        }
        continue
      }
      checked += 1
      events += content.events
      frames += content.frames
      if !content.damage.isEmpty { bad += 1 }
      lost += content.damage.reduce(0) { $0 + $1.events }
      if json {
        out.line(
          json: .object([
            .init("output", .string(found.output)), .init("path", .string(chunk.path)), .init("chunk", .string("\(chunk.id)")),
            .init("frames", .int(content.frames)),
            .init("events", .int(content.events)), .init("voided", .int(content.voided)),
            .init(
              "damage",
              .array(
                content.damage.map {
                  .object([
                    .init("from", .int($0.range.lowerBound)), .init("to", .int($0.range.upperBound)),
                    .init("what", .string($0.what)),
                    .init("events", .int($0.events)),
                  ])
                })),
          ]))
        continue
      }
      progress.clear()
      for damage in content.damage {
        out.line(
          "\(SafeText.line(chunk.path, limit: 1000)): bytes \(damage.range.lowerBound)..<\(damage.range.upperBound): \(SafeText.line(damage.what))"
            + (damage.events > 0 ? " (\(damage.events) events)" : ""))
      }
    }
    progress.clear()
    if !json {
      out.line(
        "\(checked) chunk\(checked == 1 ? "" : "s"), \(frames) frame\(frames == 1 ? "" : "s"), \(events) event\(events == 1 ? "" : "s"): "
          + (bad == 0 ? "sound" : "\(bad) damaged" + (lost > 0 ? ", \(lost) events lost" : "")))
    }
    out.flush()
    if bad > 0 { throw ExitCode(1) }
  }
}

/// `agg buffer export`: what chunks hold, for another program.
struct BufferExport: ParsableCommand {
  enum Format: String, ExpressibleByArgument, CaseIterable { case json, msgpack, forward }
  static let configuration = CommandConfiguration(
    commandName: "export", abstract: "Write the events of chunks to standard output.",
    discussion: """
      json: a line {"tag","time","record"} for each event. msgpack: [tag, time, record] for each event. forward: PackedForward
      messages without options to acknowledge, which a forward input takes as they come.
      The chunks stay where they are: what agg delivers later is delivered once more.
      """)
  @OptionGroup var filter: ChunkFilter
  @Option(name: [.short, .long], help: "json, msgpack or forward.")
  var format = Format.json

  mutating func run() throws {
    if format != .json, isatty(1) == 1 { exitWithError("\(format.rawValue) is binary; send it to a file or a program") }
    let all = filter.find()
    var out = Printer()
    var progress = Progress()
    var failed = false
    for (index, found) in all.enumerated() {
      progress.show("\(index) of \(all.count) chunks")
      guard let content = Self.read(found.chunk, &failed) else { continue }
      for batch in content.batches { Self.write(batch, format, &out) }
      guard let formatted = content.formatted else { continue }
      if format == .json {
        let text = formatted.withBytes { String(decoding: $0, as: UTF8.self) }
        out.line(json: .object([.init("events", .int(formatted.count)), .init("formatted", .string(text))]))
      } else {
        failed = true
        progress.clear()
        printError("\(SafeText.line(found.chunk.path, limit: 1000)): holds text that Fluentd formatted, no events; left out")
      }
    }
    progress.clear()
    out.flush()
    if failed { throw ExitCode(1) }
  }

  private static func write(_ batch: EventBatch, _ format: Format, _ out: inout Printer) {
    switch format {
    case .json: EventLines.write(batch) { out.put($0) }
    case .msgpack:
      batch.forEach { event in
        var bytes = ByteWriter(capacity: event.bytes.count + batch.tag.description.utf8.count + 8)
        bytes.putArrayHeader(3)
        bytes.putString(batch.tag.description)
        // What follows the header of `[time, record]`.
        bytes.append(UnsafeRawBufferPointer(rebasing: event.bytes.dropFirst()))
        out.put(bytes.bytes)
      }
    case .forward:
      var head = ByteWriter(capacity: 256)
      head.putArrayHeader(3)
      head.putString(batch.tag.description)
      batch.withBytes { head.putBinary($0) }
      head.putMapHeader(1)
      head.putString("size" as StaticString)
      head.putInt(Int64(batch.count))
      out.put(head.bytes)
    }
  }

  /// What can be read of a chunk; damage is told on standard error. Nil where nothing can, or it is delivered meanwhile.
  static func read(_ chunk: ChunkFile, _ failed: inout Bool) -> ChunkContent? {
    do throws(FileError) {
      let content = try chunk.read()
      for damage in content.damage {
        failed = true
        printError(
          "\(SafeText.line(chunk.path, limit: 1000)): bytes \(damage.range.lowerBound)..<\(damage.range.upperBound): \(SafeText.line(damage.what))"
        )
      }
      return content
    } catch {
      if !error.isMissing {
        failed = true
        printError(SafeText.line(error.description, limit: 1000))
      }
      return nil
    }
  }
}
